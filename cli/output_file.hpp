// Where outputs go: files that appear at once and whole, beside or instead of what is there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ragdot/status.hpp"

namespace ragdot::cli {

/// A file that takes its name when all of it is there: `path`, or what that is a symbolic link to. Only regular files are
/// replaced. Until then it has no name, so that nothing is left of it however the process ends; on file systems without such
/// files it is hidden as .NAME.PID.part, which a process that is killed leaves behind.
class OutputFile {
 public:
  enum class Existing : std::int32_t { refuse, replace };
  enum class Meanwhile : std::int32_t { nameless, hidden };

  [[nodiscard]] static Result<OutputFile> create(const std::string& path, Existing existing,
                                                 Meanwhile meanwhile = Meanwhile::nameless);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  OutputFile(const OutputFile&) = delete;
  ~OutputFile();

  /// Where it will lie.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] Status write(const void* data, std::int64_t bytes);
  /// Makes the file appear under its name.
  [[nodiscard]] Status finish();

 private:
  OutputFile() = default;

  std::string path_;
  std::string hidden_path_;  // "" while it has no name
  Existing existing_ = Existing::refuse;
  int file_ = -1;
};

/// A folder for outputs. What was made for it goes again unless files came into it.
class OutputFolder {
 public:
  OutputFolder() = default;
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder();

  /// Makes it, with the folders that it lies in. False where there is none then.
  [[nodiscard]] bool make(const std::string& path);

 private:
  std::vector<std::string> made_;  // the innermost first
};

/// The text becomes what `path` holds, at once where that is a regular file in a folder that takes new ones; devices, FIFOs and
/// names of descriptors are written to.
[[nodiscard]] Status write_whole(const std::string& path, const std::string& text);

/// Whether two names are of one file; also where neither is there yet.
[[nodiscard]] bool same_file(const std::string& a, const std::string& b);

/// Refuses outputs that would take the place of what the verb reads, under whatever names.
[[nodiscard]] Status check_outputs(const std::vector<std::string>& outputs, const std::vector<std::string>& inputs);

}  // namespace ragdot::cli
