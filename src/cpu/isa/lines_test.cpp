// What the suites cannot reach where a CPU has newer instructions: decoding without VBMI, int8 sums without VNNI.
#include <gtest/gtest.h>

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "cpu/isa/avx2/floats.hpp"
#include "cpu/isa/avx2/lines.hpp"
#include "cpu/isa/avx512/floats.hpp"
#include "cpu/isa/avx512/lines.hpp"
#include "cpu/isa/avx512/lines_vbmi.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/isa/float_env.hpp"
#include "cpu/kernel.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

#include "cpu/isa/chains/multiply.hpp"
#include "cpu/isa/pairs/chain.hpp"
#include "cpu/isa/pairs/pack.hpp"

namespace ragdot::cpu {
namespace {

void pack_pairs(chains::Role role, const PackJob& job) {
  role == chains::Role::lhs ? pairs::pack<avx512::Lines, chains::Role::lhs>(job)
                            : pairs::pack<avx512::Lines, chains::Role::rhs>(job);
}

void multiply_without_vnni(const MultiplyJob& job) {
  chains::multiply<pairs::PairChain<avx512::Integers, avx512::Floats>>(job);
}

}  // namespace
}  // namespace ragdot::cpu

RAGDOT_TARGET_END

namespace ragdot::cpu {
namespace {

template <class Lines, Format kFormat>
void expect_all_codes(const std::array<float, 256>& values) {
  const FloatEnv environment;
  std::array<std::byte, 256> codes;
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::byte>(i);
  std::array<float, 256> decoded;
  for (std::int64_t i = 0; i < 256; i += 64) {
    Lines::template lines<kFormat>(codes.data() + i, codes.data() + i + 32, decoded.data() + i, decoded.data() + i + 32);
  }
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    if (std::isnan(values[i])) {
      EXPECT_TRUE(std::isnan(decoded[i])) << i;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(decoded[i]), std::bit_cast<std::uint32_t>(values[i])) << i;
    }
  }
}

template <class Lines>
void expect_lines() {
  expect_all_codes<Lines, Format::e4m3>(format::kE4m3ToF32);
  expect_all_codes<Lines, Format::e5m2>(format::kE5m2ToF32);
  std::vector<float> from(32 * 32);
  std::vector<float> to(32 * 40, -1);
  std::iota(from.begin(), from.end(), 0.0F);
  Lines::transpose(from.data(), to.data(), 40);
  for (std::size_t r = 0; r < 32; ++r) {
    for (std::size_t c = 0; c < 32; ++c) ASSERT_EQ(to[c * 40 + r], from[r * 32 + c]);
    ASSERT_EQ(to[r * 40 + 32], -1);
  }
}

TEST(Lines, DecodeAndTransposeWithoutVbmi) {
  if (!features().avx512()) GTEST_SKIP() << "this CPU has no AVX-512";
  expect_lines<avx512::Lines>();
}

TEST(Lines, DecodeAndTransposeByVbmi) {
  if (!features().avx512() || !features().avx512vbmi) GTEST_SKIP() << "this CPU has no AVX-512 with VBMI";
  expect_lines<avx512::LinesVbmi>();
}

TEST(Lines, DecodeAndTransposeByAvx2) {
  if (!features().avx2 || !features().f16c) GTEST_SKIP() << "this CPU has no AVX2 with F16C";
  expect_lines<avx2::Lines>();
}

/// Every pair of int8 values, -128 twice included, in segments of odd length.
TEST(Int8Pairs, AddExactlyWithoutVnni) {
  if (!features().avx512()) GTEST_SKIP() << "this CPU has no AVX-512";
  constexpr std::int64_t kOuters = 256;
  constexpr std::int64_t kDepth = 35;
  std::vector<std::byte> values(kOuters * kDepth);
  for (std::int64_t o = 0; o < kOuters; ++o) {
    for (std::int64_t d = 0; d < kDepth; ++d)
      values[static_cast<std::size_t>(o * kDepth + d)] = static_cast<std::byte>(o + d / 2);
  }
  Side side;
  side.values = values.data();
  side.format = Format::i8;
  side.outer_stride = kDepth;
  side.depth_stride = 1;
  const std::array<schedule::Piece, 2> pieces = {{{0, 33, true, true}, {33, kDepth, true, true}}};
  std::vector<std::byte> lhs(static_cast<std::size_t>(pairs::Panels::bytes(kOuters, kDepth + 1)));
  std::vector<std::byte> rhs(lhs.size());
  pack_pairs(chains::Role::lhs, {&side, Arithmetic::i8, 0, kOuters, pieces, lhs.data()});
  pack_pairs(chains::Role::rhs, {&side, Arithmetic::i8, 0, kOuters, pieces, rhs.data()});
  const std::vector<float> ones(2 * kOuters, 1.0F);
  std::vector<float> acc(kOuters * kOuters);
  std::vector<std::byte> part(acc.size() * sizeof(float));
  MultiplyJob job;
  job.arithmetic = Arithmetic::i8;
  job.rows = kOuters;
  job.cols = kOuters;
  job.lhs_panel = lhs.data();
  job.rhs_panel = rhs.data();
  job.pieces = pieces;
  job.first = true;
  job.row_scales = ones.data();
  job.col_scales = ones.data();
  job.row_scales_stride = kOuters;
  job.col_scales_stride = kOuters;
  job.acc = acc.data();
  job.part = part.data();
  job.strip_rows = kOuters;
  multiply_without_vnni(job);
  const auto value = [&](std::int64_t o, std::int64_t d) {
    return static_cast<int>(static_cast<std::int8_t>(values[static_cast<std::size_t>(o * kDepth + d)]));
  };
  for (std::int64_t r = 0; r < kOuters; ++r) {
    for (std::int64_t c = 0; c < kOuters; ++c) {
      int exact = 0;
      for (std::int64_t d = 0; d < kDepth; ++d) exact += value(r, d) * value(c, d);
      ASSERT_EQ(acc[static_cast<std::size_t>(c / 32 * 32 * kOuters + r * 32 + c % 32)], static_cast<float>(exact))
          << r << ' ' << c;
    }
  }
}

/// A start-up check that refuses a CPU with every feature would take its kernel out of all suites unseen.
TEST(VectorKernels, RunWhereTheirInstructionsAre) {
  const Features& f = features();
  const std::map<std::string, bool> able = {
      {"avx512bf16", f.avx512() && f.avx512bf16 && f.avx512vbmi}, {"avx512", f.avx512()}, {"avx2", f.avx2 && f.fma && f.f16c}};
  std::size_t found = 0;
  for (const Kernel* kernel : listed_kernels()) {
    const auto at = able.find(kernel->name);
    if (at == able.end()) continue;
    ++found;
    const char* refusal = kernel->refusal();
    EXPECT_EQ(refusal == nullptr, at->second) << at->first << ": " << (refusal == nullptr ? "runs" : refusal);
  }
  EXPECT_EQ(found, able.size());
}

}  // namespace
}  // namespace ragdot::cpu
