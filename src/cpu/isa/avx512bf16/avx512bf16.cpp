// The AVX512-BF16 kernel: VDPBF16PS adds two products to a chain, first that of the high halves, then that of the low ones.
#include "cpu/isa/avx512bf16/avx512bf16.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>

#include "cpu/isa/avx512/few_rows.hpp"
#include "cpu/isa/avx512/finish.hpp"
#include "cpu/isa/avx512/floats.hpp"
#include "cpu/isa/avx512/granules.hpp"
#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/avx512/sums.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/isa/order_data.hpp"
#include "cpu/item.hpp"
#include "cpu/tile_size.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512BF16)

#include "cpu/isa/avx512bf16/codes.hpp"
#include "cpu/isa/avx512bf16/columns.hpp"
#include "cpu/isa/avx512bf16/pairs.hpp"
#include "cpu/isa/avx512bf16/rows.hpp"
#include "cpu/isa/chains/multiply.hpp"
#include "cpu/isa/chains/strips.hpp"

namespace ragdot::cpu::avx512bf16 {
namespace {

/// Dword 2i holds two even positions, dword 2i + 1 two odd ones; the earlier stands in the high half, which is added first.
constexpr avx512::Pairing kAlike = {{2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31},
                                    {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29}};

struct Panels : avx512::GranulePanels<schedule::kChunk> {
  /// Pairs of a chunk of `depth` elements, an even and an odd one for each four. The zeros behind them change no more than the
  /// sign of a zero, which out does not keep.
  static std::int64_t steps(std::int64_t depth) {
    return 2 * schedule::ceil_div(depth, 4) - (fault::on(fault::Id::bf16_last_pair_dropped) ? 1 : 0);
  }
};

struct Bf16Chain : avx512::Floats {
  using Floats = avx512::Floats;
  using Panels = avx512bf16::Panels;
  static constexpr bool kIntegers = false;
  static constexpr bool kHasRuns = false;  // the scales of such short segments cost more than products

  static Vector dot(Vector sum, Vector a, Vector b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  /// With the value at `a`, as avx512::Floats has it.
  static Vector dot_spread(Vector sum, const void* a, Vector b) {
    asm("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(*static_cast<const float*>(a)));
    return sum;
  }
  static Vector as_floats(Vector sums) { return sums; }
};

template <Format kFormat>
void multiply_codes(const MultiplyJob& job, const PackJob& weights) {
  // For more rows decoding codes for every block of them takes longer than writing down what they are.
  constexpr std::int64_t kMostDecodedAnew = 6;
  job.rows <= kMostDecodedAnew ? chains::multiply_strips<QuadChain<Bf16Chain, kFormat>>(job, weights)
                               : chains::multiply_strips<Bf16Chain, decode_codes<kFormat>>(job, weights);
}

void multiply_pairs(const MultiplyJob& job, const PackJob& weights) {
  constexpr std::int64_t kMostPairedAnew = 16;
  job.rows <= kMostPairedAnew ? chains::multiply_strips<PairChain<Bf16Chain>>(job, weights)
                              : chains::multiply_strips<Bf16Chain, pair_rows>(job, weights);
}

std::int64_t most_rows_of_codes(Format weights) {
  constexpr std::int64_t kMostRows = kFewRows / 2;
  return weights == Format::e4m3 || weights == Format::e5m2 ? kMostRows : 0;
}

/// Whole chunks, `kCols` columns of which are decoded alike.
template <std::int64_t kCols>
bool takes_chunks(const Item& item) {
  return item.depth % schedule::kChunk == 0 && avx512::decodes_by_table(item, kCols);
}

constexpr FewRows kRowsOfCodes = {.weights = plan::Weights::packed,
                                  .tile_depth = kMostDepth,
                                  .most_rows = most_rows_of_codes,
                                  .takes = takes_chunks<kPackedCols>,
                                  .pack_lhs = avx512::pack<avx512::Role::lhs, kAlike>,
                                  .multiply = [](const MultiplyJob& job, const PackJob& weights) {
                                    weights.side->format == Format::e4m3 ? multiply_codes<Format::e4m3>(job, weights)
                                                                         : multiply_codes<Format::e5m2>(job, weights);
                                  }};
constexpr FewRows kRowsOfPairs = {.weights = plan::Weights::packed,
                                  .tile_depth = kMostDepth,
                                  .most_rows = [](Format weights) { return weights == Format::bf16 ? kFewRows / 2 : 0; },
                                  .takes = takes_chunks<kPackedCols>,
                                  .pack_lhs = avx512::pack<avx512::Role::lhs, kAlike>,
                                  .multiply = multiply_pairs};
/// Others are decoded into the L1 cache: a panel of them would be written to the L2 cache for a handful of blocks.
constexpr FewRows decoded_rows(plan::Weights weights, std::int64_t tile_depth, std::int64_t (*most_rows)(Format)) {
  return {.weights = weights,
          .tile_depth = tile_depth,
          .most_rows = most_rows,
          .pack_lhs = avx512::pack<avx512::Role::lhs, kAlike>,
          .multiply = chains::multiply_strips<Bf16Chain, avx512::pack<avx512::Role::rhs, kAlike>>};
}
constexpr FewRows kDecodedRows = decoded_rows(plan::Weights::packed, kMostDepth, [](Format) { return kFewRows / 2; });
/// Columns of memory are turned on the way, and FP8 decoded besides: with more rows a panel is as good, in shorter tiles. These
/// bounds and those of the ways below are where the other way becomes as fast (decisions 116, 120, 124, 126).
constexpr FewRows kDecodedColumns = decoded_rows(plan::Weights::columns, 1024, [](Format weights) {
  constexpr std::int64_t kMostOfFp8 = 8;
  return weights == Format::bf16 ? kFewRows / 2 : kMostOfFp8;
});

/// With weights as they lie in memory.
template <template <Format> class Product>
void multiply_in_place(const MultiplyJob& job, const PackJob& weights) {
  switch (weights.side->format) {
    case Format::e4m3: Product<Format::e4m3>(job, weights).run(); break;
    case Format::e5m2: Product<Format::e5m2>(job, weights).run(); break;
    default: Product<Format::bf16>(job, weights).run(); break;
  }
  if (job.store != nullptr) avx512::store(*job.store);
}

template <Format kFormat>
using Columns = ColumnsProduct<Bf16Chain, kFormat, kAlike>;
template <Format kFormat>
using Rows = RowsProduct<Bf16Chain, kFormat>;

/// What lies between the loads of weights has to stay in the L1 cache, and granules should be full: of FP8 weights decoding
/// takes as long as memory. Parts of columns come no faster than the other way, but for FP8 of one or two rows.
bool takes_columns(const Item& item) {
  if (item.lhs.depth_stride != 1 || item.lhs.folds() || item.rhs.folds() || !avx512::segments_end_with_chunks(item))
    return false;
  constexpr std::int64_t kMostLhs = 16384;  // elements
  const std::int64_t depth = std::min(item.depth, kMostDepth);
  const std::int64_t room = padded(depth, kGranuleDepth);
  const bool few = item.rows <= 2;
  if (item.depth > kMostDepth && (item.rhs.format == Format::bf16 || !few)) return false;
  return item.rows * depth <= kMostLhs && (few ? 5 * depth >= 3 * room : 6 * depth >= 5 * room);
}

constexpr FewRows kChunksOfColumns = {.weights = plan::Weights::columns,
                                      .tile_depth = kMostDepth,
                                      .least_depth = 512,
                                      .most_rows =
                                          [](Format weights) {
                                            constexpr std::int64_t kMostOfFp8 = 5;
                                            return weights == Format::bf16 ? kMostRowsOfColumns : kMostOfFp8;
                                          },
                                      .takes = takes_columns,
                                      .pack_lhs =
                                          [](const PackJob& job) {
                                            switch (job.side->format) {
                                              case Format::e4m3: return turn_rows<Format::e4m3, kAlike>(job);
                                              case Format::e5m2: return turn_rows<Format::e5m2, kAlike>(job);
                                              default: turn_rows<Format::bf16, kAlike>(job);
                                            }
                                          },
                                      .multiply = multiply_in_place<Columns>};

constexpr FewRows kRunsOfRows = {.weights = plan::Weights::rows,
                                 .tile_depth = 256,
                                 .tile_cols = kMostColsOfRuns,
                                 .most_rows =
                                     [](Format weights) {
                                       constexpr std::int64_t kMostOfFp8 = 12;
                                       return weights == Format::bf16 ? kMostRowsOfRuns : kMostOfFp8;
                                     },
                                 .takes = takes_chunks<kRunCols>,
                                 .pack_lhs = avx512::pack<avx512::Role::lhs, kAlike>,
                                 .multiply = multiply_in_place<Rows>};

/// One chunk has the bits of the reduction order.
bool order_holds() {
  return order_data::pairs_hold(kAlike, [](order_data::Sums& sums, std::uint32_t lhs, const order_data::Pairs& rhs) {
    Bf16Chain::store(sums.data(),
                     Bf16Chain::dot(Bf16Chain::load(sums.data()), Bf16Chain::spread(&lhs), Bf16Chain::load(rhs.data())));
  });
}

}  // namespace
}  // namespace ragdot::cpu::avx512bf16

RAGDOT_TARGET_END

namespace ragdot::cpu::avx512bf16 {
namespace {

const char* refusal() {
  const Features& f = features();
  if (!f.avx512() || !f.avx512bf16) return "this CPU has no AVX512-BF16";
  if (!f.avx512vbmi) return "this CPU has no AVX-512 with VBMI, which packing needs";
  static const bool kOrderHolds = order_holds();
  return kOrderHolds ? nullptr : "VDPBF16PS of this CPU does not add in the reduction order";
}

const char* declines(const Demand& demand) {
  if (demand.arithmetic == Arithmetic::f32) return "f32 operands do not fit bf16";
  if (demand.arithmetic == Arithmetic::i8) return "bf16 sums of int8 products are not exact";
  return nullptr;
}

}  // namespace

constinit const Kernel kKernel = {
    .name = "avx512bf16",
    .refusal = refusal,
    .declines = declines,
    .yields = yields_short_segments,
    .block_rows = Bf16Chain::kBlockRows,
    .block_cols = chains::kStripCols,
    .inner_rows = chains::kInnerRows,
    .inner_cols = chains::kInnerCols,
    .part_bytes = sizeof(float),
    .most_of_i8 = 0,
    .depth_unit = [](Arithmetic) { return schedule::kChunk; },
    .panel_bytes = [](Arithmetic, std::int64_t outers,
                      std::int64_t depth) { return avx512::granule_panel_bytes(outers, depth / schedule::kChunk); },
    .pack_lhs = avx512::pack<avx512::Role::lhs, kAlike>,
    .pack_rhs = avx512::pack<avx512::Role::rhs, kAlike>,
    .multiply = chains::multiply<Bf16Chain>,
    .few_rows = {&kRowsOfCodes, &avx512::kFewPackedRows, &kRowsOfPairs, &kDecodedRows, &kChunksOfColumns, &kDecodedColumns,
                 &kRunsOfRows},
    .store = avx512::store,
    .finish = avx512::finish,
    .stores = Bf16Chain::kStores,
    .asks_ahead = true,
    .enter = nullptr,
    .leave = nullptr,
};

}  // namespace ragdot::cpu::avx512bf16
