// Reads the index as JSON and keeps what it does not know.
#include "cli/checkpoint_index.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/strict_json.hpp"

namespace ragdot::cli {

std::vector<std::string> CheckpointIndex::files() const {
  std::set<std::string> names;
  for (const auto& [tensor, file] : file_of) names.insert(file);
  return {names.begin(), names.end()};
}

bool is_index(const std::string& path) {
  constexpr std::string_view kEnd = ".json";
  return path.size() >= kEnd.size() && path.compare(path.size() - kEnd.size(), kEnd.size(), kEnd) == 0;
}

Result<CheckpointIndex> read_index(const std::string& path) {
  const auto refused = [&](const std::string& what) {
    return Status(Code::invalid_argument, fmt::format("{}: {}", path, what));
  };
  std::ifstream file(path, std::ios::binary);
  if (!file) return refused("cannot be read; name a file that exists");
  const std::string all(std::istreambuf_iterator<char>(file), {});
  const auto [json, twice] = parse_strictly(all);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    return refused("is no index of a checkpoint: it is to be JSON with a \"weight_map\" from tensors to files");
  if (!twice.empty()) return refused(fmt::format("the name {} stands twice in it", twice));
  CheckpointIndex index;
  for (const auto& [tensor, name] : json["weight_map"].items()) {
    if (const char* why = unfit_name(tensor)) return refused(fmt::format("the name of a tensor {}", why));
    if (!name.is_string()) return refused(fmt::format("the file of tensor {} is no text", tensor));
    const std::string text = name.get<std::string>();
    if (text.empty() || text == "." || text == ".." || text.find('/') != std::string::npos)
      return refused(fmt::format("the file of tensor {} is \"{}\"; it must lie beside the index", tensor, text));
    index.file_of[tensor] = text;
  }
  if (index.file_of.empty()) return refused("its \"weight_map\" is empty");
  if (json.contains("metadata") && json["metadata"].is_object()) {
    for (const auto& [key, value] : json["metadata"].items()) {
      if (key != "total_size") index.metadata[key] = value.dump();
    }
  }
  return index;
}

std::string text_of(const CheckpointIndex& index, std::int64_t bytes) {
  nlohmann::json metadata = {{"total_size", bytes}};
  for (const auto& [key, text] : index.metadata) metadata[key] = nlohmann::json::parse(text);
  return nlohmann::json({{"metadata", metadata}, {"weight_map", index.file_of}}).dump(2) + "\n";
}

}  // namespace ragdot::cli
