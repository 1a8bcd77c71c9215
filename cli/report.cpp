// Output helpers of the verbs.
#include "cli/report.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <thread>

#include "cli/machine.hpp"
#include "ragdot/kernels.hpp"

namespace ragdot::cli {

void JsonOption::add_to(CLI::App& app) {
  option = app.add_option("--json", arguments, "write JSON to FILE, or to stdout and nothing else there")
               ->expected(0, 1)
               ->type_name("[FILE]");
}

bool JsonOption::write(const Json& json) const {
  if (!given()) return true;
  if (on_stdout()) {
    fmt::print("{}\n", json.dump());
    return true;
  }
  std::ofstream file(arguments.front());
  file << json.dump(1) << '\n';
  file.close();
  if (!file) complain(fmt::format("{} cannot be written; name a file in a folder that exists", arguments.front()));
  return static_cast<bool>(file);
}

Json machine_json() {
  Json kernels = Json::array();
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.usable) kernels.push_back(kernel.name);
  }
  return {{"cpu", cpu_name()}, {"threads", std::thread::hardware_concurrency()}, {"kernels", kernels}};
}

void complain(const std::string& sentence) { fmt::print(stderr, "ragdot: {}\n", sentence); }

void Progress::show(const std::string& line) {
  if (isatty(STDERR_FILENO) == 0) return;
  fmt::print(stderr, "\r\033[K{}", line);
  std::fflush(stderr);
  shown_ = true;
}

void Progress::clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
  shown_ = false;
}

}  // namespace ragdot::cli
