// A small legal gmm and tgmm to break in one place at a time, with buffers that notice a write.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "ragdot/ragdot.hpp"

namespace ragdot::api {

/// Memory of the calls: larger than any view in it, so that a wrong view reads nothing foreign.
struct Buffers {
  static constexpr std::size_t kBytes = 4096;
  alignas(8) std::array<std::byte, kBytes> lhs{};
  alignas(8) std::array<std::byte, kBytes> rhs{};
  std::array<float, 256> lhs_scales{};
  std::array<float, 256> rhs_scales{};
  std::array<float, 256> bias{};
  std::array<std::int32_t, 8> sizes = {2, 0, 4};
  std::array<std::byte, kBytes> out{};
  static constexpr std::byte kUntouched{0xa5};

  Buffers() {
    lhs_scales.fill(1);
    rhs_scales.fill(1);
    out.fill(kUntouched);
  }
  [[nodiscard]] bool untouched() const {
    return std::all_of(out.begin(), out.end(), [](std::byte b) { return b == kUntouched; });
  }
};

/// lhs [6, 8] block 1x4, rhs [3, 8, 4] block 4x2, groups of 2, 0 and 4 rows, out [6, 4].
struct GmmCall {
  Buffers memory;
  GmmArgs args;
  Options options;

  GmmCall() {
    const Buffers& m = memory;
    args.lhs = matrix(m.lhs.data(), Format::e4m3, 6, 8);
    args.lhs.scales = {matrix(m.lhs_scales.data(), Format::f32, 6, 2), 1, 4};
    args.rhs = matrices(m.rhs.data(), Format::e4m3, 3, 8, 4);
    args.rhs.scales = {matrices(m.rhs_scales.data(), Format::f32, 3, 2, 2), 4, 2};
    args.groups = Groups::from_sizes(std::span<const std::int32_t>(m.sizes.data(), 3));
    args.out = matrix(memory.out.data(), Format::f32, 6, 4);
    args.bias = matrix(m.bias.data(), Format::f32, 3, 4);
  }
  Status call() { return gmm(args, options); }
};

/// lhs [6, 8] and rhs [6, 4] with per_group blocks of 2x1, groups of 2, 0 and 4 rows, out [3, 8, 4].
struct TgmmCall {
  Buffers memory;
  TgmmArgs args;
  Options options;

  TgmmCall() {
    const Buffers& m = memory;
    args.lhs = matrix(m.lhs.data(), Format::e4m3, 6, 8);
    args.lhs.scales = {matrix(m.lhs_scales.data(), Format::f32, 3, 8), 2, 1, ScaleOrigin::per_group};
    args.rhs = matrix(m.rhs.data(), Format::e4m3, 6, 4);
    args.rhs.scales = {matrix(m.rhs_scales.data(), Format::f32, 3, 4), 2, 1, ScaleOrigin::per_group};
    args.groups = Groups::from_sizes(std::span<const std::int32_t>(m.sizes.data(), 3));
    args.out = matrices(memory.out.data(), Format::f32, 3, 8, 4);
  }
  Status call() { return tgmm(args, options); }
};

/// One way to break a call, and the sentence it gets.
template <class Call>
struct BadCall {
  const char* name;
  std::function<void(Call&)> broken;
  std::string message;
  Code code = Code::invalid_argument;

  friend std::ostream& operator<<(std::ostream& out, const BadCall& bad) { return out << bad.name; }
};

}  // namespace ragdot::api
