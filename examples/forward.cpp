// One gmm: tokens sorted by expert times each expert's FP8 weights, scaled per block, checked against the exact result.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "ragdot/ragdot.hpp"

using namespace ragdot;

int main() {
  const std::int64_t m = 6, k = 256, n = 128, g = 3;  // 6 tokens, 3 experts: 3, 0 and 2 tokens; the last token has no expert
  const std::vector<std::int32_t> sizes = {3, 0, 2};
  std::vector<std::uint8_t> x(m * k), w(g * k * n);  // e4m3 codes
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint8_t>(0x30 + i % 16);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<std::uint8_t>((i % 3 == 0 ? 0xa0 : 0x20) + i % 16);
  const std::vector<float> x_scales(m * 2, 0.5F), w_scales(g * 2 * 1, 0.25F);  // 1 x 128 and 128 x 128 elements share one
  std::vector<float> y(m * n);

  GmmArgs args;
  args.lhs = {matrix(x.data(), Format::e4m3, m, k), {matrix(x_scales.data(), Format::f32, m, 2), 1, 128}};
  args.rhs = {matrices(w.data(), Format::e4m3, g, k, n), {matrices(w_scales.data(), Format::f32, g, 2, 1), 128, 128}};
  args.groups = Groups::from_sizes(sizes);
  args.out = matrix(y.data(), Format::f32, m, n);
  if (const Status status = gmm(args); !status.ok()) {
    std::printf("%s\n", status.message().c_str());
    return 1;
  }

  std::vector<double> exact(y.size()), bound(y.size());
  if (const Status status = exact_and_bound(args, exact, bound); !status.ok()) {
    std::printf("%s\n", status.message().c_str());
    return 1;
  }
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (!(std::abs(y[i] - exact[i]) <= bound[i])) return 1;
  }
  std::printf("y[0][0] = %.7g, exact %.7g, bound %.2g\n", y[0], exact[0], bound[0]);
  return 0;
}
