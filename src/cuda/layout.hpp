// What the rules of products and quantisers share: lines of contiguous elements, pitches, dimensions, group numbers.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <utility>

#include "cuda/launch.hpp"
#include "ragdot/groups.hpp"
#include "ragdot/status.hpp"
#include "ragdot/view.hpp"

namespace ragdot::cuda {

template <class... T>
[[nodiscard]] Status not_offered(fmt::format_string<T...> text, T&&... values) {
  return {Code::unsupported, fmt::format(text, std::forward<T>(values)...)};
}

/// A view and its names in sentences: "gmm", "rhs".
struct NamedView {
  const char* op;
  const char* what;
  ConstView view;
};

struct Dimension {
  const char* what;
  std::int64_t extent;
};
/// The kernels count in 32 bits.
[[nodiscard]] Status check_dimensions(const char* op, std::initializer_list<Dimension> dimensions);

/// Whether elements follow each other along the rows or the columns of a view. An axis with one element may have any stride.
enum class Along : std::int32_t { rows, cols };
[[nodiscard]] bool contiguous(const ConstView& view, Along along);

/// A contiguous view as lines along an axis. The pitch of a line or a matrix that is alone is made up: a tensor map needs a
/// legal one.
[[nodiscard]] Lines lines_of(const ConstView& view, Along along);

/// Pitches are what a tensor map takes: multiples of 16 bytes below 2^40.
[[nodiscard]] Status check_pitches(const NamedView& named, const Lines& lines);

/// Address is a multiple of `bytes`.
struct Address {
  const char* what;
  const void* data;
  std::int64_t bytes;
};
[[nodiscard]] Status check_alignment(const char* op, std::initializer_list<Address> addresses);

[[nodiscard]] GroupNumbers numbers_of(const Groups& groups, std::int64_t first, std::int64_t local);

/// Whether the groups of this form touch, from row 0 on: then blocks of one row are the same with either origin.
[[nodiscard]] inline bool touches(const Groups& groups) {
  return groups.kind == Groups::Kind::sizes || groups.kind == Groups::Kind::ends;
}

/// The call cannot look at group numbers, so there are scale rows for the worst of them.
[[nodiscard]] Status check_scale_rows(const NamedView& scales, std::int64_t rows, const Groups& groups, std::int64_t block);

[[nodiscard]] constexpr std::int64_t round_up(std::int64_t value, std::int64_t step) {
  return (value + step - 1) / step * step;
}

/// A stride that is used, 0 along an axis with at most one element.
[[nodiscard]] constexpr std::int64_t used_stride(std::int64_t extent, std::int64_t stride) { return extent > 1 ? stride : 0; }

}  // namespace ragdot::cuda
