// Reads /proc/cpuinfo, Linux's cache lists, and the library's own view of the CPU.
#include "cli/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cpu/isa/features.hpp"

namespace ragdot::cli {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// "48K" and "4M"; 0 for anything else.
std::int64_t bytes_of(const std::string& text) {
  std::int64_t number = 0;
  char unit = '\0';
  std::istringstream words(text);
  if (!(words >> number >> unit)) return 0;
  return unit == 'K' ? number << 10 : unit == 'M' ? number << 20 : 0;
}

/// How many CPUs a list such as "0-3,8" names.
std::int64_t count_of(const std::string& list) {
  std::int64_t count = 0;
  std::istringstream ranges(list);
  for (std::string range; std::getline(ranges, range, ',');) {
    std::int64_t first = 0;
    std::int64_t last = 0;
    char dash = '\0';
    std::istringstream words(range);
    words >> first;
    count += words >> dash >> last ? last - first + 1 : 1;
  }
  return std::max<std::int64_t>(count, 1);
}

}  // namespace

std::string cpu_name(const std::string& file) {
  std::ifstream info(file);
  std::string name = "unknown";
  std::uint32_t family = 0;  // of the first CPU, as the model
  std::uint32_t model = 0;
  for (std::string line; std::getline(info, line) && !line.empty();) {
    if (line.find(':') + 2 > line.size()) continue;
    const std::string key = line.substr(0, line.find_first_of("\t:"));
    const std::string value = line.substr(line.find(':') + 2);
    if (key == "model name") name = value;
    if (key == "cpu family") family = static_cast<std::uint32_t>(std::atoi(value.c_str()));
    if (key == "model") model = static_cast<std::uint32_t>(std::atoi(value.c_str()));
  }
  const std::string_view core = cpu::amd_core(family, model);
  return name.rfind("AMD", 0) == 0 && !core.empty() ? fmt::format("{} ({})", name, core) : name;
}

std::vector<Cache> read_caches(const std::string& folder) {
  std::vector<Cache> caches;
  for (int index = 0;; ++index) {
    const std::string at = fmt::format("{}/index{}/", folder, index);
    const std::string level = first_line(at + "level");
    if (level.empty()) return caches;
    const std::string type = first_line(at + "type");
    const char* const kind = type == "Data" ? "d" : type == "Instruction" ? "i" : "";
    caches.push_back(
        {fmt::format("L{}{}", level, kind), bytes_of(first_line(at + "size")), count_of(first_line(at + "shared_cpu_list"))});
  }
}

std::vector<std::string> present_features() {
  std::vector<std::string> names;
  for (const cpu::NamedFeature& feature : cpu::kFeatureNames) {
    if (cpu::features().*feature.present) names.emplace_back(feature.name);
  }
  return names;
}

TilePermission tile_permission() {
  if (!cpu::features().amx_tile) return TilePermission::no_amx;
  return cpu::amx_granted() ? TilePermission::granted : TilePermission::refused;
}

}  // namespace ragdot::cli
