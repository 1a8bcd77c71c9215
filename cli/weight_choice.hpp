// Which tensors of a checkpoint are weights of linear layers.
#pragma once

#include <regex>
#include <string>

#include "cli/safetensors.hpp"

namespace ragdot::cli {

/// Whether to quantise a tensor, and why or why not, in a few words.
struct Choice {
  bool quantise = false;
  std::string why;
};

/// By the rules of names: matrices "*.weight", and [E, rows, cols] with "expert" or "moe" in the name, except embeddings,
/// norms, output heads and routers.
[[nodiscard]] Choice choose_by_name(const TensorInfo& tensor);
/// By a regular expression that is searched for in the name.
[[nodiscard]] Choice choose_by_match(const TensorInfo& tensor, const std::regex& match);

}  // namespace ragdot::cli
