// The rules of quantisers and dequantisers.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "ragdot/quantize.hpp"
#include "schedule/rows.hpp"

namespace ragdot::api {

using GroupRows = std::optional<std::vector<RowRange>>;

/// A copy to make, by name: "row_wise".
struct NamedOut {
  const char* what;
  const QuantizedOut& out;
};

/// Checks the shape of `input`, and reads groups over its rows where they are given. May throw std::bad_alloc.
[[nodiscard]] Status read_optional_groups(const char* op, const std::optional<Groups>& groups, const ConstView& input,
                                          GroupRows& rows);

/// A quantiser's input (the scales of plain input are absent), and `numbers` from which `groups` were read. Numbers without
/// groups are in memory that this process cannot read: what depends on them is not checked.
struct NamedInput {
  const char* op;
  const Operand& operand;
  const std::optional<Groups>& numbers;
  const GroupRows& groups;
};

/// The parts of check_quantize that follow no pointer: what shapes and choices decide, and null data and overlaps.
[[nodiscard]] Status check_quantize_shapes(const NamedInput& input, std::span<const NamedOut> outs);
[[nodiscard]] Status check_quantize_memory(const NamedInput& input, std::span<const NamedOut> outs);

/// Input, copies and options of a quantiser, and scales whose numbers are read as far as they matter.
[[nodiscard]] Status check_quantize(const NamedInput& input, std::span<const NamedOut> outs, const Options& options);

[[nodiscard]] Status check_dequantize(const NamedInput& input, const View& out, const Options& options);

[[nodiscard]] Status check_to_e8m0(const ConstView& scales, const View& codes);

}  // namespace ragdot::api
