// What is written where: empty groups, rows outside, accumulation, output formats, bias, activations, local groups, K = 0.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

class Output : public testing::TestWithParam<SuiteCase> {};
INSTANTIATE_TEST_SUITE_P(All, Output, testing::ValuesIn(all_cases()), case_name);

float f32_at(const std::vector<std::byte>& out, std::size_t i) {
  float v = 0;
  std::memcpy(&v, out.data() + 4 * i, 4);
  return v;
}

bool in_a_local_group(const Sample& s, std::int64_t row) {
  for (std::int64_t g = s.first_group; g < s.first_group + s.local; ++g) {
    const auto i = static_cast<std::size_t>(g);
    if (row >= s.starts[i] && row < s.starts[i] + s.sizes[i]) return true;
  }
  return false;
}

TEST_P(Output, RowsOutsideAndEmptySlabs) {
  Sample s = make_sample(GetParam());
  for (const RowsOutside rows_outside : {RowsOutside::zero, RowsOutside::leave}) {
    s.rows_outside = rows_outside;
    const std::vector<std::byte> out = compute(s);
    const std::size_t row_bytes = static_cast<std::size_t>(s.out_cols()) * 4;
    const std::vector<std::byte> zero(row_bytes);
    const std::vector<std::byte> untouched(row_bytes, s.out_fill);
    for (std::int64_t r = 0; s.is_gmm && r < s.out_rows(); ++r) {
      if (in_a_local_group(s, r)) continue;
      EXPECT_EQ(rows_of(s, out, 0, r, r + 1), rows_outside == RowsOutside::zero ? zero : untouched) << "row " << r;
    }
    for (std::int64_t g = 0; !s.is_gmm && g < s.local; ++g) {
      if (s.sizes[static_cast<std::size_t>(g)] != 0) continue;
      EXPECT_EQ(rows_of(s, out, g, 0, 1), zero) << "slab " << g;
    }
  }
}

TEST_P(Output, AccumulateIsOneAddAndLeavesTheRestAlone) {
  Sample s = make_sample(GetParam());
  const std::vector<std::byte> result = compute(s);
  s.out_mode = OutMode::accumulate;
  const float before = std::bit_cast<float>(0x3fabcdefU);
  std::vector<float> sum(result.size() / 4, before);
  const View out = matrices(static_cast<void*>(sum.data()), Format::f32, s.out_batch(), s.out_rows(), s.out_cols());
  const Operand lhs = s.lhs.operand();
  const Operand rhs = s.rhs.operand();
  const Status status = s.is_gmm ? gmm(s.gmm_args(lhs, rhs, out)) : tgmm(s.tgmm_args(lhs, rhs, out));
  ASSERT_TRUE(status.ok()) << status.message();
  for (std::size_t i = 0; i < sum.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i) / s.out_cols();
    const bool written = s.is_gmm ? in_a_local_group(s, row) : s.sizes[static_cast<std::size_t>(row / s.out_rows())] != 0;
    ASSERT_EQ(sum[i], written ? before + f32_at(result, i) : before) << "output " << i;
  }
}

/// 2^-126, by the first element of each sum alone, onto -1.0039 * 2^-126 is below what f32 holds as a normal number.
void expect_minus_zeros(Sample s) {
  constexpr std::uint16_t kSmall = 0x2000;  // 2^-63
  constexpr std::uint32_t kMinusZero = 0x80000000;
  for (DenseOperand* o : {&s.lhs, &s.rhs}) std::fill(o->values.begin(), o->values.end(), std::byte{0});
  const std::int64_t lhs_rows = s.is_gmm ? s.lhs.rows : 1;
  for (std::int64_t r = 0; r < lhs_rows; ++r) {
    for (std::int64_t c = 0; c < (s.is_gmm ? 1 : s.lhs.cols); ++c) std::memcpy(s.lhs.value(0, r, c), &kSmall, 2);
  }
  for (std::int64_t c = 0; c < s.rhs.cols; ++c) std::memcpy(s.rhs.value(0, 0, c), &kSmall, 2);
  s.out_mode = OutMode::accumulate;
  s.out_fill = std::byte{0x80};
  const std::vector<std::byte> out = compute(s);
  for (std::size_t i = 0; i < out.size() / 4; ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(f32_at(out, i)), kMinusZero) << s.lhs.rows << " rows, output " << i;
}

const Grids kPlainBf16{"bf16", Format::bf16, Format::bf16};

TEST(GmmAccumulation, FlushedToZeroKeepsItsSign) {
  for (const std::int64_t rows : {1, 3, 40})
    expect_minus_zeros(make_gmm(kPlainBf16, touching({rows}, rows, 32, 72), Data::integers, 1));
}

TEST(TgmmAccumulation, FlushedToZeroKeepsItsSign) {
  for (const std::int64_t rows : {1, 3, 40})
    expect_minus_zeros(make_tgmm(kPlainBf16, touching({rows}, rows, 20, 72), Data::integers, 1));
}

TEST_P(Output, LocalGroupsAreTheSameGroupsOfAll) {
  const Sample all = make_sample(GetParam());
  const std::vector<std::byte> expected = compute(all);
  for (std::int64_t first = 0; first < 6; ++first) {
    Sample part = all;
    part.first_group = first;
    part.local = std::min<std::int64_t>(3, 6 - first);
    part.rhs.batch = part.is_gmm ? part.local : 1;
    if (part.is_gmm) {
      const std::int64_t values = part.rhs.rows * part.rhs.cols * element_bytes(part.rhs.format);
      const std::int64_t scales = part.rhs.scale_rows * part.rhs.scale_cols * element_bytes(part.rhs.scale_format);
      part.rhs.values.erase(part.rhs.values.begin(), part.rhs.values.begin() + first * values);
      part.rhs.scales.erase(part.rhs.scales.begin(), part.rhs.scales.begin() + first * scales);
    }
    const std::vector<std::byte> got = compute(part);
    for (std::int64_t g = first; g < first + part.local; ++g) {
      const std::int64_t begin = part.starts[static_cast<std::size_t>(g)];
      const std::int64_t end = begin + part.sizes[static_cast<std::size_t>(g)];
      if (part.is_gmm) {
        EXPECT_EQ(rows_of(all, expected, 0, begin, end), rows_of(part, got, 0, begin, end)) << "group " << g;
      } else {
        EXPECT_EQ(rows_of(all, expected, g, 0, all.out_rows()), rows_of(part, got, g - first, 0, all.out_rows()))
            << "group " << g;
      }
    }
  }
}

/// Rounds to nearest even at bit `drop` of an f32; enough for finite values in the target's normal range.
std::uint32_t rounded(std::uint32_t bits, int drop) {
  const std::uint32_t half = (1U << (drop - 1)) - 1 + ((bits >> drop) & 1U);
  return (bits + half) >> drop << drop;
}

TEST_P(Output, Bf16AndF16AreTheF32ResultRounded) {
  Sample s = make_sample(GetParam());
  const std::vector<std::byte> f32 = compute(s);
  for (const Format format : {Format::bf16, Format::f16}) {
    s.out_format = format;
    const std::vector<std::byte> half = compute(s);
    std::size_t compared = 0;
    for (std::size_t i = 0; i < f32.size() / 4; ++i) {
      const float exact = f32_at(f32, i);
      std::uint16_t got = 0;
      std::memcpy(&got, half.data() + 2 * i, 2);
      const auto bits = std::bit_cast<std::uint32_t>(exact);
      if (format == Format::bf16) {
        ASSERT_EQ(got, rounded(bits, 16) >> 16) << "output " << i << " of " << exact;
        ++compared;
      } else if (std::abs(exact) >= 0x1p-14F && std::abs(exact) < 60000.0F) {
        const std::uint32_t r = rounded(bits, 13);
        ASSERT_EQ(got, (r >> 16 & 0x8000U) | (((r & 0x7fffffffU) - (112U << 23)) >> 13)) << "output " << i << " of " << exact;
        ++compared;
      } else if (std::abs(exact) >= 65520.0F) {
        ASSERT_EQ(got, bits >> 31 != 0 ? 0xfc00 : 0x7c00) << "output " << i << " of " << exact;
      }
    }
    EXPECT_GT(compared, 0U);
  }
}

TEST(Bias, OneAddPerOutputOfItsOwnGroup) {
  Sample s = make_gmm(gmm_grids().front(), usual_shape(true), Data::mixed, 3);
  const std::vector<std::byte> plain = compute(s);
  for (std::int64_t i = 0; i < s.local * s.out_cols(); ++i) s.bias.push_back(static_cast<float>(i) * 0.37F - 50.0F);
  const std::vector<std::byte> biased = compute(s);
  for (std::size_t g = 0; g < s.sizes.size(); ++g) {
    for (std::int64_t r = s.starts[g]; r < s.starts[g] + s.sizes[g]; ++r) {
      for (std::int64_t c = 0; c < s.out_cols(); ++c) {
        const auto i = static_cast<std::size_t>(r * s.out_cols() + c);
        ASSERT_EQ(f32_at(biased, i),
                  f32_at(plain, i) + s.bias[g * static_cast<std::size_t>(s.out_cols()) + static_cast<std::size_t>(c)]);
      }
    }
  }
  EXPECT_EQ(rows_of(s, biased, 0, 141, 150), std::vector<std::byte>(static_cast<std::size_t>(9 * s.out_cols() * 4)))
      << "rows outside get no bias";
}

double exact_activation(Activation act, double x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::tanh: return std::tanh(x);
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  }
  return x;
}

TEST(Activations, AppliedAfterBiasWithinFourUlp) {
  Sample s = make_gmm(gmm_grids().front(), usual_shape(true), Data::subnormals, 4);
  for (std::int64_t i = 0; i < s.local * s.out_cols(); ++i) s.bias.push_back(static_cast<float>(i % 97) * 0.13F - 6.0F);
  const std::vector<std::byte> linear = compute(s);
  for (const Activation act :
       {Activation::relu, Activation::tanh, Activation::silu, Activation::gelu_tanh, Activation::gelu_erf}) {
    s.activation = act;
    const std::vector<std::byte> out = compute(s);
    for (std::int64_t i = 0; i < 141 * s.out_cols(); ++i) {
      const double x = f32_at(linear, static_cast<std::size_t>(i));
      const double y = f32_at(out, static_cast<std::size_t>(i));
      const double exact = exact_activation(act, x);
      int exponent = 0;
      std::frexp(exact, &exponent);
      const double allowed = std::max(4 * std::ldexp(1.0, std::max(exponent - 24, -149)), 0x1p-24 * std::abs(x));
      ASSERT_NEAR(y, exact, allowed) << "activation " << static_cast<int>(act) << " of " << x;
    }
  }
}

TEST(Extremes, NoReductionGivesZerosPlusBias) {
  Sample s = make_gmm(gmm_grids()[10], touching({3, 2}, 5, 0, 9), Data::mixed, 5);
  EXPECT_EQ(compute(s), std::vector<std::byte>(5 * 9 * 4));
  s.bias.assign(18, 2.5F);
  const std::vector<std::byte> out = compute(s);
  for (std::size_t i = 0; i < 45; ++i) EXPECT_EQ(f32_at(out, i), 2.5F);
}

TEST(Extremes, NothingAtAll) {
  for (const bool is_gmm : {true, false}) {
    for (const auto& [m, k, n] : {std::tuple{0, 8, 8}, {8, 8, 0}, {0, 0, 0}}) {
      const Shape shape = touching({m, 0}, m, k, n);
      const Grids& grids = is_gmm ? gmm_grids()[10] : tgmm_grids()[9];
      const std::vector<std::byte> out =
          compute(is_gmm ? make_gmm(grids, shape, Data::mixed, 6) : make_tgmm(grids, shape, Data::mixed, 6));
      EXPECT_EQ(out, std::vector<std::byte>(out.size()));
    }
  }
}

struct alignas(64) Line {
  std::byte bytes[64];
};

/// Outputs above 4 MiB that begin at a cache line go to memory past the caches, where a kernel can; the others do not.
TEST(Extremes, LargeOutputsHaveTheBitsOfCachedOnes) {
  constexpr std::int64_t kCols = 1050;  // behind whole lines and blocks of 32 columns
  constexpr std::int64_t kStride = 1056;
  for (const auto& [format, rows] : {std::pair{Format::f32, 1010}, {Format::bf16, 2030}}) {
    Sample s = make_gmm(gmm_grids().front(), touching({rows}, rows, 3, kCols), Data::mixed, 7);
    s.out_format = format;
    const std::vector<std::byte> expected = compute(s);
    const std::int64_t bytes = element_bytes(format);
    ASSERT_GT(rows * kCols * bytes, 4 << 20);
    for (const std::string& kernel : kernels_for(s, s.lhs.operand(), s.rhs.operand())) {
      std::vector<Line> memory(static_cast<std::size_t>(rows * kStride * bytes / 64));
      auto* out = reinterpret_cast<std::byte*>(memory.data());
      Options options;
      options.kernel = kernel;
      const View view = matrix(static_cast<void*>(out), format, rows, kCols, kStride);
      const Status status = gmm(s.gmm_args(s.lhs.operand(), s.rhs.operand(), view), options);
      ASSERT_TRUE(status.ok()) << status.message();
      std::vector<std::byte> dense;
      for (std::int64_t r = 0; r < rows; ++r)
        dense.insert(dense.end(), out + r * kStride * bytes, out + (r * kStride + kCols) * bytes);
      expect_same(s, expected, dense, "kernel " + kernel);
    }
  }
}

TEST(Extremes, EveryPatternOfEmptyGroups) {
  const Grids& gmm_blockwise = gmm_grids().front();
  const Grids& tgmm_blockwise = tgmm_grids()[1];
  for (unsigned pattern = 0; pattern < 256; ++pattern) {
    std::vector<std::int64_t> sizes;
    std::int64_t m = 0;
    for (unsigned g = 0; g < 8; ++g) {
      sizes.push_back((pattern >> g & 1U) != 0 ? 3 + g : 0);
      m += sizes.back();
    }
    const Shape shape = touching(sizes, m + 2, 40, 17);
    const Sample forward = make_gmm(gmm_blockwise, shape, Data::integers, pattern);
    const std::vector<std::byte> tail = rows_of(forward, compute(forward), 0, m, m + 2);
    ASSERT_EQ(tail, std::vector<std::byte>(tail.size()));
    const Sample gradient = make_tgmm(tgmm_blockwise, shape, Data::integers, pattern);
    const std::vector<std::byte> out = compute(gradient);
    for (std::int64_t g = 0; g < 8; ++g) {
      const std::vector<std::byte> slab = rows_of(gradient, out, g, 0, 40);
      ASSERT_EQ(slab == std::vector<std::byte>(slab.size()), (pattern >> g & 1U) == 0)
          << "pattern " << pattern << " group " << g;
    }
  }
}

}  // namespace
}  // namespace ragdot::suites
