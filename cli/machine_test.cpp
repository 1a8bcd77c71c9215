// Cache lists as Linux writes them, and features against /proc/cpuinfo.
#include "cli/machine.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cpu/isa/features.hpp"

namespace ragdot::cli {
namespace {

namespace fs = std::filesystem;

class CacheLists : public ::testing::Test {
 protected:
  void TearDown() override { fs::remove_all(folder_); }

  void store(int index, const char* level, const char* type, const char* size, const char* cpus) const {
    const fs::path at = folder_ / fmt::format("index{}", index);
    fs::create_directories(at);
    std::ofstream(at / "level") << level << '\n';
    std::ofstream(at / "type") << type << '\n';
    std::ofstream(at / "size") << size << '\n';
    std::ofstream(at / "shared_cpu_list") << cpus << '\n';
  }

  fs::path folder_ = fs::temp_directory_path() / fmt::format("ragdot_caches_{}", ::getpid());
};

TEST_F(CacheLists, AreReadWithSizesAndSharers) {
  store(0, "1", "Data", "48K", "0");
  store(1, "1", "Instruction", "32K", "0,64");
  store(2, "2", "Unified", "2048K", "0-1,64-65");
  store(3, "3", "Unified", "480M", "0-95");
  const std::vector<Cache> caches = read_caches(folder_.string());
  ASSERT_EQ(caches.size(), 4U);
  const Cache expected[] = {{"L1d", 48 << 10, 1}, {"L1i", 32 << 10, 2}, {"L2", 2 << 20, 4}, {"L3", 480 << 20, 96}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(caches[i].name, expected[i].name);
    EXPECT_EQ(caches[i].bytes, expected[i].bytes);
    EXPECT_EQ(caches[i].cpus, expected[i].cpus);
  }
}

TEST_F(CacheLists, AreEmptyWhereLinuxListsNone) { EXPECT_TRUE(read_caches(folder_.string()).empty()); }

TEST(CpuName, NamesTheCoreOfAmd) {
  const fs::path file = fs::temp_directory_path() / fmt::format("ragdot_cpuinfo_{}", ::getpid());
  const auto name = [&](const std::string& text) {
    std::ofstream(file) << text;
    return cpu_name(file.string());
  };
  EXPECT_EQ(name("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel\t\t: 1\n"), "AMD EPYC (Zen 4)");
  EXPECT_EQ(name("cpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"), "AMD EPYC (Zen 3)");
  EXPECT_EQ(name("cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n"), "AMD EPYC (Zen 5)");
  EXPECT_EQ(name("cpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) Processor\n"), "Intel(R) Xeon(R) Processor");
  EXPECT_EQ(name("processor\t: 0\n"), "unknown");
  fs::remove(file);
}

TEST(CpuName, AndTheLibraryKnowTheSameCore) {
  const std::string name = cpu_name("/proc/cpuinfo");
  if (name.rfind("AMD", 0) != 0 && name.rfind("Intel", 0) != 0) GTEST_SKIP() << name << " says nothing of its core";
  EXPECT_EQ(cpu::asks_l2_first(), name.find("(Zen 4)") != std::string::npos) << name;
}

/// Linux leaves a set out of its flags when it does not keep the registers, as the library does.
TEST(PresentFeatures, AreFlagsOfLinux) {
  std::ifstream info("/proc/cpuinfo");
  std::string flags;
  for (std::string line; flags.empty() && std::getline(info, line);) {
    if (line.rfind("flags", 0) == 0) flags = line + " ";
  }
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo of this system has no flags";
  for (const std::string& name : present_features()) EXPECT_NE(flags.find(" " + name + " "), std::string::npos) << name;
  const bool tiles = flags.find(" amx_tile ") != std::string::npos;
  EXPECT_EQ(tile_permission() != TilePermission::no_amx, tiles);
}

}  // namespace
}  // namespace ragdot::cli
