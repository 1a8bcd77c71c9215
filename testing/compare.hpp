// Holds results against the oracle's intervals, and results against each other bit by bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ragdot/types.hpp"
#include "reference/oracle.hpp"
#include "testing/case.hpp"
#include "testing/expected.hpp"

namespace ragdot::testing {

/// What a comparison found. Places are (group, row, col): the row within out, the group that it belongs to (-1: none).
struct Comparison {
  std::int64_t checked = 0;
  std::int64_t wrong = 0;
  double worst = 0;       // largest error over its bound
  std::string first_bad;  // place, both values, bound; empty when nothing is wrong
};

/// A place in out and the group that it belongs to (-1: none).
struct Place {
  std::int64_t group = -1;
  std::int64_t row = 0;
  std::int64_t col = 0;
};

/// Calls f(i) for i in [0, count) on all cores and merges the comparisons it returns in order.
[[nodiscard]] Comparison merged(std::int64_t count, const std::function<Comparison(std::int64_t)>& f);

/// Adds to `found` whether the outputs of a row, from `index` of out on, lie within their intervals: one for each of `exact`.
/// `bias` is the row's, `before` what out held; each is read where `finish` says that there is one.
void compare_outputs(Place place, std::int64_t index, std::span<const reference::Exact> exact, Finish finish, const float* bias,
                     const std::byte* before, const std::byte* out, Comparison& found);

struct OutRow {
  std::int64_t batch = 0;
  std::int64_t row = 0;
};
/// What decides which rows of out are looked at.
struct OutShape {
  std::int64_t batch = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t depth = 0;           // of the sums
  std::vector<std::int64_t> edges;  // rows where groups begin or end
};
/// Rows of out that are worth looking at: all of them while the operation is small, else the edges of groups, tiles and blocks
/// and enough random ones for 65,536 outputs.
[[nodiscard]] std::vector<OutRow> rows_to_check(const OutShape& shape, std::uint64_t seed);
[[nodiscard]] std::vector<OutRow> rows_to_check(const Case& c);

/// The oracle or the order of a case's call.
template <class Reference>
[[nodiscard]] Reference reference_of(const Case& c) {
  return c.is_gmm() ? Reference(c.gmm_args(nullptr)) : Reference(c.tgmm_args(nullptr));
}

/// The local group whose product a row of out holds; -1 for a gmm row of no local group.
[[nodiscard]] std::int64_t local_group_of(const Case& c, const OutRow& row);
/// gmm writes zeros to the rows of no local group; otherwise it leaves them alone.
[[nodiscard]] bool zeroes_outside(const Case& c);

/// Adds to `found` whether a row's outputs lie within the bounds of `exact`, one for each column; see compare_with_oracle.
void compare_row(const Case& c, const OutRow& row, const reference::Exact* exact, const Bytes& out, Comparison& found);

/// Every output of `rows` lies within the error bound of the exact result, with bias, activation, accumulation and rounding;
/// rows outside the local groups hold zeros or what they held.
[[nodiscard]] Comparison compare_with_oracle(const Case& c, const Bytes& out, const std::vector<OutRow>& rows);

/// Beside an Inf, sums that pass the largest f32 decide whether it stays Inf or becomes NaN: the order alone knows, whose
/// result is `product`.
void note_overflow(reference::Exact& exact, float product);

/// The exact results of a row of a product.
[[nodiscard]] std::vector<reference::Exact> exact_row(const reference::Oracle& oracle, const reference::Ordered& ordered,
                                                      const OutRow& row, std::int64_t cols);

/// The order decides every bit of out: there is no activation but relu.
[[nodiscard]] bool has_order(const Case& c);
/// Neither bias nor activation nor accumulation.
[[nodiscard]] bool is_bare(const Case& c);

/// What the order makes of a product of local group `group` (-1: of none) at `index` of out: bias, relu and accumulation behind
/// it. Only for calls that have an order.
[[nodiscard]] float finished(const Case& c, std::int64_t group, std::int64_t index, float product);

/// `samples` different random outputs, all where there are fewer, have the bits of the reduction order. Only for calls that
/// have one.
[[nodiscard]] Comparison compare_with_order(const Case& c, const Bytes& out, std::int64_t samples);

/// Outputs that differ.
[[nodiscard]] Comparison compare_bits(const Case& c, const Bytes& expected, const Bytes& got);

/// Cosine of the outputs of `rows` with an f32 result of the same shape.
[[nodiscard]] double cosine(const Case& c, const Bytes& out, const std::vector<float>& other, const std::vector<OutRow>& rows);

}  // namespace ragdot::testing
