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

  std::vector<std::uint8_t> operand_ = std::vector<std::uint8_t>(kDepth * 256);
  std::vector<float> ones_ = std::vector<float>(kDepth / 32, 1.0F);
  std::vector<float> out_ = std::vector<float>(256 * 256);
  std::vector<std::int64_t> one_row_ = {256};
  std::vector<std::int64_t> one_column_ = {kDepth};
};

INSTANTIATE_TEST_SUITE_P(Formats, EveryCodePair, ::testing::ValuesIn(kCodePairs), pair_name);

TEST_P(EveryCodePair, AtEveryPlaceOnEveryKernel) {
  const auto [lhs, rhs] = GetParam();
  std::int64_t products = 0;
  std::set<std::string> names;
  const auto on_every_kernel = [&](const auto& args, auto call, const std::string& what) {
    for (const std::string& kernel : testing::kernels_for(args)) {
      Options options;
      options.kernel = kernel;
      std::fill(out_.begin(), out_.end(), -77.0F);
      const Status status = call(args, options);
      ASSERT_TRUE(status.ok()) << kernel << ": " << status.message();
      expect_products(lhs, rhs, out_, kernel + ": " + what);
      products += 65536;
      names.insert(kernel);
    }
  };
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
      on_every_kernel(forward, gmm, "gmm " + what);
      TgmmArgs gradient;
      gradient.lhs = l;
      gradient.rhs = rows(rhs);
      gradient.groups = Groups::from_sizes(std::span(one_column_));
      gradient.out = matrices(static_cast<void*>(out_.data()), Format::f32, 1, 256, 256);
      on_every_kernel(gradient, tgmm, "tgmm " + what);
      if (HasFailure()) return;
    }
  }
  fmt::print("{} x {}: {} products of two codes on {}\n", name(lhs), name(rhs), products, fmt::join(names, ", "));
}

}  // namespace
}  // namespace ragdot::suites
