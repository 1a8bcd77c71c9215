// Output helpers of the verbs.
#include "cli/report.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "cli/exit_codes.hpp"
#include "cli/machine.hpp"
#include "cli/output_file.hpp"
#include "cli/print.hpp"
#include "testing/kernels.hpp"

namespace ragdot::cli {
namespace {

namespace fs = std::filesystem;

/// Takes a text that is, as a whole, a number which `is_good`; `what` says which those are.
template <class T, class Rule>
CLI::Validator validator(Rule is_good, const std::string& what) {
  const auto check = [is_good, what](const std::string& text) -> std::string {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && is_good(value)) return "";
    return fmt::format("{} is no {}", text, what);
  };
  return {check, ""};
}

std::string unwritable(const std::string& path) {
  return fmt::format("--json {} cannot be written: {}; name a file in a folder that exists", path, std::strerror(errno));
}

}  // namespace

void JsonOption::add_to(CLI::App& app) {
  option = app.add_option("--json", arguments, "write JSON to FILE, or to stdout and nothing else there")
               ->expected(0, 1)
               ->allow_extra_args(false)
               ->type_name("[FILE]");
}

Status JsonOption::check(const std::vector<std::string>& others) const {
  if (!given() || on_stdout()) return {};
  const std::string& path = arguments.front();
  if (path == "-")
    return {Code::invalid_argument, "--json - is no file; leave out the - for stdout, or give ./- for a file of that name"};
  for (const std::string& other : others) {
    if (same_file(path, other))
      return {Code::invalid_argument, fmt::format("--json {} is the file {} of this call too; give another name", path, other)};
  }
  struct stat info{};
  const bool is_there = ::stat(path.c_str(), &info) == 0;
  const fs::path folder = fs::path(path).parent_path();
  const std::string asked = is_there ? path : folder.empty() ? "." : folder.string();
  if (is_there && S_ISDIR(info.st_mode))
    errno = EISDIR;
  else if (::access(asked.c_str(), is_there ? W_OK : W_OK | X_OK) == 0)
    return {};
  return {Code::invalid_argument, unwritable(path)};
}

bool JsonOption::write(const Json& json) const {
  if (!given()) return true;
  // Names of files and variables are bytes of any kind; JSON is UTF-8.
  const std::string text = json.dump(on_stdout() ? -1 : 1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (on_stdout()) {
    put_text(text);
    return true;
  }
  const Status status = write_whole(arguments.front(), text);
  if (!status.ok()) complain("--json " + status.message());
  return status.ok();
}

Json machine_json() {
  Json kernels = Json::array();
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.usable) kernels.push_back(kernel.name);
  }
  return {{"cpu", cpu_name()}, {"threads", std::thread::hardware_concurrency()}, {"kernels", kernels}};
}

void complain(const std::string& sentence) { std::fputs(fmt::format("ragdot: {}\n", sentence).c_str(), stderr); }

int refuse(const Status& status) {
  complain(status.message());
  return exit_code_of(status.code());
}

Status check_kernel_name(const char* verb, const std::string& name) {
  return testing::check_kernel_name(fmt::format("{}: kernel {}", verb, name), name);
}

CLI::Validator whole_from(std::int64_t least) {
  return validator<std::int64_t>([least](std::int64_t x) { return x >= least; }, fmt::format("whole number from {} on", least));
}
CLI::Validator whole_64_bits() {
  return validator<std::uint64_t>([](std::uint64_t) { return true; }, "whole number of 64 bits from 0 on");
}
CLI::Validator from_zero() {
  return validator<double>([](double x) { return x >= 0 && std::isfinite(x); }, "number from 0 on");
}
CLI::Validator above_zero() {
  return validator<double>([](double x) { return x > 0 && std::isfinite(x); }, "number above 0");
}

CLI::Validator not_empty(const std::string& instead) {
  const auto check = [instead](const std::string& text) { return text.empty() ? "it is empty; give " + instead : ""; };
  return {check, ""};
}

void Progress::show(const std::string& line) {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fputs(("\r\033[K" + line).c_str(), stderr);
  std::fflush(stderr);
  shown_ = true;
}

void Progress::clear() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

}  // namespace ragdot::cli
