// The inner loops of the quantisers: a table of them for each instruction set, all with the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/stores.hpp"
#include "ragdot/types.hpp"

namespace ragdot::cpu {

/// A row to quantise: contiguous f32 or bf16, at any alignment. What lies `ahead` bytes behind an element is read soon after
/// it; 0: nothing, or it is in the cache.
struct SourceRow {
  Format format = Format::f32;
  const std::byte* data = nullptr;
  std::int64_t count = 0;
  std::int64_t ahead = 0;
};

/// A factor for each `block` consecutive elements of a row, the last block cut where the row ends.
struct BlockFactors {
  const float* factors = nullptr;
  std::int64_t block = kWholeAxis;
};

/// What an element meets its factor with, before it is rounded. Factors that are positive and finite leave its sign.
enum class Scaling { divide, divide_by_positive, multiply_by_positive };
[[nodiscard]] constexpr bool divides(Scaling scaling) { return scaling != Scaling::multiply_by_positive; }

/// A row of scaled or plain elements of any format, and the format they are wanted in.
struct Conversion {
  Format from = Format::none;
  const std::byte* data = nullptr;
  std::int64_t count = 0;
  BlockFactors scales;  // factors null: none
  Format to = Format::f32;
  std::int64_t ahead = 0;  // as in SourceRow
};

/// How blocks along a row get their scales (recipe.hpp); not for Recipe::fixed.
struct BlockRecipe {
  Recipe recipe = Recipe::absmax;
  Format values = Format::none;
  Format scales = Format::f32;
  std::int64_t block = kWholeAxis;
};

/// Bytes [rows, cols], `pitch` bytes from row to row.
struct ByteTile {
  const std::byte* data = nullptr;
  std::int64_t pitch = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

/// Where the bytes of a tile go: byte (r, c) to data + r * row_stride + c * col_stride.
struct StridedBytes {
  std::byte* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 0;
  Stores stores = Stores::cached;  // streamed: a wish
};

/// Rows may have any length. All need the quantisers' floating-point environment (FloatEnv).
struct Routines {
  const char* name;
  const char* (*refusal)();  // null when this CPU can run them, else why not

  /// value * scale rounded to f32, then to f32, bf16 or f16, each to nearest even; NaN becomes the canonical one.
  void (*convert)(const Conversion& row, std::byte* out);

  /// Raises amax, one for each `block` elements, to the bits of the largest finite |x|.
  void (*raise_amax)(const SourceRow& row, std::int64_t block, std::uint32_t* amax);

  /// Whether a row holds neither NaN nor Inf.
  bool (*all_finite)(const SourceRow& row);

  /// Bytes: the f32 quotient or product of element and factor, to nearest even, saturated; NaN as in format/.
  void (*encode)(const SourceRow& row, Format values, Scaling scaling, const BlockFactors& factors, std::byte* out);

  /// raise_amax from zero, the blocks' scales, and encode.
  void (*quantize)(const SourceRow& row, const BlockRecipe& how, float* scales, std::byte* out);

  /// Copies a tile, down the columns. Other threads that are told so afterwards see all of it.
  void (*write_tile)(const ByteTile& from, const StridedBytes& to);
};

/// The tables of this build, best first. The last runs on any CPU.
[[nodiscard]] std::span<const Routines* const> routines();

}  // namespace ragdot::cpu
