// A call without its pointers: what a plan is made for, and what later calls are compared with.
#pragma once

#include <cstdint>
#include <string>

#include "ragdot/gmm.hpp"
#include "ragdot/tgmm.hpp"

namespace ragdot::plan {

enum class Op : std::int32_t { gmm, tgmm };

/// How gmm's weights lie: with contiguous rows, with contiguous columns, or packed.
enum class Weights : std::int32_t { rows, columns, packed };

/// Formats and scale grid of one operand.
struct OperandShape {
  Format values = Format::none;
  Format scales = Format::none;
  std::int64_t block_rows = kWholeAxis;
  std::int64_t block_cols = kWholeAxis;
  ScaleOrigin origin = ScaleOrigin::global;

  bool operator==(const OperandShape&) const = default;
};

struct Problem {
  Op op = Op::gmm;
  std::int64_t m = 0;  // rows; the largest that the plan takes
  std::int64_t k = 0;
  std::int64_t n = 0;
  std::int64_t groups = 0;
  std::int64_t local = 0;
  std::int64_t first_group = 0;
  OperandShape lhs;
  OperandShape rhs;
  Format out = Format::none;
  OutMode out_mode = OutMode::overwrite;
  RowsOutside rows_outside = RowsOutside::zero;
  Activation activation = Activation::none;
  bool bias = false;
  // How the memory lies that the plan was made with; a call of it may give other.
  Weights weights = Weights::rows;
  bool out_by_columns = false;  // tgmm's

  bool operator==(const Problem&) const = default;
};

/// Its columns are contiguous and its rows are not.
[[nodiscard]] bool by_columns(const View& view);

/// `args` has its rhs, also where it comes from packed weights.
[[nodiscard]] Problem problem_of(const GmmArgs& args);
[[nodiscard]] Problem problem_of(const TgmmArgs& args);

/// "gmm g=8 m=2048 k=2048 n=512 lhs=e4m3:1x128 ..." with all that a plan holds a call to: a problem string (docs/cli.md).
[[nodiscard]] std::string describe(const Problem& problem);

}  // namespace ragdot::plan
