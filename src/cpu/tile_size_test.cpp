// Tiles of the cache model: shares of the L2 cache, whole blocks of the kernel, and what it gives for shapes that users run.
#include "cpu/tile_size.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "schedule/items.hpp"

namespace ragdot::cpu {
namespace {

using plan::Op;
using plan::Problem;
using plan::Weights;

std::string text(const Tiling& t) { return std::to_string(t.tm) + "x" + std::to_string(t.tk) + "x" + std::to_string(t.tn); }

constexpr std::int64_t kMiB = 1 << 20;
constexpr std::int64_t kCaches[] = {kMiB / 4, kMiB / 2, kMiB, 2 * kMiB};
constexpr Format kFormats[] = {Format::e4m3, Format::bf16, Format::f32, Format::i8};

Problem problem(Format format, std::int64_t m, std::int64_t groups, std::int64_t k, std::int64_t n) {
  Problem p;
  p.m = m;
  p.k = k;
  p.n = n;
  p.groups = p.local = groups;
  p.lhs.values = p.rhs.values = format;
  p.out = Format::f32;
  return p;
}

/// 8,192 rows for each of 8 groups.
Problem many_rows(Format format) { return problem(format, 65536, 8, 7168, 4096); }

Problem few_rows(Format format, std::int64_t rows, Weights weights, std::int64_t groups = 32, std::int64_t cols = 4096) {
  Problem p = problem(format, groups * rows, groups, 7168, cols);
  p.weights = weights;
  return p;
}

std::int64_t unit_of(const Kernel& kernel, const Problem& p) {
  return std::max(schedule::kChunk, kernel.depth_unit(arithmetic_of(p)));
}

std::int64_t panel(const Kernel& kernel, const Problem& p, std::int64_t outers, std::int64_t depth) {
  return kernel.panel_bytes(arithmetic_of(p), outers, padded(depth, kernel.depth_unit(arithmetic_of(p))));
}

TEST(TileSize, APanelOfManyRowsFillsHalfOfTheCache) {
  for (const Kernel* kernel : listed_kernels()) {
    for (const Format format : kFormats) {
      for (const std::int64_t l2 : kCaches) {
        const Problem p = many_rows(format);
        const Tiling t = effective_tile(p, *kernel, {}, 1, l2);
        const std::string what = std::string(kernel->name) + ", " + name(format) + ", " + std::to_string(l2) + " bytes";
        EXPECT_EQ(t.tm % kernel->block_rows, 0) << what;
        // What pads a small panel comes on top. Never fewer than one inner block: kernels multiply so many rows at once.
        const bool fewest = t.tm == padded(kernel->inner_rows, kernel->block_rows);
        EXPECT_TRUE(fewest || panel(*kernel, p, t.tm, t.tk) <= l2 / 2 + l2 / 16) << what;
        // One inner block more would not fit, or be more rows than a tile may have.
        const bool most = t.tm + kernel->inner_rows > padded(1024, kernel->block_rows);
        EXPECT_TRUE(most || panel(*kernel, p, t.tm + kernel->inner_rows, t.tk) > l2 / 2) << what;
        EXPECT_EQ(t.tk % 128, 0) << what << ": blocks of scales usually end at multiples of 128";
      }
    }
  }
}

TEST(TileSize, AStripOfColumnsFitsHalfOfTheCacheAndAQuarterForFewRows) {
  for (const Kernel* kernel : listed_kernels()) {
    for (const std::int64_t l2 : kCaches) {
      for (const bool few : {false, true}) {
        const Problem p = few ? few_rows(Format::bf16, 16, Weights::packed) : many_rows(Format::bf16);
        const Tiling t = effective_tile(p, *kernel, {}, 1, l2);
        const std::int64_t strip = strip_cols(*kernel, t, l2);
        const std::int64_t share = few ? l2 / 4 : l2 / 2;
        const std::int64_t bytes = kernel->panel_bytes(Arithmetic::wide, strip, t.tk);
        const std::string what =
            std::string(kernel->name) + ", " + std::to_string(strip) + " columns of " + std::to_string(t.tk);
        EXPECT_EQ(strip % kernel->inner_cols, 0) << what;
        EXPECT_LE(strip, few ? padded(t.tn, kernel->inner_cols) : padded(256, kernel->inner_cols)) << what;
        EXPECT_TRUE(bytes <= share || strip == kernel->inner_cols) << what << ", " << l2;
        // Wider ones do not fit, or are not asked for: memory likes long rows.
        const bool widest = few ? strip >= t.tn : strip >= 256;
        EXPECT_TRUE(widest || kernel->panel_bytes(Arithmetic::wide, strip + kernel->inner_cols, t.tk) > share)
            << what << ", " << l2;
      }
    }
  }
}

TEST(TileSize, TilesAreWholeBlocksNoLargerThanTheProblem) {
  for (const Kernel* kernel : listed_kernels()) {
    for (const Format format : kFormats) {
      for (const std::int64_t m : {1, 7, 100, 5000}) {
        for (const std::int64_t k : {1, 33, 200, 9000}) {
          for (const std::int64_t n : {1, 70, 3000}) {
            const Problem p = problem(format, m, 2, k, n);
            for (const std::optional<Tiling>& asked : {std::optional<Tiling>(), std::optional<Tiling>({3, 1000, 9}),
                                                       std::optional<Tiling>({100000, 100000, 100000})}) {
              const Tiling t = effective_tile(p, *kernel, asked, 4, kMiB);
              const std::string what = std::string(kernel->name) + ", " + plan::describe(p) + ": " + text(t);
              EXPECT_TRUE(t.tm % kernel->block_rows == 0 && t.tn % kernel->block_cols == 0) << what;
              EXPECT_EQ(t.tk % unit_of(*kernel, p), 0) << what;
              EXPECT_LE(t.tm, padded(std::min<std::int64_t>(m, 1024), kernel->block_rows)) << what;
              EXPECT_LE(t.tk, padded(std::min<std::int64_t>(k, kMostDepth), unit_of(*kernel, p))) << what;
              EXPECT_LE(t.tn, padded(std::min<std::int64_t>(n, 2048), kernel->block_cols)) << what;
              EXPECT_TRUE(t.tm > 0 && t.tk > 0 && t.tn > 0) << what;
            }
          }
        }
      }
    }
  }
}

TEST(TileSize, EveryThreadHasItemsWhereTilesCanBeSoSmall) {
  for (const Kernel* kernel : listed_kernels()) {
    for (const int threads : {2, 16, 64}) {
      const Problem p = problem(Format::e4m3, 8192, 4, 4096, 4096);
      const Tiling t = effective_tile(p, *kernel, {}, threads, kMiB);
      EXPECT_GE(schedule::ceil_div(p.m, t.tm) * schedule::ceil_div(p.n, t.tn), kItemsPerThread * threads) << kernel->name;
    }
  }
}

struct Golden {
  const char* kernel;
  Problem problem;
  std::int64_t l2;
  int threads;
  const char* tile;  // rows x depth x columns
  const char* why;
};

Problem shorter(Problem p, std::int64_t k) {
  p.k = k;
  return p;
}
Problem tgmm(Problem p) {
  p.op = Op::tgmm;
  return p;
}

TEST(TileSize, OfShapesThatUsersRun) {
  constexpr Format kE4m3 = Format::e4m3;
  constexpr Format kBf16 = Format::bf16;
  const std::vector<Golden> all = {
      // Many rows.
      {"amx", many_rows(kE4m3), kMiB, 1, "1024x256x1024", "1024 rows of 256 bf16 are 512 KiB, half of the cache"},
      {"avx512bf16", many_rows(kE4m3), kMiB, 1, "1024x256x1024", "the same: FP8 is decoded to bf16"},
      {"avx512bf16", many_rows(kBf16), kMiB, 1, "1024x256x1024", "the same panels"},
      {"avx512bf16", many_rows(kE4m3), kMiB / 2, 1, "1024x128x1024", "half of the cache, half of the depth"},
      {"avx512bf16", many_rows(kE4m3), 2 * kMiB, 1, "1024x512x1024", "twice the cache, twice the depth"},
      {"avx512", many_rows(kE4m3), kMiB, 1, "768x128x1024", "f32 panels: three inner blocks of 256 rows in 480 KiB"},
      {"avx512", many_rows(kE4m3), 2 * kMiB, 1, "768x256x1024", "twice the depth"},
      {"avx2", many_rows(kE4m3), kMiB, 1, "768x128x1024", "as avx512"},
      {"portable", many_rows(kE4m3), kMiB, 1, "1024x128x1024", "f32 panels without padding"},
      {"portable", many_rows(kBf16), kMiB, 1, "512x128x1024", "f64 panels"},
      // Depths: tiles of nearly equal depth.
      {"avx512bf16", shorter(many_rows(kE4m3), 640), 2 * kMiB, 1, "1024x384x1024", "two of at most 384, not 512 and 128"},
      {"avx512bf16", shorter(many_rows(kE4m3), 200), kMiB, 1, "1024x224x1024", "one, of whole chunks"},
      {"avx512bf16", tgmm(problem(kBf16, 2048, 64, 7168, 4096)), 2 * kMiB, 1, "1024x256x1024",
       "most groups end within 256 rows"},
      // Threads: columns are cut in half, then rows, until each has four items.
      {"avx512bf16", many_rows(kE4m3), kMiB, 64, "1024x256x1024", "256 items already"},
      {"avx512bf16", tgmm(many_rows(kE4m3)), kMiB, 64, "1024x256x512", "7 x 8 tiles of each group instead of 7 x 4"},
      {"avx512bf16", few_rows(kE4m3, 16, Weights::packed), kMiB, 64, "64x4096x512", "eight tiles of each group"},
      // Few rows: the depth and the width that the way likes which takes them.
      {"avx512bf16", few_rows(kE4m3, 16, Weights::packed), kMiB, 1, "64x4096x1024", "packed weights are read in one run"},
      {"avx512bf16", few_rows(kE4m3, 4, Weights::columns), kMiB, 1, "64x4096x1024", "columns are read to their ends"},
      {"avx512bf16", few_rows(kE4m3, 8, Weights::columns), kMiB, 1, "64x1024x1024", "columns turned into the L1 cache"},
      {"avx512bf16", few_rows(kE4m3, 16, Weights::columns), kMiB, 1, "64x512x1024", "panels of wide strips"},
      {"avx512bf16", few_rows(kE4m3, 12, Weights::rows), kMiB, 1, "64x256x2048", "long rows as they lie in memory"},
      {"avx512bf16", few_rows(kE4m3, 16, Weights::rows), kMiB, 1, "64x512x1024", "panels of wide strips"},
      {"avx512bf16", few_rows(kE4m3, 8, Weights::rows, 2, 1408), kMiB, 2, "16x256x384", "whole runs of 64 columns"},
      // Routers: one group, as many columns as there are experts.
      {"avx512bf16", few_rows(kBf16, 16, Weights::columns, 1, 128), kMiB, 1, "16x1024x128", "one thread, one tile"},
      {"avx512bf16", few_rows(kBf16, 16, Weights::columns, 1, 128), kMiB, 2, "16x1024x64", "no thread without a tile"},
      {"avx512bf16", few_rows(kBf16, 16, Weights::columns, 1, 128), kMiB, 64, "16x1024x32",
       "a register block of columns is the least"},
      {"avx512bf16", shorter(few_rows(kBf16, 16, Weights::columns, 1, 128), 128), kMiB, 2, "16x128x128",
       "32 KiB are not worth a thread"},
      {"avx512bf16", few_rows(kBf16, 128, Weights::columns, 1, 128), kMiB, 2, "64x256x128", "rows are cut down to 64"},
      {"amx", few_rows(kE4m3, 16, Weights::packed), kMiB, 1, "64x4096x1024", "packed weights are read in one run"},
      {"portable", few_rows(kE4m3, 16, Weights::packed), kMiB, 1, "64x512x1024", "no way of its own"},
      {"avx512bf16", few_rows(kE4m3, 33, Weights::packed), kMiB, 1, "1024x256x1024", "as many rows"},
  };
  for (const Golden& golden : all) {
    for (const Kernel* kernel : listed_kernels()) {
      if (std::string(golden.kernel) != kernel->name) continue;
      EXPECT_EQ(text(effective_tile(golden.problem, *kernel, {}, golden.threads, golden.l2)), golden.tile)
          << kernel->name << ", " << plan::describe(golden.problem) << ": " << golden.why;
    }
  }
}

TEST(TileSize, IsForTheCacheOfThisMachine) {
  for (const Kernel* kernel : listed_kernels()) {
    const Problem p = many_rows(Format::e4m3);
    const Tiling t = effective_tile(p, *kernel, {}, 1);
    EXPECT_EQ(text(t), text(effective_tile(p, *kernel, {}, 1, l2_bytes()))) << kernel->name;
    EXPECT_EQ(strip_cols(*kernel, t), strip_cols(*kernel, t, l2_bytes())) << kernel->name;
  }
  EXPECT_GE(l2_bytes(), 64 << 10);
}

}  // namespace
}  // namespace ragdot::cpu
