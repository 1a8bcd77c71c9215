// Compares two views run by run: each run of one is looked up in the other's strides with a few divisions.
#include "api/overlap.hpp"
#include "format/fault.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace ragdot::api {
namespace {

struct Axis {
  std::int64_t stride = 0;  // bytes
  std::int64_t extent = 1;
};

/// A view as runs of contiguous bytes that repeat along at most three axes, widest stride first. Each axis steps over all that
/// lies within it, so addresses ascend in the order of indices.
struct Runs {
  std::int64_t first = 0;  // address
  std::int64_t bytes = 0;  // of one run
  std::array<Axis, 3> axes;

  [[nodiscard]] std::int64_t count() const { return axes[0].extent * axes[1].extent * axes[2].extent; }
  /// From the first byte to behind the last one.
  [[nodiscard]] std::int64_t reach() const {
    std::int64_t end = bytes;
    for (const Axis& axis : axes) end += (axis.extent - 1) * axis.stride;
    return end;
  }
};

Runs runs_of(const ConstView& view) {
  Runs runs;
  runs.first = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(view.data));
  runs.bytes = element_bytes(view.format);
  std::array<Axis, 3> axes = {Axis{view.batch_stride, view.batch}, Axis{view.row_stride, view.rows},
                              Axis{view.col_stride, view.cols}};
  for (Axis& axis : axes) axis.stride = axis.extent == 1 ? 0 : axis.stride * runs.bytes;
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  std::size_t kept = runs.axes.size();
  for (const Axis& axis : axes) {
    if (axis.extent == 1) continue;
    if (kept == runs.axes.size() && axis.stride == runs.bytes) {
      runs.bytes *= axis.extent;  // what touches is one run
    } else {
      runs.axes[--kept] = axis;
    }
  }
  return runs;
}

/// Whether a run of `runs` meets bytes [begin, end), counted from its first byte.
bool meets(const Runs& runs, std::int64_t begin, std::int64_t end) {
  if (end <= 0) return false;
  // The last run that starts before `end`: as in a number, the widest digit first.
  std::int64_t rest = end - 1;
  std::int64_t start = 0;
  for (const Axis& axis : runs.axes) {
    if (axis.extent == 1) continue;
    const std::int64_t index = std::min(rest / axis.stride, axis.extent - 1);
    start += index * axis.stride;
    rest -= index * axis.stride;
  }
  return start + runs.bytes > begin + (fault::on(fault::Id::overlap_of_one_byte_missed) ? 1 : 0);
}

}  // namespace

bool overlaps(const ConstView& a, const ConstView& b) {
  const auto empty = [](const ConstView& v) { return !v.present() || v.batch == 0 || v.rows == 0 || v.cols == 0; };
  if (empty(a) || empty(b)) return false;
  Runs fewer = runs_of(a);
  Runs more = runs_of(b);
  if (fewer.first >= more.first + more.reach() || more.first >= fewer.first + fewer.reach()) return false;
  if (fewer.count() > more.count()) std::swap(fewer, more);
  const std::int64_t origin = fewer.first - more.first;
  for (std::int64_t i = 0; i < fewer.axes[0].extent; ++i) {
    for (std::int64_t j = 0; j < fewer.axes[1].extent; ++j) {
      for (std::int64_t k = 0; k < fewer.axes[2].extent; ++k) {
        const std::int64_t begin = origin + i * fewer.axes[0].stride + j * fewer.axes[1].stride + k * fewer.axes[2].stride;
        if (meets(more, begin, begin + fewer.bytes)) return true;
      }
    }
  }
  return false;
}

}  // namespace ragdot::api
