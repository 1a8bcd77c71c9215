// Every table of inner loops that this CPU can run against the portable one and the independent quantiser, bit by bit.
#include "cpu/quantize/routines.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/isa/float_env.hpp"
#include "cpu/isa/quantize/tables.hpp"
#include "cpu/quantize/independent.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

using independent::nearest_code;
using Bytes = std::vector<std::byte>;

constexpr std::array<Format, 3> kByteFormats = {Format::e4m3, Format::e5m2, Format::i8};
constexpr std::array<Format, 6> kFormats = {Format::f32, Format::bf16, Format::f16, Format::e4m3, Format::e5m2, Format::i8};
constexpr std::array<std::int64_t, 8> kBlocks = {1, 3, 8, 16, 32, 40, 128, kWholeAxis};
constexpr std::byte kUntouched{0xa5};

class EveryTable : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (const Routines* table : routines()) {
      if (table->name == GetParam()) table_ = table;
    }
    if (table_->refusal() != nullptr) GTEST_SKIP() << table_->name << ": " << table_->refusal();
  }

  const Routines* table_ = nullptr;
  FloatEnv environment_{FloatEnv::kQuantisers};
};

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const Routines* table : routines()) all.emplace_back(table->name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(Tables, EveryTable, testing::ValuesIn(names()), [](const auto& table) { return table.param; });

Bytes random_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(count);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

SourceRow f32_row(const std::vector<float>& x) {
  return {Format::f32, reinterpret_cast<const std::byte*>(x.data()), static_cast<std::int64_t>(x.size())};
}

/// f32 around every code of a format and every tie between two: themselves and the f32 next to them, both signs.
std::vector<float> boundaries(Format format) {
  std::vector<float> all = {0.0F,
                            0x1p-149F,
                            0x1p-126F,
                            0x1.fffffep127F,
                            INFINITY,
                            std::bit_cast<float>(0x7fc00000U),
                            std::bit_cast<float>(0x7f800001U)};
  for (unsigned code = 0; code < 0x7f; ++code) {
    for (const double between : {0.0, 0.25, 0.5, 0.75}) {
      const double low = independent::code_value(format, code);
      const double high = independent::code_value(format, code + 1);
      const auto x = static_cast<float>(low + (high - low) * between);
      if (!(x > 0)) continue;
      for (int ulps = -2; ulps <= 2; ++ulps)
        all.push_back(std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) + static_cast<std::uint32_t>(ulps)));
    }
  }
  const std::size_t half = all.size();
  for (std::size_t i = 0; i < half; ++i) all.push_back(-all[i]);
  return all;
}

std::vector<float> without_nan(std::vector<float> x) {
  std::erase_if(x, [](float v) { return std::isnan(v); });
  return x;
}

Bytes encoded(const Routines& table, const SourceRow& row, Format values, Scaling scaling, const BlockFactors& factors) {
  Bytes out(static_cast<std::size_t>(row.count));
  table.encode(row, values, scaling, factors, out.data());
  return out;
}

/// 0, 1, 2 and so on, as many as T has; std::iota would step once more.
template <class T>
std::vector<T> all_of_type() {
  std::vector<T> all(std::size_t{std::numeric_limits<T>::max()} + 1);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<T>(i);
  return all;
}

TEST_P(EveryTable, EncodesEveryBf16UnderManyScales) {
  const std::vector<std::uint16_t> all = all_of_type<std::uint16_t>();
  const SourceRow row{Format::bf16, reinterpret_cast<const std::byte*>(all.data()), 65536};
  const float factors[] = {1.0F,     0x1.2492p-4F, 3.0F / 448, 1e-3F, 0x1p-126F, 0x1p100F, 0x1.fffffep-10F, 0x1.8p-1F,
                           7.7e-30F, -0x1.8p2F,    -1e-20F,    0.0F,  -0.0F,     INFINITY, -INFINITY,       NAN};
  for (const Format values : kByteFormats) {
    for (const Scaling scaling : {Scaling::divide, Scaling::divide_by_positive, Scaling::multiply_by_positive}) {
      for (const float factor : factors) {
        if (scaling != Scaling::divide && !(factor > 0 && std::isfinite(factor))) continue;
        const Bytes got = encoded(*table_, row, values, scaling, {&factor, kWholeAxis});
        for (std::size_t i = 0; i < 65536; ++i) {
          const auto x = std::bit_cast<float>(static_cast<std::uint32_t>(i) << 16);
          const float scaled = scaling == Scaling::multiply_by_positive ? x * factor : x / factor;
          if (std::isnan(scaled) && values == Format::i8) continue;
          ASSERT_EQ(std::to_integer<int>(got[i]), nearest_code(values, scaled))
              << name(values) << " of " << x << " and factor " << factor;
        }
      }
    }
  }
}

TEST_P(EveryTable, EncodesEveryBoundary) {
  const float one = 1.0F;
  for (const Format values : kByteFormats) {
    const std::vector<float> x = values == Format::i8 ? without_nan(boundaries(values)) : boundaries(values);
    const Bytes got = encoded(*table_, f32_row(x), values, Scaling::divide, {&one, kWholeAxis});
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(std::to_integer<int>(got[i]), nearest_code(values, x[i])) << name(values) << " of " << x[i];
  }
}

/// The first element where two tables differ.
void expect_same_bytes(const Bytes& got, const Bytes& expected, const std::vector<float>& x,
                       const std::vector<float>& factors) {
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(got[i], expected[i]) << "element " << i << ": " << x[i] << " and factor " << factors[i];
}

TEST_P(EveryTable, EncodesRandomBitsAsThePortableOne) {
  constexpr std::size_t kCount = 10'000'000;
  std::mt19937 random(21);
  std::vector<float> x(kCount);
  std::vector<float> factors(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    const auto other = static_cast<std::uint32_t>(random());
    x[i] = std::bit_cast<float>(bits);
    // Mostly quotients that no format saturates or loses; every eighth factor is any number at all.
    const std::uint32_t near = (bits & 0x7f800000U) - (other >> 23) % 16 * 0x800000U;
    factors[i] = std::bit_cast<float>(i % 8 == 0 ? other : (near & 0x7f800000U) | (other & 0x7fffffU));
  }
  const SourceRow floats = f32_row(x);
  const auto compare = [&](const SourceRow& row, Format values, Scaling scaling) {
    const BlockFactors by{factors.data(), 1};
    expect_same_bytes(encoded(*table_, row, values, scaling, by), encoded(portable::kRoutines, row, values, scaling, by), x,
                      factors);
  };
  compare(floats, Format::e4m3, Scaling::divide);
  compare(floats, Format::e5m2, Scaling::divide);
  std::vector<std::uint16_t> words;
  for (const float v : x) words.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(v) >> 16));
  const SourceRow halves{Format::bf16, reinterpret_cast<const std::byte*>(words.data()), kCount};
  compare(halves, Format::e4m3, Scaling::divide);
  compare(halves, Format::e5m2, Scaling::divide);
  // A product's factor is a power of two: with two NaN it would be the compiler's choice whose sign is left.
  for (float& factor : factors)
    factor = std::bit_cast<float>((std::bit_cast<std::uint32_t>(factor) >> 1 & 0x3f800000U) + 0x20000000U);
  compare(floats, Format::e4m3, Scaling::multiply_by_positive);
  compare(floats, Format::e5m2, Scaling::multiply_by_positive);
  for (float& v : x) v = std::isnan(v) ? 0.0F : v;
  compare(floats, Format::i8, Scaling::divide);
  compare(floats, Format::i8, Scaling::multiply_by_positive);
}

TEST_P(EveryTable, ConvertsEveryCodeAndHalf) {
  const std::vector<std::uint16_t> halves = all_of_type<std::uint16_t>();
  const std::vector<std::uint8_t> codes = all_of_type<std::uint8_t>();
  const std::array<float, 9> scales = {
      1.0F, 0.3F, 0x1p-126F, 0x1p-140F, 1e30F, -2.0F, 0.0F, INFINITY, std::bit_cast<float>(0x7fc00000U)};
  for (const Format from : kFormats) {
    const bool half = element_bytes(from) == 2;
    const auto* data = reinterpret_cast<const std::byte*>(half ? static_cast<const void*>(halves.data()) : codes.data());
    for (const Format to : {Format::f32, Format::bf16, Format::f16}) {
      for (std::size_t s = 0; s <= scales.size(); ++s) {
        const std::int64_t count = half ? 65536 : 256 / element_bytes(from);
        const BlockFactors by{s == scales.size() ? nullptr : &scales[s], kWholeAxis};
        Bytes got(static_cast<std::size_t>(count * element_bytes(to)));
        Bytes expected = got;
        table_->convert({from, data, count, by, to}, got.data());
        portable::kRoutines.convert({from, data, count, by, to}, expected.data());
        ASSERT_EQ(got, expected) << name(from) << " to " << name(to) << ", scale " << s;
      }
    }
  }
}

TEST_P(EveryTable, RoundsRandomF32ToHalvesAsThePortableOne) {
  const Bytes bits = random_bytes(4'000'000, 22);
  for (const Format to : {Format::f32, Format::bf16, Format::f16}) {
    Bytes got(static_cast<std::size_t>(1'000'000 * element_bytes(to)));
    Bytes expected = got;
    table_->convert({Format::f32, bits.data(), 1'000'000, {}, to}, got.data());
    portable::kRoutines.convert({Format::f32, bits.data(), 1'000'000, {}, to}, expected.data());
    ASSERT_EQ(got, expected) << name(to);
  }
}

/// Calls f(row) for rows of every length to 130, from many elements on, which lie at odd addresses.
template <class F>
void every_tail(Format format, F f) {
  const std::int64_t size = element_bytes(format);
  Bytes bytes = random_bytes(static_cast<std::size_t>(200 * size + 1), 23);
  const auto from_every_offset = [&] {
    for (std::int64_t count = 1; count <= 130; ++count) {
      const std::byte* data = bytes.data() + 1 + count % 64 / size * size;
      f(SourceRow{format, data, count});
    }
  };
  from_every_offset();
  if (format != Format::f32 && format != Format::bf16) return;
  for (std::int64_t i = 0; i < 200; i += 11) {
    std::byte* high = bytes.data() + 1 + i * size + size - 2;  // Inf and NaN in every block of a vector and more, of both signs
    high[0] = i % 2 == 0 ? std::byte{0x80} : std::byte{0xc1};
    high[1] = i % 3 == 0 ? std::byte{0x7f} : std::byte{0xff};
  }
  from_every_offset();
}

TEST_P(EveryTable, ConvertsEveryTailAndWritesNothingElse) {
  std::vector<float> scales(130);
  for (std::size_t i = 0; i < scales.size(); ++i) scales[i] = 0.5F + static_cast<float>(i);
  for (const Format from : kFormats) {
    for (const std::int64_t block : kBlocks) {
      every_tail(from, [&](const SourceRow& row) {
        const Format to = row.count % 3 == 0 ? Format::f32 : row.count % 3 == 1 ? Format::bf16 : Format::f16;
        Bytes got(130 * 4 + 9, kUntouched);
        Bytes expected = got;
        table_->convert({from, row.data, row.count, {scales.data(), block}, to}, got.data() + row.count % 9);
        portable::kRoutines.convert({from, row.data, row.count, {scales.data(), block}, to}, expected.data() + row.count % 9);
        ASSERT_EQ(got, expected) << name(from) << " to " << name(to) << ", " << row.count << " elements, block " << block;
      });
    }
  }
}

TEST_P(EveryTable, MeasuresEveryTailAndPassesOverNanAndInf) {
  for (const Format format : {Format::f32, Format::bf16}) {
    for (const std::int64_t block : kBlocks) {
      every_tail(format, [&](const SourceRow& row) {
        std::vector<std::uint32_t> got(132, 0x3f000000U);  // 0.5 has been seen before
        std::vector<std::uint32_t> expected = got;
        for (std::int64_t i = 0; i < row.count; ++i) {
          const float x = format::load_f32(row.data + i * element_bytes(format), format);
          std::uint32_t& most = expected[static_cast<std::size_t>(block == kWholeAxis ? 0 : i / block)];
          if (std::isfinite(x)) most = std::max(most, std::bit_cast<std::uint32_t>(std::abs(x)));
        }
        table_->raise_amax(row, block, got.data());
        ASSERT_EQ(got, expected) << name(format) << ", " << row.count << " elements, block " << block;
      });
    }
  }
}

TEST_P(EveryTable, FindsEveryElementThatIsNotFinite) {
  for (std::size_t count = 1; count <= 70; ++count) {
    std::vector<std::uint16_t> halves(count, 0x7f7f);  // the largest finite
    std::vector<float> floats(count, 0x1.fffffep127F);
    const SourceRow half_row{Format::bf16, reinterpret_cast<const std::byte*>(halves.data()), static_cast<std::int64_t>(count)};
    ASSERT_TRUE(table_->all_finite(half_row) && table_->all_finite(f32_row(floats))) << count;
    for (std::size_t i = 0; i < count; ++i) {
      for (const std::uint32_t bad : {0x7f80U, 0xff80U, 0x7fc0U, 0xff81U}) {
        halves[i] = static_cast<std::uint16_t>(bad);
        floats[i] = std::bit_cast<float>(bad << 16);
        ASSERT_FALSE(table_->all_finite(half_row)) << i << " of " << count;
        ASSERT_FALSE(table_->all_finite(f32_row(floats))) << i << " of " << count;
      }
      halves[i] = 0xff7f;
      floats[i] = -0x1p-149F;
    }
  }
}

TEST_P(EveryTable, EncodesAndQuantisesEveryTailAndWritesNothingElse) {
  std::vector<float> factors(130);
  for (std::size_t i = 0; i < factors.size(); ++i) factors[i] = 0x1p60F / static_cast<float>(i + 3);
  for (const Format format : {Format::f32, Format::bf16}) {
    for (const Format values : {Format::e4m3, Format::e5m2}) {
      for (const std::int64_t block : kBlocks) {
        every_tail(format, [&](const SourceRow& row) {
          Bytes got(140, kUntouched);
          Bytes expected = got;
          for (const Scaling scaling : {Scaling::divide, Scaling::divide_by_positive, Scaling::multiply_by_positive}) {
            got.assign(got.size(), kUntouched);
            expected = got;
            table_->encode(row, values, scaling, {factors.data(), block}, got.data() + row.count % 9);
            portable::kRoutines.encode(row, values, scaling, {factors.data(), block}, expected.data() + row.count % 9);
            ASSERT_EQ(got, expected) << name(format) << " to " << name(values) << ", " << row.count << " elements, block "
                                     << block;
          }
          for (const Recipe recipe : {Recipe::absmax, Recipe::pow2, Recipe::mx}) {
            std::vector<float> scales(132, -1.0F);
            std::vector<float> expected_scales = scales;
            const Format scale_format = recipe == Recipe::absmax && row.count % 2 == 0 ? Format::bf16 : Format::f32;
            table_->quantize(row, {recipe, values, scale_format, block}, scales.data(), got.data());
            portable::kRoutines.quantize(row, {recipe, values, scale_format, block}, expected_scales.data(), expected.data());
            ASSERT_EQ(scales, expected_scales) << name(format) << ", " << row.count << " elements, block " << block;
            ASSERT_EQ(got, expected) << name(format) << ", " << row.count << " elements, block " << block;
          }
        });
      }
    }
  }
}

TEST_P(EveryTable, QuantisesByTheRecipesText) {
  std::mt19937 random(24);
  std::vector<float> x(4096);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = std::ldexp(static_cast<float>(random() % 2001) - 1000.0F, static_cast<int>(i / 128) * 8 - 140);
    if (i / 128 % 5 == 0) x[i] = 0;  // blocks of zeros
    if (i % 97 == 0) x[i] = i % 2 == 0 ? NAN : -INFINITY;
  }
  for (const Format values : kByteFormats) {
    for (const Recipe recipe : {Recipe::absmax, Recipe::pow2, Recipe::mx}) {
      if (values == Format::i8 && recipe == Recipe::mx) continue;
      std::vector<float> row = x;
      for (float& v : row) v = values == Format::i8 && std::isnan(v) ? 1.0F : v;
      std::vector<float> scales(32);
      Bytes got(row.size());
      table_->quantize(f32_row(row), {recipe, values, Format::f32, 128}, scales.data(), got.data());
      for (std::size_t b = 0; b < 32; ++b) {
        double amax = 0;
        for (std::size_t i = b * 128; i < b * 128 + 128; ++i) {
          if (std::isfinite(row[i])) amax = std::max(amax, std::abs(static_cast<double>(row[i])));
        }
        ASSERT_EQ(scales[b], independent::expected_scale(recipe, values, Format::f32, amax)) << "block " << b;
        for (std::size_t i = b * 128; i < b * 128 + 128; ++i)
          ASSERT_EQ(std::to_integer<int>(got[i]), independent::expected_byte(recipe, values, scales[b], row[i])) << row[i];
      }
    }
  }
}

TEST_P(EveryTable, WritesTilesOfEverySizeToAnyStrides) {
  constexpr std::int64_t kPitch = 150;
  const Bytes tile = random_bytes(140 * kPitch, 25);
  for (const std::int64_t rows : {1, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 140}) {
    for (const std::int64_t cols : {1, 7, 15, 16, 17, 48, 150}) {
      for (const std::int64_t row_stride : {1, 2}) {
        const std::int64_t col_stride = rows * row_stride + 3;
        Bytes got(static_cast<std::size_t>(cols * col_stride + 1), kUntouched);
        Bytes expected = got;
        for (std::int64_t r = 0; r < rows; ++r) {
          for (std::int64_t c = 0; c < cols; ++c)
            expected[static_cast<std::size_t>(1 + r * row_stride + c * col_stride)] =
                tile[static_cast<std::size_t>(r * kPitch + c)];
        }
        for (const Stores stores : {Stores::cached, Stores::streamed}) {
          std::fill(got.begin(), got.end(), kUntouched);
          table_->write_tile({tile.data(), kPitch, rows, cols}, {got.data() + 1, row_stride, col_stride, stores});
          ASSERT_EQ(got, expected) << rows << " x " << cols << ", row stride " << row_stride;
        }
      }
    }
  }
}

TEST_P(EveryTable, StreamsTilesToWholeLines) {
  constexpr std::size_t kRows = 192;
  constexpr std::size_t kCols = 37;
  struct alignas(64) Line {
    std::array<std::byte, 64> bytes;
  };
  const Bytes tile = random_bytes(kRows * kCols, 26);
  std::vector<Line> lines(kCols * kRows / 64);
  auto* out = reinterpret_cast<std::byte*>(lines.data());
  table_->write_tile({tile.data(), kCols, kRows, kCols}, {out, 1, kRows, Stores::streamed});
  for (std::size_t i = 0; i < kRows * kCols; ++i) ASSERT_EQ(out[i % kCols * kRows + i / kCols], tile[i]) << i;
}

TEST(Routines, TheLastTableRunsAnywhere) {
  EXPECT_STREQ(routines().back()->name, "portable");
  EXPECT_EQ(routines().back()->refusal(), nullptr);
}

}  // namespace
}  // namespace ragdot::cpu
