// Which rows belong to which group (expert).
#pragma once

#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>

namespace ragdot {

/// A container that is gone behind the call, such as a std::vector that a function returned: nothing may borrow from it.
template <class Range>
concept OwnedTemporary = std::ranges::range<Range> && !std::ranges::borrowed_range<Range>;

/// Group metadata as frameworks hold it; borrowed. Groups ascend and do not overlap; the last end is at most M.
struct Groups {
  enum class Kind : std::int32_t {
    sizes = 0,             // [G]: groups touch, the first starts at row 0
    ends = 1,              // [G]: end offsets (torch, oneDNN); groups touch, the first starts at row 0
    offsets = 2,           // [G + 1]: start offsets and the last end; groups touch, rows before the first belong to none
    starts_and_sizes = 3,  // [G] and [G]: gaps are legal
  };
  enum class Index : std::int32_t { i32 = 0, i64 = 1 };

  Kind kind = Kind::sizes;
  Index index = Index::i32;
  const void* data = nullptr;   // sizes, ends, offsets or starts
  const void* sizes = nullptr;  // only for starts_and_sizes
  std::int64_t count = 0;       // G

  static Groups from_sizes(std::span<const std::int32_t> s) { return of(Kind::sizes, Index::i32, s.data(), s.size()); }
  static Groups from_sizes(std::span<const std::int64_t> s) { return of(Kind::sizes, Index::i64, s.data(), s.size()); }
  static Groups from_ends(std::span<const std::int32_t> e) { return of(Kind::ends, Index::i32, e.data(), e.size()); }
  static Groups from_ends(std::span<const std::int64_t> e) { return of(Kind::ends, Index::i64, e.data(), e.size()); }
  /// G + 1 offsets; an empty span is refused by the call as count -1.
  static Groups from_offsets(std::span<const std::int32_t> o) {
    Groups g = of(Kind::offsets, Index::i32, o.data(), o.size());
    --g.count;
    return g;
  }
  static Groups from_offsets(std::span<const std::int64_t> o) {
    Groups g = of(Kind::offsets, Index::i64, o.data(), o.size());
    --g.count;
    return g;
  }
  /// Both spans have G entries (the shorter one counts).
  static Groups from_starts_and_sizes(std::span<const std::int32_t> starts, std::span<const std::int32_t> sizes) {
    Groups g =
        of(Kind::starts_and_sizes, Index::i32, starts.data(), starts.size() < sizes.size() ? starts.size() : sizes.size());
    g.sizes = sizes.data();
    return g;
  }
  static Groups from_starts_and_sizes(std::span<const std::int64_t> starts, std::span<const std::int64_t> sizes) {
    Groups g =
        of(Kind::starts_and_sizes, Index::i64, starts.data(), starts.size() < sizes.size() ? starts.size() : sizes.size());
    g.sizes = sizes.data();
    return g;
  }
  /// Not from a temporary container: keep it in a variable that outlives the call.
  template <OwnedTemporary Range>
  static Groups from_sizes(Range&& s) = delete;
  template <OwnedTemporary Range>
  static Groups from_ends(Range&& e) = delete;
  template <OwnedTemporary Range>
  static Groups from_offsets(Range&& o) = delete;
  template <class Starts, class Sizes>
    requires(OwnedTemporary<Starts> || OwnedTemporary<Sizes>)
  static Groups from_starts_and_sizes(Starts&& starts, Sizes&& sizes) = delete;

 private:
  static Groups of(Kind kind, Index index, const void* data, std::size_t count) {
    return {kind, index, data, nullptr, static_cast<std::int64_t>(count)};
  }
};

}  // namespace ragdot
