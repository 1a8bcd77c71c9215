// The names are those of published checkpoints: dense models, per-expert names, experts stacked in one tensor.
#include "cli/weight_choice.hpp"

#include <fmt/format.h>

#include <utility>

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

/// Whether a name ends in these components: all of it, or behind a dot.
bool ends_in(const std::string& name, const std::string& components) {
  return name == components || name.ends_with("." + components);
}

/// Linear layers that no checkpoint quantises, by the ends of their names.
const char* left_alone(const std::string& name) {
  // gate.wg of Hunyuan, shared_head and eh_proj of DeepSeek's layer for several tokens, output of InternLM, output_layer of
  // GLM.
  constexpr const char* kRouters[] = {"gate.weight", "shared_expert_gate.weight", "gate.wg.weight"};
  constexpr const char* kHeads[] = {"head.weight", "score.weight", "output.weight", "output_layer.weight", "eh_proj.weight"};
  for (const char* router : kRouters) {
    if (ends_in(name, router)) return "a router gate";
  }
  for (const char* head : kHeads) {
    if (ends_in(name, head)) return "of an output head";
  }
  return nullptr;
}

Choice by_name(const TensorInfo& t) {
  if (const char* why = unfit(t)) return {false, why};
  constexpr const char* kOthers[] = {"embed", "norm", "lm_head", "router", "pooler", "classifier", "wte.", "wpe.", "rotary"};
  for (const char* other : kOthers) {
    if (t.name.find(other) != std::string::npos) return {false, fmt::format("\"{}\" in its name", other)};
  }
  if (const char* why = left_alone(t.name)) return {false, why};
  if (t.shape.size() == 3) {
    // Convolutions have three dimensions too.
    const bool experts = t.name.find("expert") != std::string::npos || t.name.find("moe") != std::string::npos;
    return {experts, experts ? "stacked experts" : "3 dimensions, and neither \"expert\" nor \"moe\" in its name"};
  }
  if (ends_with(t.name, ".weight") || t.name == "weight") return {true, "weight matrix"};
  return {false, "not named .weight"};
}

Choice by_match(const TensorInfo& t, const std::regex& match) {
  if (!std::regex_search(t.name, match)) return {false, "no match"};
  if (const char* why = unfit(t)) return {false, why};
  return {true, "match"};
}

Result<std::optional<std::regex>> regex_of(const char* option, const std::string& text) {
  if (text.empty()) return std::optional<std::regex>();
  try {
    return std::optional<std::regex>(text);
  } catch (const std::regex_error& error) {
    return Status(Code::invalid_argument, fmt::format("{} {} is no regular expression: {}", option, text, error.what()));
  }
}

}  // namespace

Result<WeightChoice> WeightChoice::of(const std::string& match, const std::string& except) {
  auto matches = regex_of("--match", match);
  if (!matches.ok()) return matches.status();
  auto excepted = regex_of("--except", except);
  if (!excepted.ok()) return excepted.status();
  WeightChoice choice;
  choice.match_ = std::move(matches.value());
  choice.except_ = std::move(excepted.value());
  return choice;
}

Choice WeightChoice::operator()(const TensorInfo& t) const {
  const Choice choice = match_ ? by_match(t, *match_) : by_name(t);
  return choice.quantise && except_ && std::regex_search(t.name, *except_) ? Choice{false, kExcepted} : choice;
}

}  // namespace ragdot::cli
