// The names are those of published checkpoints: dense models, per-expert names, experts stacked in one tensor.
#include "cli/weight_choice.hpp"

#include <fmt/format.h>

namespace ragdot::cli {
namespace {

bool ends_with(const std::string& name, const char* end) { return name.ends_with(end); }

/// A tensor that no rule of names can make quantisable; null when it is one.
const char* unfit(const TensorInfo& t) {
  if (t.dtype != "F32" && t.dtype != "BF16" && t.dtype != "F16") return "not F32, BF16 or F16";
  if (t.shape.size() != 2 && t.shape.size() != 3) return "neither a matrix nor stacked matrices";
  if (ends_with(t.name, "scale") || ends_with(t.name, "scale_inv") || ends_with(t.name, "scales")) return "scales of others";
  return t.bytes == 0 ? "empty" : nullptr;
}

}  // namespace

Choice choose_by_name(const TensorInfo& t) {
  if (const char* why = unfit(t)) return {false, why};
  constexpr const char* kOthers[] = {"embed", "norm", "lm_head", "router", "pooler", "classifier", "wte.", "wpe.", "rotary"};
  for (const char* other : kOthers) {
    if (t.name.find(other) != std::string::npos) return {false, fmt::format("\"{}\" in its name", other)};
  }
  if (ends_with(t.name, ".gate.weight")) return {false, "a router gate"};
  if (t.shape.size() == 3) {
    // Convolutions have three dimensions too.
    const bool experts = t.name.find("expert") != std::string::npos || t.name.find("moe") != std::string::npos;
    return {experts, experts ? "stacked experts" : "3 dimensions, and neither \"expert\" nor \"moe\" in its name"};
  }
  if (ends_with(t.name, ".weight") || t.name == "weight") return {true, "weight matrix"};
  return {false, "not named .weight"};
}

Choice choose_by_match(const TensorInfo& t, const std::regex& match) {
  if (!std::regex_search(t.name, match)) return {false, "no match"};
  if (const char* why = unfit(t)) return {false, why};
  return {true, "match"};
}

}  // namespace ragdot::cli
