// All 2^32 f32 through every table of the quantisers' inner loops, against the scalar codecs.
#include <gtest/gtest.h>

#include <bit>
#include <cstdio>
#include <vector>

#include "cpu/isa/float_env.hpp"
#include "cpu/quantize/routines.hpp"
#include "format/e4m3.hpp"
#include "format/e5m2.hpp"

namespace ragdot::cpu {
namespace {

TEST(Exhaustive, EveryF32ToFp8ByEveryTable) {
  constexpr std::size_t kRow = 1 << 16;
  const FloatEnv environment(FloatEnv::kQuantisers);
  std::vector<float> x(kRow);
  std::vector<std::byte> got(kRow);
  std::vector<std::byte> e4m3(kRow);
  std::vector<std::byte> e5m2(kRow);
  const float one = 1.0F;
  const SourceRow row{Format::f32, reinterpret_cast<const std::byte*>(x.data()), kRow};
  for (std::uint64_t high = 0; high < (1ULL << 16); ++high) {
    for (std::size_t low = 0; low < kRow; ++low) {
      x[low] = std::bit_cast<float>(static_cast<std::uint32_t>(high << 16 | low));
      e4m3[low] = std::byte{format::f32_to_e4m3(x[low])};
      e5m2[low] = std::byte{format::f32_to_e5m2(x[low])};
    }
    for (const Routines* table : routines()) {
      if (table->refusal() != nullptr) continue;
      table->encode(row, Format::e4m3, Scaling::divide, {&one, kWholeAxis}, got.data());
      ASSERT_EQ(got, e4m3) << table->name << ", f32 that begin with " << std::hex << high;
      table->encode(row, Format::e5m2, Scaling::divide, {&one, kWholeAxis}, got.data());
      ASSERT_EQ(got, e5m2) << table->name << ", f32 that begin with " << std::hex << high;
    }
  }
  for (const Routines* table : routines()) {
    if (table->refusal() != nullptr) std::printf("not run: %s, as %s\n", table->name, table->refusal());
  }
}

}  // namespace
}  // namespace ragdot::cpu
