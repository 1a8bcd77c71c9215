// Reads group metadata in any of its four forms, number by number, and refuses what is no list of ascending row ranges.
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <limits>

#include "api/overlap.hpp"
#include "api/validate.hpp"
#include "api/validate_view.hpp"
#include "format/fault.hpp"

namespace ragdot::api {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

std::int64_t number_at(const void* data, Groups::Index index, std::int64_t i) {
  if (index == Groups::Index::i64) {
    std::int64_t value = 0;
    std::memcpy(&value, static_cast<const std::byte*>(data) + i * static_cast<std::int64_t>(sizeof value), sizeof value);
    return value;
  }
  std::int32_t value = 0;
  std::memcpy(&value, static_cast<const std::byte*>(data) + i * static_cast<std::int64_t>(sizeof value), sizeof value);
  return value;
}

Status refused(const char* op, const std::string& why) { return {Code::invalid_argument, fmt::format("{}: {}", op, why)}; }

Status need_data(const char* op, const char* what, const Groups& groups, const void* data, std::int64_t count) {
  if (data != nullptr || count == 0) return check_data({op, what}, index_view(groups, data, count), Rank::matrix);
  return refused(op, fmt::format("{} are null; {} numbers are needed", what, count));
}

Status negative_size(const char* op, std::int64_t g, std::int64_t size) {
  return refused(op, fmt::format("group size {} is {}; sizes are 0 or more", g, size));
}

Status read_sizes(const char* op, const Groups& groups, std::int64_t rows, std::span<RowRange> out) {
  std::int64_t sum = 0;
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const std::int64_t size = number_at(groups.data, groups.index, g);
    if (size < 0 && !fault::on(fault::Id::negative_size_accepted)) return negative_size(op, g, size);
    if (size > kMax - sum) {
      return refused(op, fmt::format("group sizes pass 2^63 - 1 at size {}, which is {}; there are {} rows", g, size, rows));
    }
    out[static_cast<std::size_t>(g)] = {sum, sum + size};
    sum += size;
  }
  if (sum > rows + (fault::on(fault::Id::sum_one_above_rows_accepted) ? 1 : 0))
    return refused(op, fmt::format("group sizes sum to {}; there are {} rows, and the sum may be no larger", sum, rows));
  return {};
}

/// How many numbers `data` has.
std::int64_t numbers_of(const Groups& groups) { return groups.count + (groups.kind == Groups::Kind::offsets ? 1 : 0); }

/// ends: `count` numbers that follow an unwritten 0. offsets: one more, the first start is written.
Status read_ascending(const char* op, const Groups& groups, std::int64_t rows, std::span<RowRange> out) {
  const bool has_start = groups.kind == Groups::Kind::offsets;
  const char* one = has_start ? "offset" : "end";
  const std::int64_t count = numbers_of(groups);
  std::int64_t previous = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t value = number_at(groups.data, groups.index, i);
    if (i == 0 && value < 0) return refused(op, fmt::format("group {} 0 is {}; {}s are 0 or more", one, value, one));
    if (value < previous && !fault::on(fault::Id::falling_ends_accepted)) {
      return refused(op, fmt::format("group {} {} is {}, below the {} before it; {}s ascend, as running sums of sizes do", one,
                                     i, value, previous, one));
    }
    if (value > rows) return refused(op, fmt::format("group {} {} is {}; there are {} rows", one, i, value, rows));
    const std::int64_t g = has_start ? i - 1 : i;
    if (g >= 0) out[static_cast<std::size_t>(g)] = {previous, value};
    previous = value;
  }
  return {};
}

Status read_starts_and_sizes(const char* op, const Groups& groups, std::int64_t rows, std::span<RowRange> out) {
  std::int64_t previous = 0;
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const std::int64_t start = number_at(groups.data, groups.index, g);
    const std::int64_t size = number_at(groups.sizes, groups.index, g);
    if (size < 0) return negative_size(op, g, size);
    if (start < 0) return refused(op, fmt::format("group start {} is {}; starts are 0 or more", g, start));
    if (start < previous) {
      return refused(op, fmt::format("group {} starts at row {}, before group {} ends at row {}; groups ascend and do not "
                                     "overlap",
                                     g, start, g - 1, previous));
    }
    if (start > rows || size > rows - start) {
      return refused(op, fmt::format("group {} starts at row {} with {} rows; there are {} rows", g, start, size, rows));
    }
    previous = start + size;
    out[static_cast<std::size_t>(g)] = {start, previous};
  }
  return {};
}

}  // namespace

ConstView index_view(const Groups& groups, const void* data, std::int64_t count) {
  const std::int64_t words = groups.index == Groups::Index::i64 ? 2 : 1;
  return matrix(data, Format::f32, count, words);
}

const char* overlapped_numbers(const Groups& groups, const ConstView& view) {
  if (overlaps(view, index_view(groups, groups.data, numbers_of(groups)))) return "the group numbers";
  const bool has_sizes = groups.kind == Groups::Kind::starts_and_sizes;
  return has_sizes && overlaps(view, index_view(groups, groups.sizes, groups.count)) ? "the group sizes" : nullptr;
}

Status check_groups(const char* op, const Groups& groups) {
  if (Status s = check_choice({op, "groups.kind"}, static_cast<std::int32_t>(groups.kind), 3,
                              "0 (sizes), 1 (ends), 2 (offsets) or 3 (starts_and_sizes)");
      !s.ok()) {
    return s;
  }
  if (Status s = check_choice({op, "groups.index"}, static_cast<std::int32_t>(groups.index), 1, "0 (i32) or 1 (i64)");
      !s.ok()) {
    return s;
  }
  if (groups.count < 0 || groups.count >= kGroupsEnd) {
    return refused(op, fmt::format("groups.count is {}; it must be 0 or more and below 2^50", groups.count));
  }
  return {};
}

Status check_group_data(const char* op, const Groups& groups) {
  constexpr std::array<const char*, 4> kNames = {"group sizes", "group ends", "group offsets", "group starts"};
  const char* what = kNames.at(static_cast<std::size_t>(groups.kind));
  if (Status s = need_data(op, what, groups, groups.data, numbers_of(groups)); !s.ok()) return s;
  if (groups.kind != Groups::Kind::starts_and_sizes) return {};
  return need_data(op, "group sizes", groups, groups.sizes, groups.count);
}

Status read_groups(const char* op, const Groups& groups, std::int64_t rows, std::span<RowRange> out) {
  if (Status s = check_groups(op, groups); !s.ok()) return s;
  if (Status s = check_group_data(op, groups); !s.ok()) return s;
  switch (groups.kind) {
    case Groups::Kind::sizes: return read_sizes(op, groups, rows, out);
    case Groups::Kind::starts_and_sizes: return read_starts_and_sizes(op, groups, rows, out);
    case Groups::Kind::ends:
    case Groups::Kind::offsets: break;
  }
  return read_ascending(op, groups, rows, out);
}

}  // namespace ragdot::api
