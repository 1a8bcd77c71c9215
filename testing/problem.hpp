// One line of text that names a problem: the words of the command line, of failure messages and of result files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ragdot/ragdot.hpp"

namespace ragdot::testing {

enum class Op : std::int32_t { gmm, dlhs, tgmm };
enum class Order : std::int32_t { kn, nk };
enum class Family : std::int32_t { gaussian, spread, integers, codes, outlier, edges };

/// FORMAT:ROWSxCOLS, the block in the operand's own stored axes; kWholeAxis for "*"; no block: unscaled.
struct OperandSpec {
  Format format = Format::bf16;
  bool scaled = false;
  std::int64_t block_rows = kWholeAxis;
  std::int64_t block_cols = kWholeAxis;
  Format scale = Format::f32;

  bool operator==(const OperandSpec&) const = default;
};

/// How M rows are dealt to G groups.
struct Distribution {
  enum class Kind : std::int32_t { even, multinomial, zipf, onehot, empty, sizes };
  Kind kind = Kind::even;
  double parameter = 0;             // zipf exponent, onehot index, empty percent
  std::vector<std::int64_t> sizes;  // for Kind::sizes

  bool operator==(const Distribution&) const = default;
};

struct Problem {
  Op op = Op::gmm;
  std::int64_t g = 0, m = 0, k = 0, n = 0;  // names as in the forward product, for all three ops
  OperandSpec lhs, rhs;
  ScaleOrigin origin = ScaleOrigin::global;
  Format out = Format::none;  // none: bf16 (gmm, dlhs), f32 (tgmm)
  Order order = Order::kn;
  Distribution dist;
  std::vector<std::int64_t> starts;  // first row of each group, with Kind::sizes; empty: groups touch from row 0
  std::int64_t first = 0;
  std::optional<std::int64_t> local;  // empty: all from first
  RowsOutside rows_outside = RowsOutside::zero;
  Activation act = Activation::none;
  bool bias = false;
  OutMode out_mode = OutMode::overwrite;
  Recipe recipe = Recipe::absmax;
  std::optional<Tiling> tile;
  std::string kernel;  // empty: automatic
  int threads = 0;
  std::uint64_t seed = 1;
  Family data = Family::gaussian;
};

/// Parses "OP key=value ..."; unknown keys and values are refused with the nearest known one. With `shapes_optional`, g m k n
/// may be missing (they stay 0).
enum class Shapes : std::int32_t { required, optional };
[[nodiscard]] Result<Problem> parse_problem(std::string_view text, Shapes shapes = Shapes::required);

/// The shortest string that parses back to the same problem.
[[nodiscard]] std::string to_string(const Problem& problem);

}  // namespace ragdot::testing
