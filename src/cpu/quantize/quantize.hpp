// Quantisers and dequantisers over threads: checked arguments in, bytes and scales out.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cpu/quantize/routines.hpp"
#include "cpu/quantize/stretch.hpp"
#include "ragdot/quantize.hpp"
#include "schedule/rows.hpp"

namespace ragdot::cpu {

/// Quantises `input` into every copy of `outs`, reading it once where a thread can hold whole blocks of all copies in its cache
/// (taller blocks: twice). `groups` empty: none are given. May throw std::bad_alloc before it writes anything.
void quantize(const Operand& input, const std::optional<std::vector<RowRange>>& groups, std::span<const QuantizedOut> outs,
              const Options& options, const Routines& routines);

/// out = value * scale; rows outside given groups become zero.
void dequantize(const Operand& input, const std::optional<std::vector<RowRange>>& groups, const View& out,
                const Options& options, const Routines& routines);

/// The first NaN, or with `inf` the first Inf, among the elements that a quantiser would read.
[[nodiscard]] std::optional<Place> find_nan(const Operand& input, const std::optional<std::vector<RowRange>>& groups,
                                            const Options& options, const Routines& routines);
[[nodiscard]] std::optional<Place> find_inf(const Operand& input, const std::optional<std::vector<RowRange>>& groups,
                                            const Options& options, const Routines& routines);

}  // namespace ragdot::cpu
