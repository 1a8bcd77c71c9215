// The C interface: quantisation.
#include <fmt/format.h>

#include "api/c_abi.hpp"

namespace ragdot::c_abi {
namespace {

/// Reads args and options and makes the call.
template <class Args, class CArgs>
int convert(const char* function, const CArgs* given, const ragdot_options* options,
            Status (*call)(const Args& args, const Options& options)) {
  return guarded(function, [&]() -> Status {
    Args args;
    if (Status s = read_args(function, given, args); !s.ok()) return s;
    ReadOptions read;
    if (Status s = read_options(function, options, read); !s.ok()) return s;
    return call(args, read.options);
  });
}

}  // namespace
}  // namespace ragdot::c_abi

namespace c_abi = ragdot::c_abi;

int ragdot_quantize(const ragdot_quantize_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_quantize", args, options, ragdot::quantize);
}

int ragdot_quantize_both(const ragdot_quantize_both_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_quantize_both", args, options, ragdot::quantize_both);
}

int ragdot_requantize(const ragdot_requantize_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_requantize", args, options, ragdot::requantize);
}

int ragdot_dequantize(const ragdot_dequantize_args* args, const ragdot_options* options) {
  return c_abi::convert("ragdot_dequantize", args, options, ragdot::dequantize);
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
