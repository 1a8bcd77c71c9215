// Gathers scales run by run: one load for each scale, however many elements share it.
#include "cpu/scale_row.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ragdot::cpu {
namespace {

/// A scale as the f32 it stands for. The environment reads subnormals as zero.
float scale_value(const std::byte* at, Format format) {
  std::uint32_t bits = 0;
  if (format == Format::f32) {
    std::memcpy(&bits, at, sizeof bits);
  } else if (format == Format::bf16) {
    std::uint16_t half = 0;
    std::memcpy(&half, at, sizeof half);
    bits = static_cast<std::uint32_t>(half) << 16;
  } else {
    const auto code = std::to_integer<std::uint32_t>(*at);
    bits = code == 255 && !fault::on(fault::Id::i8_scale_nan_is_inf) ? 0x7fc00000U : code << 23;
  }
  return std::bit_cast<float>(bits);
}

}  // namespace

void gather_scales(const Side& side, std::int64_t outer, std::int64_t count, std::int64_t depth, float* scales) {
  if (!side.scaled()) {
    std::fill(scales, scales + count, 1.0F);
    return;
  }
  const std::byte* at = side.scale(outer, depth);
  if (side.outer_grid.block == 1 && side.scale_outer_stride == 1 && side.scale_format == Format::f32) {
    std::memcpy(scales, at, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  const std::int64_t step = side.scale_outer_stride * element_bytes(side.scale_format);
  std::int64_t run = side.outer_grid.next_cut(outer) - outer;
  if (fault::on(fault::Id::scale_run_from_block_start)) run = side.outer_grid.block;
  for (std::int64_t i = 0; i < count; at += step, run = side.outer_grid.block) {
    const std::int64_t end = run < count - i ? i + run : count;
    std::fill(scales + i, scales + end, scale_value(at, side.scale_format));
    i = end;
  }
}

}  // namespace ragdot::cpu
