// The C interface: quantisation.
#include <fmt/format.h>

#include "api/c_abi.hpp"

namespace ragdot::c_abi {
namespace {

QuantizedOut quantized_out_of(const ragdot_quantized_out& o) {
  return {view_of(o.values), {view_of(o.scales.view), o.scales.block_rows, o.scales.block_cols}, static_cast<Recipe>(o.recipe)};
}

QuantizeArgs args_of(const ragdot_quantize_args& a) { return {view_of(a.input), groups_of(a.groups), quantized_out_of(a.out)}; }
QuantizeBothArgs args_of(const ragdot_quantize_both_args& a) {
  return {view_of(a.input), groups_of(a.groups), quantized_out_of(a.row_wise), quantized_out_of(a.col_wise)};
}
RequantizeArgs args_of(const ragdot_requantize_args& a) {
  return {operand_of(a.input), groups_of(a.groups), quantized_out_of(a.out)};
}
DequantizeArgs args_of(const ragdot_dequantize_args& a) { return {operand_of(a.input), groups_of(a.groups), view_of(a.out)}; }

/// Reads args and options and makes the call.
template <class CArgs, class Call>
int convert(const char* function, const char* type, const CArgs* given, const ragdot_options* options, Call call) {
  return guarded(function, [&]() -> Status {
    CArgs full;
    if (Status s = read_struct({function, "args", type}, given, full); !s.ok()) return s;
    ReadOptions read;
    if (Status s = read_options(function, options, read); !s.ok()) return s;
    return call(args_of(full), read.options);
  });
}

}  // namespace
}  // namespace ragdot::c_abi

namespace c_abi = ragdot::c_abi;

int ragdot_quantize(const ragdot_quantize_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_quantize", "ragdot_quantize_args", args, options, ragdot::quantize);
}

int ragdot_quantize_both(const ragdot_quantize_both_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_quantize_both", "ragdot_quantize_both_args", args, options, ragdot::quantize_both);
}

int ragdot_requantize(const ragdot_requantize_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_requantize", "ragdot_requantize_args", args, options, ragdot::requantize);
}

int ragdot_dequantize(const ragdot_dequantize_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_dequantize", "ragdot_dequantize_args", args, options, ragdot::dequantize);
}

int ragdot_to_e8m0(const ragdot_const_view* scales, const ragdot_view* codes) {
  return c_abi::guarded("ragdot_to_e8m0", [&]() -> ragdot::Status {
    if (scales == nullptr || codes == nullptr) {
      return {ragdot::Code::invalid_argument,
              fmt::format("ragdot_to_e8m0: {} is null; give its address", scales == nullptr ? "scales" : "codes")};
    }
    return ragdot::to_e8m0(c_abi::view_of(*scales), c_abi::view_of(*codes));
  });
}
