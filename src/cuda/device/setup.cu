// One block reads the group numbers, 1024 groups at a time, and places spans by prefix sums over them.
#include "cuda/device/groups.cuh"

namespace ragdot::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffU;

enum class Kind : std::int32_t { sizes = 0, ends = 1, offsets = 2, starts_and_sizes = 3 };

struct Range {
  std::int32_t begin;
  std::int32_t end;
};

/// What is summed over groups.
struct Totals {
  std::int32_t spans;
  std::int32_t tiles;
  std::int32_t scale_rows;
  std::int32_t rows;
  std::uint32_t aligned_rows;  // wraps around where nobody asked for it
};

struct Sum {
  __device__ Totals operator()(const Totals& a, const Totals& b) const {
    return {a.spans + b.spans, a.tiles + b.tiles, a.scale_rows + b.scale_rows, a.rows + b.rows,
            a.aligned_rows + b.aligned_rows};
  }
};

struct Largest {
  __device__ std::int32_t operator()(std::int32_t a, std::int32_t b) const { return a > b ? a : b; }
};

/// A sum that stays at `most`, below 2^31, as its terms do: so no sum of two overflows.
struct SumUpTo {
  std::uint32_t most;
  __device__ std::uint32_t operator()(std::uint32_t a, std::uint32_t b) const { return a + b < most ? a + b : most; }
};

__device__ std::int32_t shifted_up(std::int32_t x, int lanes) { return __shfl_up_sync(kAllLanes, x, lanes); }
__device__ std::uint32_t shifted_up(std::uint32_t x, int lanes) { return __shfl_up_sync(kAllLanes, x, lanes); }
__device__ Totals shifted_up(const Totals& x, int lanes) {
  return {shifted_up(x.spans, lanes), shifted_up(x.tiles, lanes), shifted_up(x.scale_rows, lanes), shifted_up(x.rows, lanes),
          shifted_up(x.aligned_rows, lanes)};
}

/// The lanes of the warp up to this one together.
template <class T, class Combine>
__device__ T warp_inclusive(T x, Combine combine) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int lanes = 1; lanes < kWarp; lanes *= 2) {
    const T below = shifted_up(x, lanes);
    if (lane >= lanes) x = combine(below, x);
  }
  return x;
}

/// The threads before this one together, `carry` first; then `carry` is all of them. All threads of the block call it, with the
/// same carry; `zero` changes nothing. `shared` is memory for a T of each warp that no other scan uses: two scans in turn then
/// need no barrier between them, and a loop over two needs none at its end.
template <class T, class Combine>
__device__ T scan_before(T mine, T& carry, T zero, Combine combine, T* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const T inclusive = warp_inclusive(mine, combine);
  if (lane == kWarp - 1) shared[warp] = inclusive;
  T before = shifted_up(inclusive, 1);
  if (lane == 0) before = zero;
  __syncthreads();
  T earlier = carry;
  for (int w = 0; w < warps; ++w) {
    if (w == warp) before = combine(earlier, before);
    earlier = combine(earlier, shared[w]);
  }
  carry = earlier;
  return before;
}

__device__ std::int64_t number(const void* data, std::int32_t index_bits, std::int64_t i) {
  return index_bits == 64 ? static_cast<const std::int64_t*>(data)[i] : static_cast<const std::int32_t*>(data)[i];
}

__device__ void put_number(void* data, std::int32_t index_bits, std::int64_t i, std::int32_t x) {
  if (data == nullptr) return;
  if (index_bits == 64) {
    static_cast<std::int64_t*>(data)[i] = x;
  } else {
    static_cast<std::int32_t*>(data)[i] = x;
  }
}

__device__ std::int32_t clamped(std::int64_t x, std::int64_t rows) {
  return static_cast<std::int32_t>(x < 0 ? 0 : x > rows ? rows : x);
}

/// The rows that a group's own numbers name, within the rows that exist; a size alone begins at 0.
__device__ Range named_range(const GroupNumbers& groups, std::int32_t g, std::int64_t rows) {
  const auto at = [&](std::int64_t i) { return number(groups.data, groups.index_bits, i); };
  switch (static_cast<Kind>(groups.kind)) {
    case Kind::sizes: return {0, clamped(at(g), rows)};
    case Kind::ends: return {g == 0 ? 0 : clamped(at(g - 1), rows), clamped(at(g), rows)};
    case Kind::offsets: return {clamped(at(g), rows), clamped(at(g + 1), rows)};
    default: break;
  }
  const std::int32_t begin = clamped(at(g), rows);
  return {begin, clamped(begin + std::int64_t{clamped(number(groups.sizes, groups.index_bits, g), rows)}, rows)};
}

__device__ std::uint32_t aligned(std::int32_t size) {
  constexpr auto kTo = static_cast<std::uint32_t>(kGroupAlignment);
  return (static_cast<std::uint32_t>(size) + kTo - 1) / kTo * kTo;
}

__device__ std::int32_t tiles_of(const SpanRules& rules, std::int32_t size) {
  if (rules.tile_rows == 0) return rules.tiles;
  return (size / rules.tile_rows + (size % rules.tile_rows != 0 ? 1 : 0)) * rules.tiles;
}

__device__ void place_without_groups(const SpanRules& rules, WorkspaceHead& head, Span* spans) {
  const auto rows = static_cast<std::int32_t>(rules.rows);
  if (threadIdx.x != 0) return;
  spans[0] = {0, rows, 0, 0, 0, 0, 0};
  head = {1, tiles_of(rules, rows), rows / 128 + (rows % 128 != 0 ? 1 : 0), rows};
}

__global__ void __launch_bounds__(kMostThreads, 1) place_spans(GroupNumbers groups, SpanRules rules, void* workspace) {
  __shared__ std::uint32_t size_sums[kMostThreads / kWarp];
  __shared__ std::int32_t ends[kMostThreads / kWarp];
  __shared__ std::int32_t local_ends[kMostThreads / kWarp];
  __shared__ Totals totals[kMostThreads / kWarp];
  WorkspaceHead& head = *static_cast<WorkspaceHead*>(workspace);
  Span* spans = reinterpret_cast<Span*>(static_cast<char*>(workspace) + kSpansOffset);
  if (groups.count == 0) return place_without_groups(rules, head, spans);

  const auto rows = static_cast<std::int32_t>(rules.rows);
  std::uint32_t size_sum = 0;
  std::int32_t covered = 0;        // by groups
  std::int32_t local_covered = 0;  // by local groups: what lies between two of them is a gap
  Totals sum{};
  for (std::int32_t base = 0; base < groups.count; base += static_cast<std::int32_t>(blockDim.x)) {
    const std::int32_t g = base + static_cast<std::int32_t>(threadIdx.x);
    Range range = g < groups.count ? named_range(groups, g, rules.rows) : Range{0, 0};
    if (static_cast<Kind>(groups.kind) == Kind::sizes) {
      const SumUpTo up_to{static_cast<std::uint32_t>(rows)};
      const auto size = static_cast<std::uint32_t>(range.end);
      const std::uint32_t begin = scan_before(size, size_sum, std::uint32_t{0}, up_to, size_sums);
      range = {static_cast<std::int32_t>(begin), static_cast<std::int32_t>(up_to(begin, size))};
    }
    const std::int32_t before = scan_before(range.end > range.begin ? range.end : 0, covered, 0, Largest{}, ends);
    range.begin = range.begin > before ? range.begin : before;
    range.end = range.end > range.begin ? range.end : range.begin;
    const std::int32_t size = range.end - range.begin;

    const std::int32_t matrix = g - groups.first;
    const bool local = g < groups.count && matrix >= 0 && matrix < groups.local;
    const std::int32_t gap_begin = scan_before(local && size > 0 ? range.end : 0, local_covered, 0, Largest{}, local_ends);
    const bool placed = local && (size > 0 || rules.keep_empty);
    const bool gap = rules.outside && local && size > 0 && range.begin > gap_begin;
    const std::int32_t gap_tiles = gap ? tiles_of(rules, range.begin - gap_begin) : 0;
    const Totals mine = {(gap ? 1 : 0) + (placed ? 1 : 0), gap_tiles + (placed ? tiles_of(rules, size) : 0),
                         size / 128 + (size % 128 != 0 ? 1 : 0), size, aligned(size)};
    const Totals at = scan_before(mine, sum, Totals{}, Sum{}, totals);
    const auto aligned_row = static_cast<std::int32_t>(at.aligned_rows);
    if (g < groups.count) {
      put_number(rules.aligned_starts, groups.index_bits, g, aligned_row);
      put_number(rules.aligned_sizes, groups.index_bits, g, size);
    }
    Span* to = spans + at.spans;
    if (gap) *to++ = {gap_begin, range.begin, -1, 0, 0, at.tiles, 0};
    if (placed) *to = {range.begin, range.end, matrix, at.scale_rows, at.rows, at.tiles + gap_tiles, aligned_row};
  }
  if (threadIdx.x != 0) return;
  if (rules.outside && local_covered < rows) {
    spans[sum.spans++] = {local_covered, rows, -1, 0, 0, sum.tiles, 0};
    sum.tiles += tiles_of(rules, rows - local_covered);
  }
  head = {sum.spans, sum.tiles, sum.scale_rows, sum.rows};
}

}  // namespace

cudaError_t find_spans(const GroupNumbers& groups, const SpanRules& rules, void* workspace, cudaStream_t stream) {
  const std::int32_t warps = groups.count / kWarp + (groups.count % kWarp != 0 ? 1 : 0);
  const int threads = warps == 0 ? kWarp : warps * kWarp < kMostThreads ? warps * kWarp : kMostThreads;
  place_spans<<<1, static_cast<unsigned>(threads), 0, stream>>>(groups, rules, workspace);
  return cudaGetLastError();
}

}  // namespace ragdot::cuda
