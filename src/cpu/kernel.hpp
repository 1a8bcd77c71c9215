// What a kernel is: how it packs an operand into panels, and how it multiplies two panels piece by piece of the reduction axis.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/side.hpp"
#include "cpu/stores.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {

struct Item;

/// Decodes `count` outer elements from `outer` on, over the given pieces, into a panel. In a panel every piece is padded with
/// zeros up to whole depth units of the kernel; the rest of the layout is the kernel's own.
struct PackJob {
  const Side* side = nullptr;
  Arithmetic arithmetic = Arithmetic::fp8;
  std::int64_t outer = 0;
  std::int64_t count = 0;
  std::span<const schedule::Piece> pieces;
  std::byte* panel = nullptr;
};

/// Rounds finished sums to out: a zero becomes +0, NaN the canonical one, nearest even. Out rows are contiguous.
struct StoreJob {
  const float* acc = nullptr;  // strips of sums: [strips][strip_rows][strip_cols]
  std::int64_t strip_rows = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  Format format = Format::f32;  // f32 or bf16
  std::byte* out = nullptr;
  std::int64_t out_row_bytes = 0;
  Stores stores = Stores::cached;  // streamed: a wish
  bool adds = false;               // one f32 add of what is in an f32 out; of kernels that store

  /// The part of it from column `from` on, where a strip begins.
  [[nodiscard]] StoreJob columns(std::int64_t from, std::int64_t count) const {
    StoreJob part = *this;
    part.acc += from * strip_rows;
    part.out += from * element_bytes(format);
    part.cols = count;
    return part;
  }
};

/// The same behind a bias, an activation or accumulation, and to f16. In this order: a zero becomes +0; one f32 add of the
/// bias; the activation; with accumulate one f32 add onto out; NaN becomes the canonical one; rounding to nearest even.
struct FinishJob {
  StoreJob store;  // to f32, bf16 or f16; never streamed
  std::int64_t strip_cols = 0;
  Activation activation = Activation::none;
  const std::byte* bias = nullptr;  // f32, one behind the other from the first column on; null: none
};

/// Memory that is packed after a multiplication: `runs` of `run_bytes` each, `stride` bytes from one to the next.
struct Ahead {
  const std::byte* at = nullptr;
  std::int64_t runs = 0;
  std::int64_t run_bytes = 0;
  std::int64_t stride = 0;
};

/// That of `outers` outer elements from `outer` on, `depth` deep; nothing where it does not lie in runs.
[[nodiscard]] inline Ahead ahead_of(const Side& side, std::int64_t outer, std::int64_t outers, std::int64_t begin,
                                    std::int64_t depth) {
  const std::int64_t bytes = element_bytes(side.format);
  const std::byte* at = side.value(outer, begin);
  if (side.blocked())
    return {at, schedule::ceil_div(outers, kPackedCols), depth * kPackedCols * bytes, side.block_stride * bytes};
  if (side.depth_stride == 1) return {at, outers, depth * bytes, side.outer_stride * bytes};
  if (side.outer_stride == 1) return {at, depth, outers * bytes, side.depth_stride * bytes};
  return {};
}

/// Pieces that a reduction tile, and so a multiplication, holds at most: bounds the scales that are gathered ahead of it.
inline constexpr std::int64_t kMostPieces = 64;

/// Multiplies two panels that were packed from the same pieces, for a tile of rows x cols: p += chunks of a piece, and where a
/// piece ends its segment acc = fma(row scale * column scale, p, acc), or acc = p where nothing is scaled.
struct MultiplyJob {
  Arithmetic arithmetic = Arithmetic::fp8;
  std::int64_t row = 0;  // first row within the lhs panel; everything else starts at the tile
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const std::byte* lhs_panel = nullptr;
  const std::byte* rhs_panel = nullptr;
  std::span<const schedule::Piece> pieces;
  bool first = false;  // nothing has been added to acc yet: the first segment to end sets it
  // Of the segments that end in these pieces, one after the other; null: nothing but what is folded.
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
  std::int64_t row_scales_stride = 0;  // from segment to segment
  std::int64_t col_scales_stride = 0;
  float* acc = nullptr;       // strips of strip_cols columns: [strips][strip_rows][strip_cols], whole register blocks
  std::byte* part = nullptr;  // part_bytes for each element of acc: the unfinished segment between two calls
  std::int64_t strip_rows = 0;
  /// The sums are final and go to out as well, for kernels that store: acc then holds nothing of worth.
  const StoreJob* store = nullptr;
  std::array<Ahead, 2> ahead = {};  // of kernels that ask ahead
};

/// A way to multiply few rows that needs no panel of weights. Kernels may share it.
struct FewRows {
  plan::Weights weights = plan::Weights::rows;
  std::int64_t tile_depth = 0;   // reduction tiles that suit it
  std::int64_t tile_cols = 0;    // tiles of out that suit it, multiplied at once; 0: as with panels
  std::int64_t least_depth = 0;  // of a reduction tile and of the item
  std::int64_t (*most_rows)(Format weights) = nullptr;
  bool (*takes)(const Item& item) = nullptr;  // of no more rows; null: all
  void (*pack_lhs)(const PackJob& job) = nullptr;
  /// job.lhs_panel is what pack_lhs made; `weights` has the job's columns and pieces and no panel.
  void (*multiply)(const MultiplyJob& job, const PackJob& weights) = nullptr;
};

/// Reduction tiles are at most so deep.
inline constexpr std::int64_t kMostDepth = 4096;

/// The first that takes an item computes it; null: none.
using WaysOfFewRows = std::array<const FewRows*, 7>;

/// What a product asks of a kernel.
struct Demand {
  Arithmetic arithmetic = Arithmetic::fp8;
  std::int64_t longest_segment = 0;  // elements
};

/// int32 sums of fewer than 2^31 / 2^14 products of i8 are exact.
inline constexpr std::int64_t kMostOfInt32 = 131071;

/// A segment takes whole chunks in kernels of bf16 pairs and tiles; chains of f32 fma take no more than its elements.
[[nodiscard]] constexpr const char* yields_short_segments(const Demand& demand) {
  constexpr std::int64_t kShortestSegment = 4;
  const bool is_short = demand.longest_segment > 0 && demand.longest_segment < kShortestSegment;
  return is_short ? "segments of fewer than 4 elements would fill chunks with zeros; avx512 is faster" : nullptr;
}

/// A kernel of one instruction set. Sizes are elements; a panel may be padded up to whole blocks.
struct Kernel {
  const char* name;
  const char* (*refusal)();  // null when this CPU can run it, else why not
  const char* (*declines)(
      const Demand& demand);  // null when it computes this product, else why not; a null function: it does all
  /// Null unless another kernel is faster at this product: then the reason. Asked only where no kernel is forced; a null
  /// function never yields.
  const char* (*yields)(const Demand& demand);
  std::int64_t block_rows;  // rows and columns of its register block
  std::int64_t block_cols;  // also the columns of a strip of acc
  std::int64_t inner_rows;  // most rows and columns of one multiplication: its sums stay in the caches
  std::int64_t inner_cols;
  std::int64_t part_bytes;  // of one unfinished sum
  /// Elements of a segment whose i8 sums a part holds, an int32 then; where there are more the driver empties parts
  /// (wide_sums.hpp).
  std::int64_t most_of_i8;
  std::int64_t (*depth_unit)(Arithmetic arithmetic);
  std::int64_t (*panel_bytes)(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth);  // depth: whole depth units
  void (*pack_lhs)(const PackJob& job);
  void (*pack_rhs)(const PackJob& job);
  void (*multiply)(const MultiplyJob& job);
  WaysOfFewRows few_rows;
  void (*store)(const StoreJob& job);  // null: the driver's own; the same for finish
  void (*finish)(const FinishJob& job);
  bool stores;      // multiply takes a StoreJob
  bool asks_ahead;  // multiply asks for what is packed next
  void (*enter)();  // called on each thread before and after its work; null: nothing to do
  void (*leave)();
};

/// A depth up to whole units.
[[nodiscard]] constexpr std::int64_t padded(std::int64_t depth, std::int64_t unit) { return (depth + unit - 1) / unit * unit; }

/// The kernels of this build, best first.
[[nodiscard]] std::span<const Kernel* const> listed_kernels();

/// Those, and behind them what tests have added.
[[nodiscard]] std::span<const Kernel* const> kernels();

/// For test programs, before their first call: one more kernel at the end of the list. No plan takes it unless it is forced.
void add_kernel_for_tests(const Kernel& kernel);

}  // namespace ragdot::cpu
