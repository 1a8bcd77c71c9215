// How copies are cut and written: tall blocks, batches, every input format, given scales, any strides, any threads.
#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <vector>

#include "cpu/quantize/independent.hpp"
#include "format/half.hpp"
#include "ragdot/quantize.hpp"

namespace ragdot {
namespace {

using namespace independent;

/// Runs tasks last to first on the caller's thread and counts them.
class CountingExecutor final : public Executor {
 public:
  void run(int tasks, void (*task)(void*, int), void* context) override {
    runs += 1;
    for (int i = tasks; i-- > 0;) task(context, i);
  }
  [[nodiscard]] int concurrency() const override { return 3; }
  int runs = 0;
};

/// A copy of `count` matrices behind each other.
void prepare_batch(Copy& copy, const Wanted& w, std::int64_t count, std::int64_t rows, std::int64_t cols) {
  prepare(copy, w, rows, cols, nullptr);
  copy.values.resize(static_cast<std::size_t>(count) * copy.values.size());
  copy.scales.resize(static_cast<std::size_t>(count) * copy.scales.size());
  copy.out.values = matrices(static_cast<void*>(copy.values.data()), w.values, count, rows, cols);
  View& s = copy.out.scales.view;
  s = matrices(static_cast<void*>(copy.scales.data()), w.scales, count, s.rows, s.cols);
}

TEST(QuantizeCopies, TallBlocksAreMeasuredByAllThreads) {
  constexpr std::int64_t kRows = 2500;
  constexpr std::int64_t kCols = 37;
  std::vector<float> x = make_input(kRows, kCols, 11);
  x[static_cast<std::size_t>(kCols * 2400 + 5)] = 3e5F;  // a maximum far from the first thread's rows
  const std::vector<Wanted> tall = {{Format::e4m3, Format::f32, Recipe::absmax, kAll, 1},
                                    {Format::e5m2, Format::e8m0, Recipe::pow2, kAll, kAll},
                                    {Format::i8, Format::f32, Recipe::absmax, 1100, 5},
                                    {Format::e4m3, Format::bf16, Recipe::absmax, kAll, 8}};
  for (const Wanted& w : tall) {
    for (const int threads : {1, 2, 3, 5}) {
      for (const bool transposed : {false, true}) {
        Copy copy;
        prepare(copy, w, kRows, kCols, nullptr, transposed);
        Options options;
        options.threads = threads;
        const Status status = quantize({dense(x, kRows, kCols), {}, copy.out}, options);
        ASSERT_TRUE(status.ok()) << status.message();
        std::int64_t scale_row = 0;
        expect_rows(copy, w, x, kCols, 0, kRows, scale_row);
      }
    }
  }
}

TEST(QuantizeCopies, TallGroupsBesideSmallOnesAndARowWiseCopy) {
  constexpr std::int64_t kCols = 33;
  const std::vector<std::int64_t> starts = {0, 7, 1300, 2600, 2600};
  const std::vector<std::int64_t> sizes = {5, 1200, 1200, 0, 1};
  std::vector<float> x = make_input(2700, kCols, 12);
  for (const std::int64_t r : {5, 6, 1207, 2500, 2601, 2699}) x[static_cast<std::size_t>(r * kCols)] = NAN;
  const Wanted row{Format::e4m3, Format::f32, Recipe::absmax, 1, 32};
  const Wanted col{Format::e4m3, Format::e8m0, Recipe::mx, kAll, 1};
  for (const int threads : {1, 2, 3, 5}) {
    Copy a;
    Copy b;
    prepare(a, row, 2700, kCols, &sizes);
    prepare(b, col, 2700, kCols, &sizes, true);
    Options options;
    options.threads = threads;
    const Status status = quantize_both(
        {dense(x, 2700, kCols), Groups::from_starts_and_sizes(std::span(starts), std::span(sizes)), a.out, b.out}, options);
    ASSERT_TRUE(status.ok()) << status.message();
    std::int64_t a_row = 0;
    std::int64_t b_row = 0;
    for (std::size_t g = 0; g < sizes.size(); ++g) {
      expect_rows(a, row, x, kCols, starts[g], starts[g] + sizes[g], a_row);
      expect_rows(b, col, x, kCols, starts[g], starts[g] + sizes[g], b_row);
    }
    for (const std::int64_t r : {5, 6, 1207, 2500, 2601, 2699}) {
      for (std::int64_t c = 0; c < kCols; ++c) {
        ASSERT_EQ(a.values[static_cast<std::size_t>(r * kCols + c)], std::byte{0});
        ASSERT_EQ(b.values[static_cast<std::size_t>(c * 2700 + r)], std::byte{0});
      }
    }
  }
}

TEST(QuantizeCopies, EveryMatrixOfABatchHasItsOwnScales) {
  constexpr std::int64_t kRows = 40;
  constexpr std::int64_t kCols = 30;
  const std::vector<float> x = make_input(3 * kRows, kCols, 13);
  for (Wanted w : wanted()) {
    Copy batch;
    Copy one;
    prepare(one, w, kRows, kCols, nullptr);
    prepare_batch(batch, w, 3, kRows, kCols);
    const ConstView input = matrices(static_cast<const void*>(x.data()), Format::f32, 3, kRows, kCols);
    ASSERT_TRUE(quantize({input, {}, batch.out}).ok());
    for (std::size_t b = 0; b < 3; ++b) {
      const ConstView alone = matrix(static_cast<const void*>(&x[b * kRows * kCols]), Format::f32, kRows, kCols);
      ASSERT_TRUE(quantize({alone, {}, one.out}).ok());
      EXPECT_TRUE(std::equal(one.values.begin(), one.values.end(), &batch.values[b * one.values.size()]));
      EXPECT_TRUE(std::equal(one.scales.begin(), one.scales.end(), &batch.scales[b * one.scales.size()]));
    }
  }
}

TEST(QuantizeCopies, HalvesQuantiseAsTheirF32) {
  const std::vector<float> x = make_input(70, 50, 14);
  for (const Format format : {Format::bf16, Format::f16}) {
    const bool bf16 = format == Format::bf16;
    std::vector<std::uint16_t> halves;
    std::vector<float> exact;
    for (const float v : x) {
      halves.push_back(bf16 ? format::f32_to_bf16(v) : format::f32_to_f16(v));
      exact.push_back(bf16 ? format::bf16_to_f32(halves.back()) : format::f16_to_f32(halves.back()));
    }
    for (const Wanted& w : wanted()) {
      Copy copy;
      prepare(copy, w, 70, 50, nullptr);
      ASSERT_TRUE(quantize({matrix(static_cast<const void*>(halves.data()), format, 70, 50), {}, copy.out}).ok());
      std::int64_t scale_row = 0;
      expect_rows(copy, w, exact, 50, 0, 70, scale_row);
    }
  }
}

TEST(QuantizeCopies, GivenScalesAreReadAndBytesAreTheQuotientsRounded) {
  constexpr std::int64_t kRows = 90;
  constexpr std::int64_t kCols = 172;
  std::vector<float> x = make_input(kRows, kCols, 15);
  std::vector<std::uint16_t> words;
  for (float& v : x) {
    words.push_back(format::f32_to_bf16(v));
    v = format::bf16_to_f32(words.back());
  }
  const ConstView inputs[] = {dense(x, kRows, kCols),
                              matrix(static_cast<const void*>(words.data()), Format::bf16, kRows, kCols)};
  for (Wanted w : wanted()) {
    w.recipe = Recipe::fixed;
    Copy copy;
    prepare(copy, w, kRows, kCols, nullptr);
    for (std::size_t i = 0; i < copy.scales.size(); ++i) {  // of every size and either sign, powers of two where e8m0
      const auto bytes = static_cast<std::size_t>(element_bytes(w.scales));
      const std::size_t sign = i / bytes % 3 == 0 ? 0x80 : 0;
      copy.scales[i] = static_cast<std::byte>(i % bytes + 1 == bytes ? sign + 0x3d + i / bytes % 5 : i * 37);
      if (w.scales == Format::e8m0) copy.scales[i] = static_cast<std::byte>(120 + i % 12);
    }
    const std::vector<std::byte> given = copy.scales;
    for (const ConstView& input : inputs) {
      const Status status = quantize({input, {}, copy.out});
      ASSERT_TRUE(status.ok()) << status.message();
      EXPECT_EQ(copy.scales, given);
      std::int64_t scale_row = 0;
      expect_rows(copy, w, x, kCols, 0, kRows, scale_row);
    }
  }
}

TEST(QuantizeCopies, NeverMinus128) {
  const std::vector<float> x = {-1.0F, -0.999F, 1.0F, -128.0F, -3e38F, -127.5F, -1e-38F, 127.6F};
  for (const float scale : {1.0F, 0.5F, 1e-3F}) {
    std::vector<float> given = {scale};
    std::vector<std::int8_t> bytes(x.size());
    QuantizedOut out{matrix(static_cast<void*>(bytes.data()), Format::i8, 1, 8),
                     {matrix(static_cast<void*>(given.data()), Format::f32, 1, 1)},
                     Recipe::fixed};
    ASSERT_TRUE(quantize({dense(x, 1, 8), {}, out}).ok());
    for (const std::int8_t b : bytes) EXPECT_GE(b, -127);
    EXPECT_EQ(bytes[4], -127);
    EXPECT_EQ(bytes[7], 127);
  }
}

TEST(QuantizeCopies, AnyStridesOfInputValuesAndScales) {
  constexpr std::int64_t kRows = 70;
  constexpr std::int64_t kCols = 20;
  const std::vector<float> x = make_input(kRows, kCols, 16);
  const Wanted w{Format::e4m3, Format::f32, Recipe::absmax, 3, 5};
  Copy expected;
  prepare(expected, w, kRows, kCols, nullptr);
  ASSERT_TRUE(quantize({dense(x, kRows, kCols), {}, expected.out}).ok());
  std::vector<float> spread(kRows * kCols * 6, NAN);  // element (r, c) at 3 c + 2 kCols 3 r
  for (std::int64_t i = 0; i < kRows * kCols; ++i) {
    spread[static_cast<std::size_t>(i / kCols * kCols * 6 + i % kCols * 3)] = x[static_cast<std::size_t>(i)];
  }
  std::vector<std::uint8_t> values(kRows * kCols * 2, 0xaa);
  std::vector<float> scales(24 * 4 * 2, -1);
  QuantizedOut out = expected.out;
  out.values = {values.data(), Format::e4m3, 1, kRows, kCols, 0, 2, 2 * kRows};
  out.scales.view = {scales.data(), Format::f32, 1, 24, 4, 0, 2, 48};
  const Status status = quantize({{spread.data(), Format::f32, 1, kRows, kCols, 0, 6 * kCols, 3}, {}, out});
  ASSERT_TRUE(status.ok()) << status.message();
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t c = 0; c < kCols; ++c) {
      ASSERT_EQ(values[2 * r + 2 * kRows * c], std::to_integer<std::uint8_t>(expected.values[r * kCols + c]));
      ASSERT_EQ(values[2 * r + 2 * kRows * c + 1], 0xaa);
    }
  }
  for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ(scales[2 * i + 48], load_scale(Format::f32, expected.scales, i * 4 + 1));
}

TEST(QuantizeCopies, ColumnsAreGatheredFromTheirOwnMatrixAndTile) {
  constexpr std::int64_t kRows = 21;            // two matrices within what is gathered at once
  for (const std::int64_t cols : {40, 5000}) {  // one tile of columns, and two
    const std::vector<float> x = make_input(2 * kRows, cols, 14);
    std::vector<float> turned(x.size());
    for (std::int64_t b = 0; b < 2; ++b) {
      for (std::int64_t r = 0; r < kRows; ++r) {
        for (std::int64_t c = 0; c < cols; ++c)
          turned[static_cast<std::size_t>((b * cols + c) * kRows + r)] =
              x[static_cast<std::size_t>((b * kRows + r) * cols + c)];
      }
    }
    ConstView columns = matrices(static_cast<const void*>(turned.data()), Format::f32, 2, kRows, cols);
    columns.row_stride = 1;
    columns.col_stride = kRows;
    const ConstView rows = matrices(static_cast<const void*>(x.data()), Format::f32, 2, kRows, cols);
    for (const Wanted& w : {Wanted{Format::e4m3, Format::f32, Recipe::absmax, 1, 128},
                            Wanted{Format::e4m3, Format::f32, Recipe::absmax, 128, 1}}) {
      for (const int threads : {1, 2}) {
        std::array<Copy, 2> copies;
        for (std::size_t i = 0; i < 2; ++i) {
          prepare_batch(copies[i], w, 2, kRows, cols);
          Options options;
          options.threads = threads;
          ASSERT_TRUE(quantize({i == 0 ? rows : columns, {}, copies[i].out}, options).ok());
        }
        EXPECT_EQ(copies[0].values, copies[1].values);
        EXPECT_EQ(copies[0].scales, copies[1].scales);
      }
    }
  }
}

TEST(QuantizeCopies, OneThreadNeedsNoExecutorAndMoreThreadsThanWorkDoNoHarm) {
  const std::vector<float> x = make_input(300, 8, 17);
  Copy expected;
  prepare(expected, wanted()[0], 300, 8, nullptr);
  ASSERT_TRUE(quantize({dense(x, 300, 8), {}, expected.out}).ok());
  for (const int threads : {0, 1, std::numeric_limits<int>::max()}) {
    CountingExecutor executor;
    Options options;
    options.executor = &executor;
    options.threads = threads;
    Copy copy;
    prepare(copy, wanted()[0], 300, 8, nullptr);
    ASSERT_TRUE(quantize({dense(x, 300, 8), {}, copy.out}, options).ok());
    EXPECT_EQ(copy.values, expected.values);
    EXPECT_EQ(executor.runs > 0, threads != 1);
  }
}

TEST(QuantizeCopies, EmptyInputsGetScalesOfOne) {
  constexpr std::int64_t kMany = std::int64_t{1} << 40;
  std::vector<float> scales(3, -1);
  QuantizedOut out{{nullptr, Format::e4m3, 1, 0, kMany, 0, kMany, 1},
                   {matrix(static_cast<void*>(scales.data()), Format::f32, 1, 1)}};
  ASSERT_TRUE(quantize({{nullptr, Format::f32, 1, 0, kMany, 0, kMany, 1}, {}, out}).ok());
  EXPECT_EQ(scales, (std::vector<float>{1, -1, -1}));
  const std::vector<std::int32_t> sizes = {0, 0, 0};
  out.values = {nullptr, Format::e4m3, 1, 5, 0, 0, 0, 1};
  out.scales.view.rows = 3;
  ASSERT_TRUE(quantize({{nullptr, Format::bf16, 1, 5, 0, 0, 0, 1}, Groups::from_sizes(std::span(sizes)), out}).ok());
  EXPECT_EQ(scales, (std::vector<float>{1, 1, 1}));
}

}  // namespace
}  // namespace ragdot
