// One loop for each input format, so that contiguous rows convert at memory speed.
#include "cpu/quantize/source.hpp"

#include <algorithm>

#include "format/memory.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {
namespace {

template <class Convert>
void convert_row(const std::byte* from, std::int64_t step, std::int64_t count, float* out, Convert convert) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = convert(from + i * step);
}

void load_values(const ConstView& v, const SourceRow& at, float* out) {
  const std::int64_t bytes = element_bytes(v.format);
  const std::byte* from = static_cast<const std::byte*>(v.data) + (at.matrix * v.batch_stride + at.row * v.row_stride) * bytes;
  const std::int64_t step = v.col_stride * bytes;
  switch (v.format) {
    case Format::f32: return convert_row(from, step, v.cols, out, [](const std::byte* p) { return format::load<float>(p); });
    case Format::bf16:
      return convert_row(from, step, v.cols, out,
                         [](const std::byte* p) { return format::bf16_to_f32(format::load<std::uint16_t>(p)); });
    case Format::e4m3:
      return convert_row(from, step, v.cols, out,
                         [](const std::byte* p) { return format::kE4m3ToF32[format::load<std::uint8_t>(p)]; });
    default: return convert_row(from, step, v.cols, out, [&](const std::byte* p) { return format::load_f32(p, v.format); });
  }
}

float scale_at(const Scales& scales, std::int64_t matrix, std::int64_t row, std::int64_t col) {
  const ConstView& v = scales.view;
  const auto* at = static_cast<const std::byte*>(v.data) +
                   (matrix * v.batch_stride + row * v.row_stride + col * v.col_stride) * element_bytes(v.format);
  const float scale = format::load_f32(at, v.format);
  const bool subnormal = (std::bit_cast<std::uint32_t>(scale) & format::kF32Exponent) == 0;
  return subnormal && v.format != Format::e8m0 ? 0.0F : scale;
}

}  // namespace

void load_row(const Operand& input, const SourceRow& at, float* out) {
  load_values(input.values, at, out);
  const Scales& s = input.scales;
  if (!s.present()) return;
  const schedule::AxisGrid grid = s.origin == ScaleOrigin::per_group ? schedule::group_grid(s.block_rows, at.group_scale_row)
                                                                     : schedule::global_grid(s.block_rows, at.group_begin);
  const std::int64_t scale_row = grid.index(at.row - at.group_begin);
  const schedule::AxisGrid cols{s.block_cols, 0, 0};
  for (std::int64_t c = 0; c < input.values.cols;) {
    const float scale = scale_at(s, at.matrix, scale_row, cols.index(c));
    for (const std::int64_t end = std::min(cols.next_cut(c), input.values.cols); c < end; ++c) out[c] *= scale;
  }
}

}  // namespace ragdot::cpu
