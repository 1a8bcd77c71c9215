// What a kernel is: how it packs an operand into panels, and how it multiplies the panels of one piece of the reduction axis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/side.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {

/// Decodes `count` outer elements from `outer` on, over the given pieces, into a panel.
struct PackJob {
  const Side* side = nullptr;
  Arithmetic arithmetic = Arithmetic::fp8;
  std::int64_t outer = 0;
  std::int64_t count = 0;
  std::span<const schedule::Piece> pieces;
  std::byte* panel = nullptr;
};

/// Multiplies one piece of two panels that were packed from the same pieces, for a tile of rows x cols, and at the end of a
/// segment scales and adds it to the tile's accumulators.
struct MultiplyJob {
  Arithmetic arithmetic = Arithmetic::fp8;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  const std::byte* lhs_panel = nullptr;
  const std::byte* rhs_panel = nullptr;
  std::int64_t panel_depth = 0;   // depth of all pieces of the panels
  std::int64_t piece_offset = 0;  // depth of the pieces before this one
  schedule::Piece piece;
  const float* row_scales = nullptr;  // null: no f32 or bf16 scales on either side
  const float* col_scales = nullptr;
  float* acc = nullptr;    // [rows, ld], row by row; rows and columns up to whole blocks are written
  double* part = nullptr;  // [rows, ld]: the unfinished segment between its pieces
  std::int64_t ld = 0;
};

/// A kernel of one instruction set. Sizes are elements; a panel may be padded up to whole blocks.
struct Kernel {
  const char* name;
  const char* (*refusal)();  // null when this CPU can run it, else why not
  std::int64_t block_rows;   // rows and columns of its register block
  std::int64_t block_cols;
  std::int64_t (*panel_bytes)(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth);
  void (*pack_lhs)(const PackJob& job);
  void (*pack_rhs)(const PackJob& job);
  void (*multiply)(const MultiplyJob& job);
};

/// The kernels of this build, best first.
[[nodiscard]] std::span<const Kernel* const> kernels();

}  // namespace ragdot::cpu
