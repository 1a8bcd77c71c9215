// Which tensors of a checkpoint are weights of linear layers.
#pragma once

#include <optional>
#include <regex>
#include <string>

#include "cli/safetensors.hpp"
#include "ragdot/status.hpp"

namespace ragdot::cli {

/// Whether to quantise a tensor, and why or why not, in a few words.
struct Choice {
  bool quantise = false;
  std::string why;
};

/// Why a tensor that --except names is not.
inline constexpr char kExcepted[] = "--except";

/// Matrices "*.weight", and [E, rows, cols] with "expert" or "moe" in the name, except embeddings, norms, output heads and
/// routers; or what a regular expression finds in the name. Nothing that another expression finds.
class WeightChoice {
 public:
  /// The texts of --match and --except, "" for none.
  [[nodiscard]] static Result<WeightChoice> of(const std::string& match, const std::string& except);
  [[nodiscard]] Choice operator()(const TensorInfo& tensor) const;

 private:
  std::optional<std::regex> match_;
  std::optional<std::regex> except_;
};

}  // namespace ragdot::cli
