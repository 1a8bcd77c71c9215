// JSON of files that anyone may have written: neither so deep that reading it would overflow the stack, nor with a key that
// stands twice, of which an object would keep the last.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ragdot::cli {

struct StrictJson {
  nlohmann::json value;  // discarded where the text is no JSON, or deeper than 64
  std::string twice;     // the first key that an object has twice, or empty
};

inline StrictJson parse_strictly(std::string_view text) {
  constexpr int kDeepest = 64;
  StrictJson found;
  std::vector<std::set<std::string>> open;
  bool deep = false;
  const auto look = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    deep = deep || depth > kDeepest;
    if (event == nlohmann::json::parse_event_t::object_start) open.emplace_back();
    if (event == nlohmann::json::parse_event_t::object_end) open.pop_back();
    if (event == nlohmann::json::parse_event_t::key && !open.back().insert(parsed.get<std::string>()).second &&
        found.twice.empty()) {
      found.twice = parsed.get<std::string>();
    }
    return !deep;
  };
  found.value = nlohmann::json::parse(text, look, false);
  if (deep) found.value = nlohmann::json(nlohmann::json::value_t::discarded);
  return found;
}

/// What keeps a tensor's name from being printed and matched; null: nothing.
inline const char* unfit_name(std::string_view name) {
  constexpr std::size_t kLongest = 1024;
  if (name.size() > kLongest) return "has more than 1024 characters";
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') return "has control characters";
  }
  return nullptr;
}

}  // namespace ragdot::cli
