// The kernels in the order of docs/cpu.md, and that a plan which nobody forces takes the first that runs here.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <vector>

#include "cpu/kernel.hpp"
#include "ragdot/ragdot.hpp"

namespace ragdot::cpu {
namespace {

const std::vector<std::string> kOrder = {"amx", "avx512bf16", "avx512", "avx2", "portable"};

/// A build without special instructions has the last alone.
std::vector<std::string> expected() { return listed_kernels().size() == 1 ? std::vector<std::string>{kOrder.back()} : kOrder; }

TEST(Kernels, AreListedBestFirst) {
  std::vector<std::string> names;
  for (const Kernel* kernel : listed_kernels()) names.emplace_back(kernel->name);
  EXPECT_EQ(names, expected());
  names.clear();
  for (const KernelInfo& kernel : list_kernels()) names.push_back(kernel.name);
  EXPECT_EQ(names, expected());
}

/// One group of e4m3, bf16 or f32, which the plan reads no element of.
std::string planned(Format format) {
  constexpr std::array<std::int64_t, 1> kSizes = {16};
  constexpr std::int64_t kSide = 64;
  std::byte nothing{};
  GmmArgs args;
  args.lhs = matrix(static_cast<const void*>(&nothing), format, kSizes[0], kSide);
  args.rhs = matrices(static_cast<const void*>(&nothing), format, 1, kSide, kSide);
  args.groups = Groups::from_sizes(std::span<const std::int64_t>(kSizes));
  args.out = matrix(static_cast<void*>(&nothing), Format::f32, kSizes[0], kSide);
  const auto plan = make_plan(args);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  return plan.value().kernel();
}

TEST(Kernels, ThatComeFirstAndRunHereAreTaken) {
  const std::vector<KernelInfo> kernels = list_kernels();
  const auto first_of = [&](const std::vector<std::string>& order) {
    for (const std::string& name : order) {
      const auto at = std::find_if(kernels.begin(), kernels.end(), [&](const KernelInfo& k) { return k.name == name; });
      if (at != kernels.end() && at->usable) return name;
    }
    return std::string();
  };
  EXPECT_EQ(planned(Format::e4m3), first_of(kOrder));
  EXPECT_EQ(planned(Format::bf16), first_of(kOrder));
  EXPECT_EQ(planned(Format::f32), first_of({"avx512", "avx2", "portable"})) << "the first two do not take f32";
}

}  // namespace
}  // namespace ragdot::cpu
