// Rows of the input of a quantiser as f32: plain values, or scaled ones dequantised on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/quantize/routines.hpp"
#include "cpu/quantize/stretch.hpp"
#include "ragdot/view.hpp"

namespace ragdot::cpu {

/// Reads for one thread.
class RowReader {
 public:
  /// For at most `most_cols` columns at a time. May throw std::bad_alloc.
  RowReader(const Operand& input, const Routines& routines, std::int64_t most_cols);

  /// Some columns of a row, the first of which begins a block of the input's scales, as f32 or bf16: value * scale rounded
  /// once, scales that are subnormal f32 or bf16 as zero. Until the next read.
  [[nodiscard]] SourceRow read(const Stretch& stretch, std::int64_t row, const ColRange& cols);

  /// The same, in the format that is asked for, NaN as the canonical one.
  void convert(const Stretch& stretch, std::int64_t row, const ColRange& cols, Format to, std::byte* out);

  /// Bytes of memory between two elements of the input.
  [[nodiscard]] std::int64_t distance(const Place& from, const Place& to) const;

 private:
  [[nodiscard]] const std::byte* address(const Place& place) const;
  /// Elements next to each other: where they are, or gathered.
  [[nodiscard]] const std::byte* elements(const Stretch& stretch, std::int64_t row, const ColRange& cols);
  /// Gathers the row and those behind it that belong to the stretch, as many as there is room for.
  void gather(const Stretch& stretch, std::int64_t row, const ColRange& cols);
  /// How many bytes behind an element the one lies that is worth asking memory for (SourceRow).
  [[nodiscard]] std::int64_t ahead(const ColRange& cols) const;
  /// Scales of the columns' blocks.
  [[nodiscard]] const float* read_scales(const Stretch& stretch, std::int64_t row, const ColRange& cols);

  const Operand& input_;
  const Routines& routines_;
  std::vector<float> row_;           // unless rows are read where they are
  std::vector<std::byte> gathered_;  // elements of rows that are not contiguous
  std::int64_t pitch_bytes_ = 0;     // from one of these rows to the next
  std::int64_t gathered_matrix_ = -1;
  RowRange gathered_rows_{0, 0};
  ColRange gathered_cols_{0, 0};
  std::vector<float> scales_;  // of the row of scales and the column below
  const std::byte* scales_from_ = nullptr;
};

}  // namespace ragdot::cpu
