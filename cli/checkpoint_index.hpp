// A checkpoint in several files: the index that says which tensor lies in which, as model.safetensors.index.json has it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ragdot/status.hpp"

namespace ragdot::cli {

struct CheckpointIndex {
  std::map<std::string, std::string> file_of;   // by name of the tensor
  std::map<std::string, std::string> metadata;  // as JSON texts, without total_size

  /// Names of the files, each once.
  [[nodiscard]] std::vector<std::string> files() const;
};

/// Whether a path names an index instead of a file of tensors.
[[nodiscard]] bool is_index(const std::string& path);

/// Refuses what is no index, and files that do not lie beside it.
[[nodiscard]] Result<CheckpointIndex> read_index(const std::string& path);

/// As JSON; `bytes` are those of all tensors.
[[nodiscard]] std::string text_of(const CheckpointIndex& index, std::int64_t bytes);

}  // namespace ragdot::cli
