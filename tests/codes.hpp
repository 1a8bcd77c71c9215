// Every pair of 8-bit codes, and what their product has to be in out.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "format/e4m3.hpp"
#include "format/e5m2.hpp"
#include "ragdot/ragdot.hpp"
#include "testing/kernels.hpp"

namespace ragdot::suites {

/// The pairs of 8-bit formats that are offered.
inline constexpr std::array<std::pair<Format, Format>, 5> kCodePairs = {{{Format::e4m3, Format::e4m3},
                                                                         {Format::e4m3, Format::e5m2},
                                                                         {Format::e5m2, Format::e4m3},
                                                                         {Format::e5m2, Format::e5m2},
                                                                         {Format::i8, Format::i8}}};

[[nodiscard]] inline std::string pair_name(const ::testing::TestParamInfo<std::pair<Format, Format>>& info) {
  return std::string(name(info.param.first)) + "_" + name(info.param.second);
}

[[nodiscard]] inline std::vector<std::uint8_t> all_codes() {
  std::vector<std::uint8_t> codes(256);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i);
  return codes;
}

[[nodiscard]] inline float value_of(Format format, std::size_t code) {
  if (format == Format::i8) return static_cast<float>(static_cast<std::int8_t>(code));
  return (format == Format::e4m3 ? format::kE4m3ToF32 : format::kE5m2ToF32)[code];
}

/// What out holds for an exact result: +0 for zeros, the canonical NaN.
[[nodiscard]] inline std::uint32_t out_bits(double exact) {
  if (std::isnan(exact)) return 0x7fc00000U;
  return std::bit_cast<std::uint32_t>(exact == 0 ? 0.0F : static_cast<float>(exact));
}

/// `out` [256, 256] holds the product of code i of `lhs` and code j of `rhs` at (i, j); `what` names the run.
inline void expect_products(Format lhs, Format rhs, const std::vector<float>& out, const std::string& what) {
  ASSERT_EQ(out.size(), 65536U);
  int wrong = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double exact = static_cast<double>(value_of(lhs, i / 256)) * static_cast<double>(value_of(rhs, i % 256));
    if (std::bit_cast<std::uint32_t>(out[i]) != out_bits(exact) && wrong++ == 0)
      ADD_FAILURE() << what << ": codes " << i / 256 << " and " << i % 256 << " give " << out[i] << ", not " << exact;
  }
  EXPECT_EQ(wrong, 0) << what << ", of 65,536 pairs";
}

/// Runs the call on every kernel that takes it, and hands the name of each to `check` when `out` holds its result.
template <class Args, class Call, class Check>
void run_on_every_kernel(const Args& args, Call call, std::vector<float>& out, Check check) {
  for (const std::string& kernel : testing::kernels_for(args)) {
    Options options;
    options.kernel = kernel;
    std::fill(out.begin(), out.end(), -77.0F);
    const Status status = call(args, options);
    ASSERT_TRUE(status.ok()) << kernel << ": " << status.message();
    check(kernel);
  }
}

}  // namespace ragdot::suites
