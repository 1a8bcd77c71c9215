// What the command says of the machine that it runs on: the CPU's name, its instruction sets, its caches, its threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ragdot::cli {

/// As `file` calls it, and which core that is for AMD's, whose names in virtual machines do not say: "AMD EPYC (Zen 4)".
/// "unknown" where the file has no name.
[[nodiscard]] std::string cpu_name(const std::string& file = "/proc/cpuinfo");

struct Cache {
  std::string name;        // "L1d", "L1i", "L2", "L3"
  std::int64_t bytes = 0;  // of one instance
  std::int64_t cpus = 1;   // how many CPUs share an instance
};

/// The caches of the first CPU, nearest first, as Linux lists them in `folder`; empty where it lists none (some virtual
/// machines).
[[nodiscard]] std::vector<Cache> read_caches(const std::string& folder = "/sys/devices/system/cpu/cpu0/cache");

/// Instruction sets that are present and whose registers the operating system keeps, as /proc/cpuinfo spells them.
[[nodiscard]] std::vector<std::string> present_features();

/// Linux hands out AMX's tile registers on request only; this asks.
enum class TilePermission : std::int32_t { no_amx, refused, granted };
[[nodiscard]] TilePermission tile_permission();

}  // namespace ragdot::cli
