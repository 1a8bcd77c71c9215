// Small random calls whose every byte the suites can rearrange: dense operands, scales, groups, and one function that runs
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ragdot/ragdot.hpp"

namespace ragdot::suites {

/// splitmix64: the same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  /// Uniform in [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high);

 private:
  std::uint64_t state_;
};

/// What the codes of an operand look like.
enum class Data : std::int32_t {
  mixed,       // any finite code of moderate size, scales spread over 2^-6..2^6
  all_codes,   // every finite code
  subnormals,  // FP8 codes 0..15
  integers,    // |v| <= 4, scales distinct powers of two: sums are exact
  tiny,        // results around 2^-126, many of them flushed
};

/// A dense operand [batch, rows, cols] with dense scales.
struct DenseOperand {
  Format format = Format::none;
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<std::byte> values;
  Format scale_format = Format::none;
  std::int64_t block_rows = kWholeAxis;
  std::int64_t block_cols = kWholeAxis;
  ScaleOrigin origin = ScaleOrigin::global;
  std::int64_t scale_rows = 0;
  std::int64_t scale_cols = 0;
  std::vector<std::byte> scales;

  [[nodiscard]] Operand operand() const;
  [[nodiscard]] std::byte* value(std::int64_t b, std::int64_t r, std::int64_t c);
  [[nodiscard]] const std::byte* value(std::int64_t b, std::int64_t r, std::int64_t c) const;
  [[nodiscard]] std::byte* scale(std::int64_t b, std::int64_t r, std::int64_t c);
  [[nodiscard]] const std::byte* scale(std::int64_t b, std::int64_t r, std::int64_t c) const;
};

/// Formats and grids of a call.
struct Grids {
  std::string name;
  Format lhs = Format::bf16;
  Format rhs = Format::bf16;
  Format lhs_scale = Format::none;
  std::int64_t lhs_rows = kWholeAxis;
  std::int64_t lhs_cols = kWholeAxis;
  Format rhs_scale = Format::none;
  std::int64_t rhs_rows = kWholeAxis;
  std::int64_t rhs_cols = kWholeAxis;
  ScaleOrigin origin = ScaleOrigin::global;

  /// lhs scales of a gmm do not span several rows.
  [[nodiscard]] bool lhs_scales_within_rows() const { return lhs_scale == Format::none || lhs_rows == 1; }
};

/// The grids that users run, and grids that do not match or divide each other.
[[nodiscard]] const std::vector<Grids>& gmm_grids();
[[nodiscard]] const std::vector<Grids>& tgmm_grids();

/// A gmm or tgmm with its own memory; `out` is dense.
struct Sample {
  bool is_gmm = true;
  DenseOperand lhs;
  DenseOperand rhs;
  std::vector<std::int64_t> starts;
  std::vector<std::int64_t> sizes;
  std::int64_t first_group = 0;
  std::int64_t local = 0;
  Format out_format = Format::f32;
  OutMode out_mode = OutMode::overwrite;
  RowsOutside rows_outside = RowsOutside::zero;
  Activation activation = Activation::none;
  std::vector<float> bias;   // [L, N] or empty
  std::byte out_fill{0xcd};  // what out holds before the call

  [[nodiscard]] std::int64_t out_batch() const { return is_gmm ? 1 : local; }
  [[nodiscard]] std::int64_t out_rows() const { return is_gmm ? lhs.rows : lhs.cols; }
  [[nodiscard]] std::int64_t out_cols() const { return rhs.cols; }
  [[nodiscard]] Groups groups() const { return Groups::from_starts_and_sizes(std::span(starts), std::span(sizes)); }
  /// The call on the given out view and operands of the same shape (strided copies, say).
  [[nodiscard]] GmmArgs gmm_args(const Operand& l, const Operand& r, const View& out) const;
  [[nodiscard]] TgmmArgs tgmm_args(const Operand& l, const Operand& r, const View& out) const;
};

/// Result bytes of a call, dense [batch, rows, cols]; fails the test when the call is refused. Unless the options force a
/// kernel, every kernel that takes the call computes it, and the test fails when their bytes differ.
[[nodiscard]] std::vector<std::byte> compute(const Sample& sample, const Options& options = {});
[[nodiscard]] std::vector<std::byte> compute(const Sample& sample, const Operand& lhs, const Operand& rhs,
                                             const Options& options = {});

/// What pack_values makes of rhs.
[[nodiscard]] std::vector<std::byte> packed_values(const ConstView& rhs);

/// Names of the kernels that take the call on this CPU.
[[nodiscard]] std::vector<std::string> kernels_for(const Sample& sample, const Operand& lhs, const Operand& rhs);

/// A random call: rows [starts, starts + sizes), inner and outer sizes as for the forward product.
struct Shape {
  std::vector<std::int64_t> starts;
  std::vector<std::int64_t> sizes;
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t n = 0;
};
[[nodiscard]] Sample make_gmm(const Grids& grids, const Shape& shape, Data data, std::uint64_t seed);
[[nodiscard]] Sample make_tgmm(const Grids& grids, const Shape& shape, Data data, std::uint64_t seed);
[[nodiscard]] Shape touching(const std::vector<std::int64_t>& sizes, std::int64_t m, std::int64_t k, std::int64_t n);

/// Two results that must be the same bytes; a failure names the count and the first place as (batch, row, col).
void expect_same(const Sample& sample, const std::vector<std::byte>& expected, const std::vector<std::byte>& got,
                 const std::string& what);

/// Bytes of rows [begin, end) of batch b of a dense result.
[[nodiscard]] std::vector<std::byte> rows_of(const Sample& sample, const std::vector<std::byte>& out, std::int64_t b,
                                             std::int64_t begin, std::int64_t end);

}  // namespace ragdot::suites
