// Which of the legal calls the GPU takes, and what is launched for them. Pure functions: nothing here needs a GPU.
#pragma once

#include <span>

#include "cuda/launch.hpp"
#include "ragdot/gmm.hpp"
#include "ragdot/quantize.hpp"
#include "ragdot/tgmm.hpp"

namespace ragdot::cuda {

/// Calls whose shapes are checked (api::check_shapes) as launches; what the GPU does not take is Code::unsupported with the way
/// out. Addresses are copied and not looked at, so that a workspace can be sized before there are any.
[[nodiscard]] Result<Product> product_of(const GmmArgs& args);
/// `starts_aligned`: the caller promises groups that begin at multiples of kGroupAlignment rows.
[[nodiscard]] Result<Product> product_of(const TgmmArgs& args, bool starts_aligned = false);

/// A copy that a quantiser makes, by its name in sentences.
struct NamedCopy {
  const char* what;
  const QuantizedOut& out;
  bool aligned_groups = false;
};
/// One or two copies; likewise, after the rules that the quantisers share. Those count a copy with aligned groups as one that
/// has the input's rows; its own number is checked here.
[[nodiscard]] Result<Quantize> quantize_of(const char* op, const ConstView& input, const std::optional<Groups>& groups,
                                           std::span<const NamedCopy> copies);

/// Addresses are aligned: operands and out to 16 bytes, scales and group numbers to their own size or to what is loaded at
/// once.
[[nodiscard]] Status check_addresses(const Product& product);
[[nodiscard]] Status check_addresses(const char* op, const Quantize& quantize);

/// Whether there is an element, or a place of a group, to write. Where there is none, nothing is launched.
[[nodiscard]] bool writes(const Product& product);
[[nodiscard]] bool writes(const Quantize& quantize);

[[nodiscard]] inline const char* name(Op op) { return op == Op::gmm ? "gmm" : "tgmm"; }

}  // namespace ragdot::cuda
