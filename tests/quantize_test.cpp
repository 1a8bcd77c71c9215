// Random quantisations: any grid, recipe, groups and memory, one copy or two, on every table of routines, against the
// independent quantiser; nothing beside the copies is written.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "cpu/quantize/independent.hpp"
#include "ragdot/kernels.hpp"
#include "ragdot/quantize.hpp"
#include "testing/random.hpp"
#include "testing/relay.hpp"

namespace ragdot::suites {
namespace {

using independent::Wanted;
using testing::Bytes;
using testing::Layout;

class Draw : public testing::Random {
 public:
  using Random::Random;

  std::int64_t extent() { return one_in(12) ? between(0, 1) : one_in(3) ? between(100, 300) : between(2, 99); }
  std::int64_t block() { return of<std::int64_t>({1, 1, 2, 3, 7, 32, 33, 100, 128, 128, 300, kWholeAxis}); }
  Layout layout() {
    Layout l;
    if (one_in(2)) return l;
    return {one_in(3), one_in(2) ? between(1, 40) : 0, one_in(2) ? between(1, 64) : 0, one_in(3) ? between(1, 3) : 0, false};
  }
  Wanted wanted(Format values) {
    Wanted w{values, Format::f32, of({Recipe::absmax, Recipe::pow2, Recipe::mx}), block(), block()};
    if (w.recipe == Recipe::mx && values == Format::i8) w.recipe = Recipe::absmax;
    w.scales = w.recipe == Recipe::absmax ? of({Format::f32, Format::bf16}) : of({Format::f32, Format::bf16, Format::e8m0});
    return w;
  }

  /// Numbers of a format, as f32, with Inf, subnormals and, where they are taken, NaN among them.
  std::vector<float> numbers(std::int64_t count, Format format, bool nan) {
    std::vector<float> x(static_cast<std::size_t>(count));
    const std::int64_t spread = of<std::int64_t>({2, 12, 40});
    for (float& v : x) {
      v = std::ldexp(static_cast<float>(between(-2000, 2000)), static_cast<int>(between(-spread, spread)) - 8);
      if (one_in(60)) v = of({0.0F, -0.0F, INFINITY, -INFINITY, 0x1p-140F, -0x1p-126F, 448.0F, 57344.0F});
      if (nan && one_in(60)) v = NAN;
      if (format == Format::bf16) v = std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) & 0xffff0000U);
      if (format == Format::f16) v = static_cast<float>(static_cast<_Float16>(v));
    }
    return x;
  }
};

Bytes stored(const std::vector<float>& x, Format format) {
  Bytes bytes(x.size() * static_cast<std::size_t>(element_bytes(format)));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto size = static_cast<std::size_t>(element_bytes(format));
    const auto half = static_cast<_Float16>(x[i]);
    const auto* top = reinterpret_cast<const std::byte*>(&x[i]) + 4 - size;  // bf16: the upper half
    std::memcpy(bytes.data() + i * size, format == Format::f16 ? reinterpret_cast<const std::byte*>(&half) : top, size);
  }
  return bytes;
}

/// A copy in memory of some layout, poison between its elements.
struct LaidCopy {
  independent::Copy dense;
  Layout of_values;
  Layout of_scales;
  Bytes values;
  Bytes scales;
  QuantizedOut out;

  void lay() {
    out = dense.out;
    out.values = laid(dense.out.values, of_values, values);
    out.scales.view = laid(dense.out.scales.view, of_scales, scales);
  }
  static View laid(const View& from, const Layout& layout, Bytes& memory) {
    const ConstView filled = relay(from, layout, memory);
    std::fill(memory.begin(), memory.end(), std::byte{0xff});
    return testing::writable(filled, memory.data() + layout.offset);
  }
  /// Brings what was written to `dense`. Whether all else is poison still.
  static bool take(const View& from, const View& to, const Bytes& memory) {
    testing::copy_elements(from, to);
    return !testing::written_between(from, memory);
  }
  bool take() const {
    return take(out.values, dense.out.values, values) && take(out.scales.view, dense.out.scales.view, scales);
  }
};

void check_one(std::uint64_t seed) {
  Draw draw(seed);
  std::int64_t rows = draw.extent();
  std::int64_t cols = draw.extent();
  if (draw.one_in(20)) (draw.one_in(2) ? rows : cols) = draw.between(1000, 9000);
  if (rows > 1000) cols = std::min<std::int64_t>(cols, 40);
  if (cols > 1000) rows = std::min<std::int64_t>(rows, 40);
  const Format values = draw.of({Format::e4m3, Format::e4m3, Format::e5m2, Format::i8});
  const Format format = draw.of({Format::f32, Format::bf16, Format::bf16, Format::f16});
  const std::vector<float> x = draw.numbers(rows * cols, format, values != Format::i8 && format != Format::f16);
  std::vector<std::int64_t> sizes;
  const bool grouped = draw.one_in(2);
  for (std::int64_t left = rows; grouped && draw.between(0, 6) > 0;) {
    sizes.push_back(draw.one_in(4) ? 0 : draw.between(0, left));
    left -= sizes.back();
  }
  std::vector<LaidCopy> copies(draw.one_in(2) ? 2 : 1);
  std::vector<Wanted> wanted;
  for (LaidCopy& copy : copies) {
    wanted.push_back(draw.wanted(values));
    prepare(copy.dense, wanted.back(), rows, cols, grouped ? &sizes : nullptr);
  }
  const Bytes dense = stored(x, format);
  const Layout layout = draw.layout();
  Bytes memory;
  const ConstView input = relay(matrix(static_cast<const void*>(dense.data()), format, rows, cols), layout, memory);
  std::optional<Groups> groups;
  if (grouped) groups = Groups::from_sizes(std::span<const std::int64_t>(sizes));
  for (LaidCopy& copy : copies) {
    copy.of_values = draw.layout();
    copy.of_scales = draw.layout();
  }
  const std::vector<std::int64_t> all = {rows};

  std::vector<independent::Copy> portable;
  for (const char* kernel : {"portable", "avx2", "avx512"}) {
    Options options;
    options.kernel = kernel;
    options.threads = static_cast<int>(draw.between(1, 3));
    for (LaidCopy& copy : copies) copy.lay();
    const Status status = copies.size() == 1 ? quantize({input, groups, copies[0].out}, options)
                                             : quantize_both({input, groups, copies[0].out, copies[1].out}, options);
    if (status.code() == Code::unsupported) continue;  // on this CPU
    ASSERT_TRUE(status.ok()) << status.message();
    for (std::size_t i = 0; i < copies.size(); ++i) {
      ASSERT_TRUE(copies[i].take()) << "copy " << i << " on " << kernel << ": what lies beside it was written";
      if (portable.size() == copies.size()) {
        ASSERT_EQ(copies[i].dense.values, portable[i].values) << "copy " << i << " on " << kernel;
        ASSERT_EQ(copies[i].dense.scales, portable[i].scales) << "copy " << i << " on " << kernel;
        continue;
      }
      std::int64_t scale_row = 0;
      std::int64_t row = 0;
      for (const std::int64_t size : grouped ? sizes : all) {
        expect_rows(copies[i].dense, wanted[i], x, cols, row, row + size, scale_row);
        row += size;
      }
      for (; row < rows; ++row) {
        for (std::int64_t c = 0; c < cols; ++c)
          ASSERT_EQ(copies[i].dense.values[static_cast<std::size_t>(row * cols + c)], std::byte{0}) << "outside, row " << row;
      }
      if (::testing::Test::HasFailure()) FAIL() << "copy " << i << " on " << kernel;
    }
    if (portable.empty()) {
      for (const LaidCopy& copy : copies) portable.push_back(copy.dense);
    }
  }
}

TEST(RandomQuantisations, AreThoseOfTheIndependentQuantiser) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    check_one(seed);
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

}  // namespace
}  // namespace ragdot::suites
