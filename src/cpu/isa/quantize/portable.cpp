// The quantisers' inner loops in plain C++: what the other tables must give, and what they use for rows below one vector.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>

#include "cpu/isa/quantize/tables.hpp"
#include "cpu/quantize/recipe.hpp"
#include "format/fault.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

/// Calls f(block, begin, end) for the blocks of a row.
template <class F>
void for_blocks(std::int64_t count, std::int64_t block, F f) {
  for (std::int64_t begin = 0, b = 0; begin < count; ++b) {
    const std::int64_t end = block < count - begin ? begin + block : count;
    f(b, begin, end);
    begin = end;
  }
}

template <class Load>
void load_with(Load load_one, std::int64_t bytes, const std::byte* from, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = load_one(from + i * bytes);
}

// A loop for each common format, so that compilers vectorise it.
void load(Format format, const std::byte* from, std::int64_t count, float* out) {
  const std::int64_t bytes = element_bytes(format);
  switch (format) {
    case Format::f32: return load_with([](const std::byte* p) { return format::load<float>(p); }, bytes, from, count, out);
    case Format::bf16:
      return load_with([](const std::byte* p) { return format::bf16_to_f32(format::load<std::uint16_t>(p)); }, bytes, from,
                       count, out);
    case Format::e4m3:
      return load_with([](const std::byte* p) { return format::kE4m3ToF32[format::load<std::uint8_t>(p)]; }, bytes, from, count,
                       out);
    default: return load_with([&](const std::byte* p) { return format::load_f32(p, format); }, bytes, from, count, out);
  }
}

void store(Format format, const float* x, std::int64_t count, std::byte* out) {
  const auto each = [&](auto round) {
    for (std::int64_t i = 0; i < count; ++i) format::store(out + i * element_bytes(format), round(x[i]));
  };
  switch (format) {
    case Format::bf16: return each(format::f32_to_bf16);
    case Format::f16: return each(format::f32_to_f16);
    default:
      return each([](float v) {
        const auto bits = std::bit_cast<std::uint32_t>(v);
        return format::is_nan_bits(bits) ? format::kF32Nan : bits;
      });
  }
}

/// Elements that are worked on together: they stay in the first-level cache from loop to loop.
constexpr std::int64_t kRun = 256;

/// Calls f(begin, values, count) for runs of [begin, end).
template <class F>
void for_runs(Format format, const std::byte* data, std::int64_t begin, std::int64_t end, F f) {
  std::array<float, kRun> x;
  for (; begin < end; begin += kRun) {
    const std::int64_t count = std::min(kRun, end - begin);
    load(format, data + begin * element_bytes(format), count, x.data());
    f(begin, std::span<float>(x).first(static_cast<std::size_t>(count)));
  }
}

/// x by the factors of its elements, or the one of their block, in loops that compilers vectorise.
void apply(bool divides, std::span<const float> f, std::span<float> x) {
  if (f.size() > 1 && divides) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] /= f[i];
  } else if (f.size() > 1) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= f[i];
  } else if (divides) {
    for (float& v : x) v /= f[0];
  } else {
    for (float& v : x) v *= f[0];
  }
}

/// Calls f(begin, scaled values) for runs that share a factor, or have one each.
template <class F>
void for_scaled_runs(Format format, const std::byte* data, std::int64_t count, bool divides, const BlockFactors& by, F f) {
  for_blocks(count, by.block == 1 ? count : by.block, [&](std::int64_t block, std::int64_t begin, std::int64_t end) {
    for_runs(format, data, begin, end, [&](std::int64_t i, std::span<float> x) {
      const bool own = by.block == 1;
      if (by.factors != nullptr) apply(divides, {by.factors + (own ? i : block), own ? x.size() : 1}, x);
      f(i, x);
    });
  });
}

void convert(const Conversion& row, std::byte* out) {
  for_scaled_runs(row.from, row.data, row.count, false, row.scales, [&](std::int64_t i, std::span<float> x) {
    store(row.to, x.data(), static_cast<std::int64_t>(x.size()), out + i * element_bytes(row.to));
  });
}

/// Bits of |x|, 0 for NaN and Inf.
std::int32_t finite_magnitude(float x) {
  const auto magnitude = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffU);
  std::int32_t infinite = fault::on(fault::Id::inf_counts_in_amax) ? 1 : 0;
  return magnitude < static_cast<std::int32_t>(format::kF32Exponent) + infinite ? magnitude : 0;
}

void raise_amax(const SourceRow& row, std::int64_t block, std::uint32_t* amax) {
  for_blocks(row.count, block == 1 ? row.count : block, [&](std::int64_t b, std::int64_t begin, std::int64_t end) {
    for_runs(row.format, row.data, begin, end, [&](std::int64_t first, std::span<float> x) {
      for (std::size_t i = 0; block == 1 && i < x.size(); ++i) {
        std::uint32_t& most = amax[static_cast<std::size_t>(first) + i];
        most = std::max(most, static_cast<std::uint32_t>(finite_magnitude(x[i])));
      }
      if (block == 1) return;
      auto most = static_cast<std::int32_t>(amax[b]);
      for (const float v : x) most = std::max(most, finite_magnitude(v));
      amax[b] = static_cast<std::uint32_t>(most);
    });
  });
}

bool all_finite(const SourceRow& row) {
  bool finite = true;
  for_runs(row.format, row.data, 0, row.count, [&](std::int64_t, std::span<float> x) {
    for (const float v : x) finite &= (std::bit_cast<std::uint32_t>(v) & format::kF32Exponent) != format::kF32Exponent;
  });
  return finite;
}

std::uint8_t f32_to_i8(float x) {
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to an integer, nearest even
  const float clamped = std::clamp(x, fault::on(fault::Id::i8_reaches_minus_128) ? -128.0F : -127.0F, 127.0F);
  const float rounded = std::isnan(clamped) ? 0.0F : (clamped + kRound) - kRound;  // NaN: of no scale that a call may have
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(rounded));
}

void encode(const SourceRow& row, Format values, Scaling scaling, const BlockFactors& factors, std::byte* out) {
  const auto with = [&](auto to_byte) {
    for_scaled_runs(row.format, row.data, row.count, divides(scaling), factors, [&](std::int64_t first, std::span<float> x) {
      for (std::size_t i = 0; i < x.size(); ++i) out[static_cast<std::size_t>(first) + i] = std::byte{to_byte(x[i])};
    });
  };
  switch (values) {
    case Format::e4m3: return with([](float q) { return format::f32_to_e4m3(q); });
    case Format::e5m2: return with([](float q) { return format::f32_to_e5m2(q); });
    default: return with(f32_to_i8);
  }
}

void quantize(const SourceRow& row, const BlockRecipe& how, float* scales, std::byte* out) {
  const std::int64_t bytes = element_bytes(row.format);
  for_blocks(row.count, how.block, [&](std::int64_t block, std::int64_t begin, std::int64_t end) {
    const SourceRow elements{row.format, row.data + begin * bytes, end - begin};
    std::uint32_t amax = 0;
    raise_amax(elements, kWholeAxis, &amax);
    scales[block] = block_scale(how.recipe, how.values, how.scales, amax);
    const float factor = factor_of(how.recipe, scales[block]);
    encode(elements, how.values, scaling_of(how.recipe), {&factor, kWholeAxis}, out + begin);
  });
}

// Down the columns: a transposed copy has its rows next to each other.
void write_tile(const ByteTile& from, const StridedBytes& to) {
  for (std::int64_t c = 0; c < from.cols; ++c) {
    for (std::int64_t r = 0; r < from.rows; ++r) to.data[r * to.row_stride + c * to.col_stride] = from.data[r * from.pitch + c];
  }
}

}  // namespace

constinit const Routines portable::kRoutines = {
    "portable", [] { return static_cast<const char*>(nullptr); }, convert, raise_amax, all_finite, encode, quantize,
    write_tile};

}  // namespace ragdot::cpu
