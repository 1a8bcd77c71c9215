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

/// Reads groups where they are given. May throw std::bad_alloc.
[[nodiscard]] Status read_optional_groups(const char* op, const std::optional<Groups>& groups, const ConstView& input,
                                          GroupRows& rows);

/// Input and copies of a quantiser; the scales of plain input are absent.
[[nodiscard]] Status check_quantize(const char* op, const Operand& input, const GroupRows& groups,
                                    std::span<const NamedOut> outs, const Options& options);

[[nodiscard]] Status check_dequantize(const Operand& input, const GroupRows& groups, const View& out, const Options& options);

[[nodiscard]] Status check_to_e8m0(const ConstView& scales, const View& codes);

}  // namespace ragdot::api
