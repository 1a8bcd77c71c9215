// What all verbs print: JSON to a file or alone on stdout, progress to a terminal, sentences to stderr.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace ragdot::cli {

using Json = nlohmann::ordered_json;

/// The option --json [FILE].
struct JsonOption {
  std::vector<std::string> arguments;
  CLI::Option* option = nullptr;

  void add_to(CLI::App& app);
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
