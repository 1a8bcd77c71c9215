// How the device half is found, and what is said where it is not.
#include "cuda/device_half.hpp"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>
#include <vector>

namespace ragdot::cuda {
namespace {

using testing::HasSubstr;

/// A file beside this program.
std::string beside(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

TEST(DeviceHalf, IsTheFileBesideThisCode) {
  const OpenedHalf& half = device_half();
  ASSERT_EQ(half.why, "");
  void* fake = dlopen(beside(kDeviceHalfFile).c_str(), RTLD_NOW | RTLD_NOLOAD);
  ASSERT_NE(fake, nullptr);
  const auto function = reinterpret_cast<DeviceHalfFunction>(dlsym(fake, kDeviceHalfFunction));
  EXPECT_EQ(half.table, function());
  (void)dlclose(fake);
}

TEST(DeviceHalf, IsOpenedOnce) {
  std::vector<const OpenedHalf*> seen(8);
  std::vector<std::thread> threads;
  threads.reserve(seen.size());
  for (const OpenedHalf*& half : seen) threads.emplace_back([&half] { half = &device_half(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(seen, testing::Each(&device_half()));
}

TEST(DeviceHalf, MayBeMissing) {
  const OpenedHalf half = open_device_half("/nowhere/libragdot_cuda.so");
  EXPECT_EQ(half.table, nullptr);
  EXPECT_EQ(half.why,
            "libragdot_cuda.so cannot be opened (/nowhere/libragdot_cuda.so: cannot open shared object file: No such file or "
            "directory); install it beside libragdot.so, from a build that found nvcc");
  EXPECT_EQ(refusal(half), half.why);
}

TEST(DeviceHalf, IsOfTheSameBuild) {
  const OpenedHalf half = open_device_half(beside("libragdot_cuda_newer.so"));
  EXPECT_EQ(half.table, nullptr);
  EXPECT_EQ(half.why, beside("libragdot_cuda_newer.so") + " has interface 1000 and libragdot has " +
                          std::to_string(kInterface) + "; install both from one build");
}

TEST(DeviceHalf, IsNoOtherLibrary) {
  const OpenedHalf half = open_device_half("libm.so.6");
  EXPECT_EQ(half.table, nullptr);
  EXPECT_EQ(half.why, "libm.so.6 has no ragdot_cuda_device_half; install the one of this build of libragdot");
}

}  // namespace
}  // namespace ragdot::cuda
