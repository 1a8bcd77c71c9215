// What all verbs print: JSON to a file or alone on stdout, progress to a terminal, sentences to stderr.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ragdot/status.hpp"

namespace ragdot::cli {

using Json = nlohmann::ordered_json;

/// The option --json [FILE].
struct JsonOption {
  std::vector<std::string> arguments;
  CLI::Option* option = nullptr;

  void add_to(CLI::App& app);
  /// Refuses, before anything is computed, a FILE that cannot be written or that is one of `others`: files that the verb reads
  /// or writes itself.
  [[nodiscard]] Status check(const std::vector<std::string>& others) const;
  [[nodiscard]] bool given() const { return option->count() > 0; }
  /// JSON goes to stdout, so nothing else may.
  [[nodiscard]] bool on_stdout() const { return given() && (arguments.empty() || arguments.front().empty()); }
  /// Writes it where it was asked for; false, with a sentence, when the file cannot be written.
  [[nodiscard]] bool write(const Json& json) const;
};

/// Name of this CPU, its threads, its usable kernels.
[[nodiscard]] Json machine_json();

/// "ragdot: sentence" on stderr.
void complain(const std::string& sentence);
/// Complains and gives the exit code.
[[nodiscard]] int refuse(const Status& status);

/// Refuses a kernel's name that no list has; usable or not.
[[nodiscard]] Status check_kernel_name(const char* verb, const std::string& name);

/// What options take: whole numbers from `least` on, those of 64 bits without a sign, numbers from 0 on, numbers above 0.
[[nodiscard]] CLI::Validator whole_from(std::int64_t least);
[[nodiscard]] CLI::Validator whole_64_bits();
[[nodiscard]] CLI::Validator from_zero();
[[nodiscard]] CLI::Validator above_zero();
/// Any text but none; `instead` says what to give.
[[nodiscard]] CLI::Validator not_empty(const std::string& instead);

/// A line that replaces itself while stderr is a terminal; silent elsewhere.
class Progress {
 public:
  void show(const std::string& line);
  void clear();
  ~Progress() { clear(); }

 private:
  bool shown_ = false;
};

}  // namespace ragdot::cli
