// Every kernel's ways of writing sums: plain ones against the scalar codecs, for all kinds of values, widths, alignments and
// stores; others against the driver's own.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cpu/epilogue.hpp"
#include "cpu/isa/float_env.hpp"
#include "cpu/kernel.hpp"
#include "format/half.hpp"
#include "format/minifloat.hpp"

namespace ragdot::cpu {
namespace {

constexpr std::byte kUntouched{0x5a};
constexpr std::int64_t kRows = 3;
constexpr std::int64_t kRowBytes = 512;

struct alignas(64) Line {
  std::byte bytes[64];
};

/// Sums of every kind: zeros and NaNs of both signs, infinities, subnormals, ties of bf16.
float sum_of(std::mt19937& random) {
  static constexpr std::uint32_t kSpecial[] = {0,          0x80000000, 0x7f800000, 0xff800000, 0x7f800001,
                                               0xffc00000, 0xff812345, 0x00000001, 0x807fffff, 0x3f808000,
                                               0x3f818000, 0x7f7fffff, 0x3f807fff, 0xbf808001};
  const auto r = static_cast<std::uint32_t>(random());
  return std::bit_cast<float>(r % 3 == 0 ? kSpecial[r / 3 % std::size(kSpecial)] : static_cast<std::uint32_t>(random()));
}

class EveryStore : public testing::TestWithParam<const Kernel*> {
 protected:
  void SetUp() override {
    if (const char* why = kernel_.refusal()) GTEST_SKIP() << kernel_.name << ": " << why;
    if (kernel_.store == nullptr) GTEST_SKIP() << kernel_.name << " leaves writing out to the driver";
  }

  /// Writes kRows x cols sums and holds every byte of out against the codecs.
  void check(Format format, std::int64_t cols, std::int64_t offset, Stores stores) {
    std::mt19937 random(static_cast<std::uint32_t>(cols));
    const std::int64_t strips = (cols + kernel_.block_cols - 1) / kernel_.block_cols;
    std::vector<float> acc(static_cast<std::size_t>(strips * kRows * kernel_.block_cols));
    for (float& x : acc) x = sum_of(random);
    std::vector<Line> memory(static_cast<std::size_t>((kRows + 1) * kRowBytes / 64));
    auto* bytes = reinterpret_cast<std::byte*>(memory.data());
    std::fill_n(bytes, memory.size() * sizeof(Line), kUntouched);
    std::vector<std::byte> expected(bytes, bytes + memory.size() * sizeof(Line));
    const std::int64_t size = element_bytes(format);
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) {
        const std::int64_t strip = c / kernel_.block_cols;
        const float sum = acc[static_cast<std::size_t>((strip * kRows + r) * kernel_.block_cols + c % kernel_.block_cols)];
        const float zeroed = sum == 0.0F ? 0.0F : sum;
        const auto bits = std::bit_cast<std::uint32_t>(zeroed);
        const std::uint32_t f32 = zeroed != zeroed ? format::kF32Nan : bits;
        const std::uint16_t bf16 = format::f32_to_bf16(zeroed);
        std::memcpy(expected.data() + offset + r * kRowBytes + c * size,
                    format == Format::f32 ? static_cast<const void*>(&f32) : &bf16, static_cast<std::size_t>(size));
      }
    }
    kernel_.store({acc.data(), kRows, kRows, cols, format, bytes + offset, kRowBytes, stores, false});
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_EQ(bytes[i], expected[i]) << cols << " columns, offset " << offset << ", byte " << i;
  }

  const Kernel& kernel_ = *GetParam();
};

TEST_P(EveryStore, WritesWhatTheCodecsSayAndNothingElse) {
  for (const Format format : {Format::f32, Format::bf16}) {
    for (std::int64_t cols = 1; cols <= 100; ++cols) {
      for (const std::int64_t offset : {0, 16, 63}) {
        for (const Stores stores : {Stores::cached, Stores::streamed}) check(format, cols, offset, stores);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryStore, testing::ValuesIn(listed_kernels().begin(), listed_kernels().end()),
                         [](const auto& each) { return std::string(each.param->name); });

class EveryFinish : public testing::TestWithParam<const Kernel*> {
 protected:
  void SetUp() override {
    if (const char* why = kernel_.refusal()) GTEST_SKIP() << kernel_.name << ": " << why;
    if (kernel_.finish == nullptr) GTEST_SKIP() << kernel_.name << " leaves writing out to the driver";
  }

  /// kRows x cols sums onto an out that holds numbers, with the driver's own finish_row beside.
  void check(const EpilogueSpec& spec, std::int64_t cols, bool bias) {
    std::mt19937 random(static_cast<std::uint32_t>(cols));
    const std::int64_t strip_cols = kernel_.block_cols;
    const std::int64_t strips = (cols + strip_cols - 1) / strip_cols;
    std::vector<float> acc(static_cast<std::size_t>(strips * kRows * strip_cols));
    std::uniform_real_distribution<float> near(-100.0F, 100.0F);
    for (float& x : acc) x = random() % 2 == 0 ? sum_of(random) : std::ldexp(near(random), -static_cast<int>(random() % 12));
    std::vector<float> added(static_cast<std::size_t>(cols));
    for (float& x : added) x = sum_of(random);
    std::vector<std::byte> out(static_cast<std::size_t>(kRows * kRowBytes + 1));
    for (std::byte& x : out) x = static_cast<std::byte>(random() % 64);
    std::vector<std::byte> expected = out;
    const auto* bias_at = bias ? reinterpret_cast<const std::byte*>(added.data()) : nullptr;
    const FloatEnv environment;
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t c = 0; c < cols; c += strip_cols) {
        finish_row(spec, acc.data() + c * kRows + r * strip_cols, std::min(strip_cols, cols - c),
                   bias ? bias_at + c * 4 : nullptr, 1,
                   expected.data() + 1 + r * kRowBytes + c * element_bytes(spec.out_format), 1);
      }
    }
    const StoreJob store = {acc.data(), kRows,           kRows,
                            cols,       spec.out_format, out.data() + 1,
                            kRowBytes,  Stores::cached,  spec.out_mode == OutMode::accumulate};
    kernel_.finish({store, strip_cols, spec.activation, bias_at});
    ASSERT_EQ(out, expected) << name(spec.out_format) << " activation " << static_cast<int>(spec.activation) << ", " << cols
                             << " columns" << (bias ? " with bias" : "");
  }

  const Kernel& kernel_ = *GetParam();
};

TEST_P(EveryFinish, WritesWhatTheDriverWouldAndNothingElse) {
  for (const Format format : {Format::f32, Format::bf16, Format::f16}) {
    for (int activation = 0; activation <= static_cast<int>(Activation::gelu_erf); ++activation) {
      for (std::int64_t cols = 1; cols <= 100; ++cols) {
        const auto act = static_cast<Activation>(activation);
        for (const bool bias : {false, true}) check({format, OutMode::overwrite, act}, cols, bias);
        if (format == Format::f32) check({format, OutMode::accumulate, act}, cols, true);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryFinish, testing::ValuesIn(listed_kernels().begin(), listed_kernels().end()),
                         [](const auto& each) { return std::string(each.param->name); });

TEST(Stores, LargeOutputsAreStreamed) {
  EXPECT_EQ(stores_for(4 << 20), Stores::cached);
  EXPECT_EQ(stores_for((4 << 20) + 1), Stores::streamed);
}

}  // namespace
}  // namespace ragdot::cpu
