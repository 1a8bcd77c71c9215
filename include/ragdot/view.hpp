// Borrowed memory with a shape: a matrix, or a batch of matrices, with a stride for each axis.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "ragdot/types.hpp"

namespace ragdot {

/// Element (b, r, c) lies at data + (b * batch_stride + r * row_stride + c * col_stride) * element_bytes(format).
/// Strides are in elements. Owns nothing. No alignment is asked for. `Void` is void or const void.
template <class Void>
struct BasicView {
  Void* data = nullptr;
  Format format = Format::none;
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t batch_stride = 0;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 1;

  [[nodiscard]] bool present() const { return format != Format::none; }

  /// The same memory with rows and columns exchanged.
  [[nodiscard]] BasicView transposed() const {
    BasicView t = *this;
    std::swap(t.rows, t.cols);
    std::swap(t.row_stride, t.col_stride);
    return t;
  }

  /// A writable view reads as a constant one; never the other way.
  operator BasicView<const void>() const  // NOLINT(google-explicit-constructor)
    requires(!std::is_const_v<Void>)
  {
    return {data, format, batch, rows, cols, batch_stride, row_stride, col_stride};
  }
};

using View = BasicView<void>;
using ConstView = BasicView<const void>;

/// Dense row-major matrix [rows, cols]; `ld` elements from row to row (0: cols).
[[nodiscard]] inline View matrix(void* data, Format format, std::int64_t rows, std::int64_t cols, std::int64_t ld = 0) {
  return {data, format, 1, rows, cols, 0, ld == 0 ? cols : ld, 1};
}
[[nodiscard]] inline ConstView matrix(const void* data, Format format, std::int64_t rows, std::int64_t cols,
                                      std::int64_t ld = 0) {
  return {data, format, 1, rows, cols, 0, ld == 0 ? cols : ld, 1};
}

/// Elements of a dense matrix. Where they pass int64 they wrap instead of being undefined; calls refuse the extents.
[[nodiscard]] constexpr std::int64_t matrix_stride(std::int64_t rows, std::int64_t cols) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(cols));
}

/// Dense batch of row-major matrices [batch, rows, cols].
[[nodiscard]] inline View matrices(void* data, Format format, std::int64_t batch, std::int64_t rows, std::int64_t cols) {
  return {data, format, batch, rows, cols, matrix_stride(rows, cols), cols, 1};
}
[[nodiscard]] inline ConstView matrices(const void* data, Format format, std::int64_t batch, std::int64_t rows,
                                        std::int64_t cols) {
  return {data, format, batch, rows, cols, matrix_stride(rows, cols), cols, 1};
}

/// The scales of an operand: scale (r / block_rows, c / block_cols) belongs to element (r, c); no scales: view.format is none.
/// Formats: f32, bf16, e8m0. Extents are ceil(dim / block), 1 for kWholeAxis; with a per_group row axis the scale rows of all
/// groups follow each other, ceil(size / block_rows) each (kWholeAxis: one each, empty groups too).
struct Scales {
  ConstView view;
  std::int64_t block_rows = kWholeAxis;
  std::int64_t block_cols = kWholeAxis;
  ScaleOrigin origin = ScaleOrigin::global;

  [[nodiscard]] bool present() const { return view.present(); }
};

/// Values and, where they are quantised, scales: dequantised = value * scale.
struct Operand {
  ConstView values;
  Scales scales;

  Operand() = default;
  Operand(ConstView v) : values(v) {}  // NOLINT(google-explicit-constructor)
  Operand(View v) : values(v) {}       // NOLINT(google-explicit-constructor)
  Operand(ConstView v, Scales s) : values(v), scales(s) {}

  /// The same operand with rows and columns exchanged, scales included. Not for an operand with per_group scales: its
  /// groups lie along the rows.
  [[nodiscard]] Operand transposed() const {
    Operand t = *this;
    t.values = values.transposed();
    t.scales.view = scales.view.transposed();
    std::swap(t.scales.block_rows, t.scales.block_cols);
    return t;
  }
};

}  // namespace ragdot
