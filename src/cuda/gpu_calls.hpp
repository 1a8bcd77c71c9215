// Legal calls of the GPU to break in one place at a time. No memory is behind their pointers: nothing follows them.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "ragdot/ragdot.hpp"

namespace ragdot::cuda {

/// Memory that begins at number * 2^32 and is never touched.
inline void* fake_memory(std::uintptr_t number) { return reinterpret_cast<void*>(number << 32U); }

/// lhs [300, 200] block 1x128; rhs stored [3, 100, 200] block 128x128; 3 of 4 groups, from group 1 on.
struct GpuGmm {
  static constexpr const char* kOp = "gmm";
  GmmArgs args;

  GpuGmm() {
    args.lhs = matrix(static_cast<const void*>(fake_memory(1)), Format::e4m3, 300, 200, 208);
    args.lhs.scales = {matrix(static_cast<const void*>(fake_memory(2)), Format::f32, 2, 300).transposed(), 1, 128};
    args.rhs = ConstView{fake_memory(3), Format::e4m3, 3, 200, 100, 100 * 208, 1, 208};
    args.rhs.scales = {matrices(static_cast<const void*>(fake_memory(4)), Format::f32, 3, 2, 1), 128, 128};
    args.groups = {Groups::Kind::sizes, Groups::Index::i32, fake_memory(5), nullptr, 4};
    args.first_group = 1;
    args.out = matrix(fake_memory(6), Format::bf16, 300, 100, 104);
  }
  static GpuGmm bf16() {
    GpuGmm call;
    call.args.lhs = matrix(static_cast<const void*>(fake_memory(1)), Format::bf16, 300, 200);
    call.args.rhs = matrices(static_cast<const void*>(fake_memory(3)), Format::bf16, 3, 200, 104);
    call.args.out = matrix(fake_memory(6), Format::f32, 300, 104);
    return call;
  }
};

/// lhs stored [200, 300], rhs stored [100, 300], block 128x1 in 4 groups; out [4, 200, 100].
struct GpuTgmm {
  static constexpr const char* kOp = "tgmm";
  TgmmArgs args;

  GpuTgmm() {
    args.lhs = ConstView{fake_memory(1), Format::e5m2, 1, 300, 200, 0, 1, 304};
    args.lhs.scales = {matrix(static_cast<const void*>(fake_memory(2)), Format::f32, 6, 200), 128, 1, ScaleOrigin::per_group};
    args.rhs = ConstView{fake_memory(3), Format::e4m3, 1, 300, 100, 0, 1, 304};
    args.rhs.scales = {matrix(static_cast<const void*>(fake_memory(4)), Format::f32, 6, 100), 128, 1, ScaleOrigin::per_group};
    args.groups = {Groups::Kind::starts_and_sizes, Groups::Index::i64, fake_memory(5), fake_memory(7), 4};
    args.out = matrices(fake_memory(6), Format::f32, 4, 200, 100);
  }
};

/// bf16 input [300, 200] in 4 groups to a row-wise copy and a transposed column-wise one.
struct GpuQuantizeBoth {
  static constexpr const char* kOp = "quantize_both";
  QuantizeBothArgs args;

  GpuQuantizeBoth() {
    args.input = matrix(static_cast<const void*>(fake_memory(1)), Format::bf16, 300, 200);
    args.groups = Groups{Groups::Kind::ends, Groups::Index::i32, fake_memory(2), nullptr, 4};
    args.row_wise = {matrix(fake_memory(3), Format::e4m3, 300, 200, 208),
                     {matrix(fake_memory(4), Format::f32, 300, 2), 1, 128},
                     Recipe::absmax};
    args.col_wise = {View{fake_memory(5), Format::e5m2, 1, 300, 200, 0, 1, 304},
                     {matrix(fake_memory(6), Format::f32, 6, 200), 128, 1},
                     Recipe::pow2};
  }
};

/// One way to break a call, and the sentence it gets.
template <class Call>
struct BadCall {
  const char* name;
  std::function<void(Call&)> broken;
  std::string message;
  Code code = Code::unsupported;

  friend std::ostream& operator<<(std::ostream& out, const BadCall& bad) { return out << bad.name; }
};

}  // namespace ragdot::cuda
