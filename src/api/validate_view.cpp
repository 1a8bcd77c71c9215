// Rules of one view: format, dimensions, strides, data.
#include "api/validate_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <limits>

#include "format/fault.hpp"

namespace ragdot::api {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

struct Axis {
  const char* name;
  std::int64_t extent;
  std::int64_t stride;
};

std::array<Axis, 3> axes_of(const ConstView& v) {
  return {{{"batch", v.batch, v.batch_stride}, {"row", v.rows, v.row_stride}, {"column", v.cols, v.col_stride}}};
}

std::string strides_text(const ConstView& v, Rank rank) {
  return rank == Rank::batch ? fmt::format("[{}, {}, {}]", v.batch_stride, v.row_stride, v.col_stride)
                             : fmt::format("[{}, {}]", v.row_stride, v.col_stride);
}

/// a * b of numbers that are not negative; the largest int64 where it does not fit.
std::int64_t product(std::int64_t a, std::int64_t b) { return b != 0 && a > kMax / b ? kMax : a * b; }

bool empty(const ConstView& v) { return v.batch == 0 || v.rows == 0 || v.cols == 0; }

/// An upper bound of the elements that indices and strides can reach, axes that are not stepped along included: whatever the
/// library multiplies fits as well. The largest int64 where it does not fit.
std::int64_t span(const ConstView& v) {
  std::int64_t sum = 1;
  for (const Axis& axis : axes_of(v)) {
    const std::int64_t size = axis.stride == std::numeric_limits<std::int64_t>::min() ? kMax : std::abs(axis.stride);
    const std::int64_t step = product(std::max<std::int64_t>(axis.extent, 1), size);
    sum = step > kMax - sum ? kMax : sum + step;
  }
  return sum;
}

/// From the first to behind the last byte of a view that check_view accepts and that is not empty.
std::int64_t reach_bytes(const ConstView& v) {
  std::int64_t last = 0;
  for (const Axis& axis : axes_of(v)) last += axis.extent == 1 ? 0 : (axis.extent - 1) * axis.stride;
  return (last + 1) * element_bytes(v.format);
}

Status check_strides(const Subject& s, const ConstView& v, Rank rank) {
  std::array<Axis, 3> axes = axes_of(v);
  // Sorted, each axis has to step over everything within it: then no two elements meet.
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  std::int64_t needed = 1;
  for (const Axis& axis : axes) {
    if (axis.extent == 1) continue;
    if (axis.stride < 0) {
      return {Code::invalid_argument,
              fmt::format("{}: {} {} with strides {}: strides are 0 or more; copy what is walked backwards", s.op, s.what,
                          shape_text(v, rank), strides_text(v, rank))};
    }
    if (axis.stride < needed - (fault::on(fault::Id::stride_one_short_accepted) ? 1 : 0)) {
      return {Code::invalid_argument,
              fmt::format("{}: {} {} with strides {}: the {} stride must be at least {}, or elements overlap", s.op, s.what,
                          shape_text(v, rank), strides_text(v, rank), axis.name, needed)};
    }
    needed = product(axis.stride, axis.extent);
  }
  return {};
}

}  // namespace

std::string shape_text(const ConstView& v, Rank rank) {
  return rank == Rank::batch ? fmt::format("[{}, {}, {}]", v.batch, v.rows, v.cols) : fmt::format("[{}, {}]", v.rows, v.cols);
}

Status check_view(const Subject& s, const ConstView& v, Rank rank) {
  const auto number = static_cast<std::int32_t>(v.format);
  if (number < 0 || number > static_cast<std::int32_t>(Format::e8m0)) {
    return {Code::invalid_argument,
            fmt::format("{}: {}: format is {}; the formats are 0 (none) to 7 (e8m0)", s.op, s.what, number)};
  }
  if (!v.present()) return {Code::invalid_argument, fmt::format("{}: {} is absent (format none); give it", s.op, s.what)};
  if (v.batch < 0 || v.rows < 0 || v.cols < 0) {
    return {Code::invalid_argument, fmt::format("{}: {} {}: no dimension may be negative", s.op, s.what,
                                                shape_text(v, v.batch < 0 ? Rank::batch : rank))};
  }
  if (rank == Rank::matrix && v.batch != 1) {
    return {Code::invalid_argument,
            fmt::format("{}: {}: batch is {}; a single matrix is needed, with batch 1", s.op, s.what, v.batch)};
  }
  // An extent of 0 counts as 1 here: products of the other two appear in sizes elsewhere.
  std::int64_t bytes = element_bytes(v.format);
  for (const Axis& axis : axes_of(v)) bytes = product(bytes, std::max<std::int64_t>(axis.extent, 1));
  if (bytes == kMax) {
    return {Code::invalid_argument, fmt::format("{}: {} {} of {}: 2^63 bytes or more; give smaller dimensions", s.op, s.what,
                                                shape_text(v, rank), name(v.format))};
  }
  if (product(span(v), 2 * element_bytes(v.format)) == kMax) {
    return {Code::invalid_argument, fmt::format("{}: {} {} with strides {}: 2^62 bytes or more apart; give smaller strides",
                                                s.op, s.what, shape_text(v, rank), strides_text(v, rank))};
  }
  return empty(v) ? Status() : check_strides(s, v, rank);
}

Status check_contiguous(const Subject& s, const ConstView& v, Rank rank) {
  if (v.rows <= 1 || v.cols <= 1 || v.row_stride == 1 || v.col_stride == 1) return {};
  return {Code::invalid_argument,
          fmt::format("{}: {} {} has strides {}; the row or the column stride must be 1, copy it into a dense matrix", s.op,
                      s.what, shape_text(v, rank), strides_text(v, rank))};
}

Status check_data(const Subject& s, const ConstView& v, Rank rank) {
  if (!v.present() || empty(v)) return {};
  if (v.data == nullptr) {
    return {Code::invalid_argument, fmt::format("{}: {} {}: data is null; give it", s.op, s.what, shape_text(v, rank))};
  }
  const auto address = reinterpret_cast<std::uintptr_t>(v.data);
  if (address > static_cast<std::uintptr_t>(kMax - reach_bytes(v))) {
    return {Code::invalid_argument, fmt::format("{}: {} {} with strides {}: beyond the address space; give the true shape",
                                                s.op, s.what, shape_text(v, rank), strides_text(v, rank))};
  }
  return {};
}

Status check_choice(const Subject& s, std::int32_t choice, std::int32_t last, const char* names) {
  if (choice >= 0 && choice <= last) return {};
  return {Code::invalid_argument, fmt::format("{}: {} is {}; it must be {}", s.op, s.what, choice, names)};
}

Status check_execution(const char* op, const Options& options) {
  if (options.threads < 0) {
    return {Code::invalid_argument, fmt::format("{}: threads is {}; it must be 1 or more, or 0 for all", op, options.threads)};
  }
  return check_choice({op, "strictness"}, static_cast<std::int32_t>(options.strictness), 1, "0 (ieee) or 1 (strict)");
}

Status check_float_out(const char* op, const View& out) {
  if (out.format == Format::f32 || out.format == Format::bf16 || out.format == Format::f16) return {};
  return {Code::invalid_argument, fmt::format("{}: out is {}; it must be f32, bf16 or f16", op, name(out.format))};
}

}  // namespace ragdot::api
