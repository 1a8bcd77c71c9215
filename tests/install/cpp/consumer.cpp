// A C++ program on an installed ragdot: one small gmm with FP8 and scales, its numbers checked.
#include <array>
#include <cstdint>
#include <cstdio>
#include <ragdot/ragdot.hpp>

int main() {
  using ragdot::Format;
  const std::array<std::uint8_t, 6> lhs = {0x38, 0x40, 0x44, 0x48, 0x4a, 0x4c};        // 1 2, 3 4, 5 6 in e4m3
  const std::array<std::uint8_t, 8> rhs = {0x38, 0, 0, 0x38, 0x38, 0x40, 0x48, 0x50};  // 1 0 0 1, 1 2 4 8
  const std::array<float, 3> lhs_scales = {1, 0.5F, 2};
  const std::array<float, 2> rhs_scales = {1, 10};
  const std::array<std::int32_t, 2> sizes = {1, 2};
  const std::array<float, 6> expected = {1, 2, 95, 190, 580, 1160};
  std::array<float, 6> out{};
  ragdot::GmmArgs args;
  args.lhs = {ragdot::matrix(lhs.data(), Format::e4m3, 3, 2),
              {ragdot::matrix(lhs_scales.data(), Format::f32, 3, 1), 1, ragdot::kWholeAxis}};
  args.rhs = {ragdot::matrices(rhs.data(), Format::e4m3, 2, 2, 2), {ragdot::matrices(rhs_scales.data(), Format::f32, 2, 1, 1)}};
  args.groups = ragdot::Groups::from_sizes(sizes);
  args.out = ragdot::matrix(out.data(), Format::f32, 3, 2);
  if (const ragdot::Status status = ragdot::gmm(args); !status.ok()) {
    std::printf("%s\n", status.message().c_str());
    return 1;
  }
  if (out != expected) {
    std::printf("wrong numbers: %g %g %g %g %g %g\n", out[0], out[1], out[2], out[3], out[4], out[5]);
    return 1;
  }
  std::printf("C++ consumer of ragdot %s: ok\n", ragdot::version());
  return 0;
}
