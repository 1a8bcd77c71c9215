// Lines, pitches and alignment that the kernels ask for.
#include "cuda/layout.hpp"

namespace ragdot::cuda {

Status check_dimensions(const char* op, std::initializer_list<Dimension> dimensions) {
  for (const Dimension& d : dimensions) {
    if (d.extent >= kDimensionLimit) {
      return not_offered("{}: {} is {}; the GPU takes dimensions below 2^30, split the call", op, d.what, d.extent);
    }
  }
  return {};
}

bool contiguous(const ConstView& v, Along along) {
  return along == Along::rows ? v.rows <= 1 || v.row_stride == 1 : v.cols <= 1 || v.col_stride == 1;
}

Lines lines_of(const ConstView& v, Along along) {
  const std::int64_t bytes = element_bytes(v.format);
  Lines lines;
  lines.data = v.data;
  lines.format = v.format;
  lines.lines = along == Along::rows ? v.cols : v.rows;
  lines.length = along == Along::rows ? v.rows : v.cols;
  const bool stepped = lines.lines > 1 && lines.length > 0;
  const std::int64_t stride = along == Along::rows ? v.col_stride : v.row_stride;
  lines.pitch_bytes = stepped ? stride * bytes : round_up(std::max<std::int64_t>(lines.length, 1) * bytes, 16);
  lines.batch = v.batch;
  const bool batched = v.batch > 1 && lines.lines > 0 && lines.length > 0;
  lines.batch_pitch_bytes = batched ? v.batch_stride * bytes : std::max<std::int64_t>(lines.lines, 1) * lines.pitch_bytes;
  return lines;
}

Status check_pitches(const NamedView& n, const Lines& lines) {
  constexpr std::int64_t kLongest = std::int64_t{1} << 40;
  const auto legal = [](std::int64_t pitch) { return pitch % 16 == 0 && pitch < kLongest; };
  if (!legal(lines.pitch_bytes)) {
    return not_offered(
        "{}: {} of {} has {} contiguous elements and the next line of them {} bytes on; on the GPU that is a multiple of 16 "
        "below "
        "2^40, pad the lines",
        n.op, n.what, ragdot::name(lines.format), lines.length, lines.pitch_bytes);
  }
  if (lines.batch > 1 && !legal(lines.batch_pitch_bytes)) {
    return not_offered(
        "{}: {} of {} has {} matrices, each {} bytes from the next; on the GPU that is a multiple of 16 below 2^40, pad the "
        "matrices",
        n.op, n.what, ragdot::name(lines.format), lines.batch, lines.batch_pitch_bytes);
  }
  return {};
}

Status check_alignment(const char* op, std::initializer_list<Address> addresses) {
  for (const Address& a : addresses) {
    if (reinterpret_cast<std::uintptr_t>(a.data) % static_cast<std::uintptr_t>(a.bytes) == 0) continue;
    return not_offered("{}: the address of {} is {}; on the GPU it is a multiple of {}, copy the data to such a one", op,
                       a.what, fmt::ptr(a.data), a.bytes);
  }
  return {};
}

GroupNumbers numbers_of(const Groups& groups, std::int64_t first, std::int64_t local) {
  GroupNumbers numbers;
  numbers.kind = static_cast<std::int32_t>(groups.kind);
  numbers.index_bits = groups.index == Groups::Index::i64 ? 64 : 32;
  numbers.data = groups.data;
  numbers.sizes = groups.kind == Groups::Kind::starts_and_sizes ? groups.sizes : nullptr;
  numbers.count = static_cast<std::int32_t>(groups.count);
  numbers.first = static_cast<std::int32_t>(first);
  numbers.local = static_cast<std::int32_t>(local);
  return numbers;
}

Status check_scale_rows(const NamedView& n, std::int64_t rows, const Groups& groups, std::int64_t block) {
  const std::int64_t needed = most_scale_rows(rows, groups.count, block);
  if (n.view.rows >= needed) return {};
  return {Code::invalid_argument,
          fmt::format(
              "{}: {} have {} rows; {} groups over {} rows need up to {} (block {}), and group numbers in device memory are "
              "not read for the check: give {} rows or more",
              n.op, n.what, n.view.rows, groups.count, rows, needed, block, needed)};
}

}  // namespace ragdot::cuda
