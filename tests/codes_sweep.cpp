// Every pair of 8-bit codes at every place of two chunks of the reduction axis, as whole products on every kernel.
#include <fmt/format.h>

#include <set>

#include "tests/codes.hpp"

namespace ragdot::suites {
namespace {

constexpr std::int64_t kDepth = 64;

class EveryCodePair : public ::testing::TestWithParam<std::pair<Format, Format>> {
 protected:
  /// Puts all codes at `place` of the reduction axis, between zeros.
  void place_codes(std::int64_t place) {
    std::fill(operand_.begin(), operand_.end(), std::uint8_t{0});
    for (std::size_t i = 0; i < 256; ++i) operand_[static_cast<std::size_t>(place) * 256 + i] = static_cast<std::uint8_t>(i);
  }
  [[nodiscard]] ConstView rows(Format format) const {
    return matrix(static_cast<const void*>(operand_.data()), format, kDepth, 256);
  }
  /// f32 scales of 32 elements each along the reduction axis cut it: the product passes through the segments' sums too.
  [[nodiscard]] Scales scales() const {
    return {matrix(static_cast<const void*>(ones_.data()), Format::f32, kDepth / 32, 1), 32, kWholeAxis, ScaleOrigin::global};
  }

  /// out [256, 256] of the call, on every kernel.
  template <class Args, class Call>
  void expect_on_every_kernel(const Args& args, Call call, const std::string& what) {
    run_on_every_kernel(args, call, out_, [&](const std::string& kernel) {
      expect_products(GetParam().first, GetParam().second, out_, kernel + ": " + what);
      products_ += 65536;
      names_.insert(kernel);
    });
  }
  void report(const char* where) const {
    const auto [lhs, rhs] = GetParam();
    fmt::print("{} x {}: {} products of two codes {} on {}\n", name(lhs), name(rhs), products_, where, fmt::join(names_, ", "));
  }

  std::int64_t products_ = 0;
  std::set<std::string> names_;
  std::vector<std::uint8_t> operand_ = std::vector<std::uint8_t>(kDepth * 256);
  std::vector<float> ones_ = std::vector<float>(kDepth / 32, 1.0F);
  std::vector<float> out_ = std::vector<float>(256 * 256);
  std::vector<std::int64_t> one_row_ = {256};
  std::vector<std::int64_t> one_column_ = {kDepth};
};

INSTANTIATE_TEST_SUITE_P(Formats, EveryCodePair, ::testing::ValuesIn(kCodePairs), pair_name);

TEST_P(EveryCodePair, AtEveryPlaceOnEveryKernel) {
  const auto [lhs, rhs] = GetParam();
  for (std::int64_t place = 0; place < kDepth; ++place) {
    place_codes(place);
    for (const bool cut : {false, true}) {
      const std::string what = (cut ? "cut at place " : "place ") + std::to_string(place);
      Operand l = rows(lhs);
      if (cut) l.scales = scales();
      GmmArgs forward;
      forward.lhs = l.transposed();
      forward.rhs = rows(rhs);
      forward.groups = Groups::from_sizes(std::span(one_row_));
      forward.out = matrix(static_cast<void*>(out_.data()), Format::f32, 256, 256);
      expect_on_every_kernel(forward, gmm, "gmm " + what);
      TgmmArgs gradient;
      gradient.lhs = l;
      gradient.rhs = rows(rhs);
      gradient.groups = Groups::from_sizes(std::span(one_column_));
      gradient.out = matrices(static_cast<void*>(out_.data()), Format::f32, 1, 256, 256);
      expect_on_every_kernel(gradient, tgmm, "tgmm " + what);
      if (HasFailure()) return;
    }
  }
  report("in panels");
}

Status gmm_of_packed_weights(GmmArgs args, const Options& options) {
  const auto packed = pack_rhs(args.rhs, options);
  if (!packed.ok()) return packed.status();
  args.packed_rhs = packed.value();
  args.rhs = {};
  return gmm(args, options);
}

/// All codes of lhs in groups of few rows, each with a copy of the same weights: kernels decode these in registers.
TEST_P(EveryCodePair, InFewRowsOfEveryLayout) {
  const auto [lhs, rhs] = GetParam();
  std::vector<std::uint8_t> across, along;  // weights with contiguous rows, and with contiguous columns
  for (const std::int64_t rows_each : {1, 2, 3, 4, 5, 8, 16, 32}) {
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(256 / rows_each), rows_each);
    if (256 % rows_each != 0) sizes.push_back(256 % rows_each);
    const std::int64_t groups = std::ssize(sizes);
    for (std::int64_t place = 0; place < kDepth; ++place) {
      place_codes(place);
      across.clear();
      along.assign(static_cast<std::size_t>(groups * kDepth * 256), 0);
      for (std::int64_t g = 0; g < groups; ++g) {
        across.insert(across.end(), operand_.begin(), operand_.end());
        for (std::int64_t i = 0; i < 256; ++i)
          along[static_cast<std::size_t>((g * 256 + i) * kDepth + place)] = static_cast<std::uint8_t>(i);
      }
      GmmArgs args;
      args.lhs = Operand{rows(lhs)}.transposed();
      args.groups = Groups::from_sizes(std::span(sizes));
      args.out = matrix(static_cast<void*>(out_.data()), Format::f32, 256, 256);
      const std::string what = fmt::format("{} rows, place {}", rows_each, place);
      args.rhs = Operand{matrices(static_cast<const void*>(along.data()), rhs, groups, 256, kDepth)}.transposed();
      expect_on_every_kernel(args, gmm, what + ", contiguous columns");
      args.rhs = matrices(static_cast<const void*>(across.data()), rhs, groups, kDepth, 256);
      expect_on_every_kernel(args, gmm, what + ", contiguous rows");
      expect_on_every_kernel(args, gmm_of_packed_weights, what + ", packed");
      if (HasFailure()) return;
    }
  }
  report("in few rows");
}

}  // namespace
}  // namespace ragdot::suites
