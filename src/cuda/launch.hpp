// What the host half hands to the device half (libragdot_cuda.so): plain structs of device pointers, extents and strides,
// checked and complete. Everything here can be filled and tested on a machine without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ragdot/types.hpp"

namespace ragdot::cuda {

/// Grows when a struct below changes: a device half of another build is refused.
inline constexpr std::int32_t kInterface = 2;

/// Of M, K, N and the number of groups: kernels count in 32 bits, and round up to whole tiles.
inline constexpr std::int64_t kDimensionLimit = std::int64_t{1} << 30;

/// Group numbers in device memory, read by the kernels alone. A start is clamped to [end of the group before, M], an end to
/// [start, M], so wrong numbers give wrong results but no access outside the operands: ranges never overlap, and no numbers
/// need more than most_scale_rows per_group scale rows, which the host has asked for.
struct GroupNumbers {
  std::int32_t kind = 0;         // as ragdot_groups::kind: sizes, ends, offsets, starts and sizes
  std::int32_t index_bits = 32;  // 32 or 64
  const void* data = nullptr;
  const void* sizes = nullptr;  // starts and sizes only
  std::int32_t count = 0;       // G; 0: no groups, all rows are one (quantisers)
  std::int32_t first = 0;       // local groups [first, first + local)
  std::int32_t local = 0;
};

/// Lines of contiguous elements.
struct Lines {
  const void* data = nullptr;
  Format format = Format::none;
  std::int64_t lines = 0;
  std::int64_t length = 0;       // elements
  std::int64_t pitch_bytes = 0;  // from line to line; a multiple of 16
  std::int64_t batch = 1;
  std::int64_t batch_pitch_bytes = 0;
};

/// f32 scales; strides in elements. data null: no scales.
struct ScaleGrid {
  const float* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 0;
};

/// Rows of tokens that lie side by side are fetched by the copy engine from multiples of 16 bytes on, so groups of 8-bit
/// elements have to begin there. Groups that follow each other so, each at the next multiple, need up to 15 more rows each.
inline constexpr std::int64_t kGroupAlignment = 16;
[[nodiscard]] constexpr std::int64_t most_aligned_rows(std::int64_t rows, std::int64_t groups) {
  return rows + (kGroupAlignment - 1) * groups;
}

/// The scale rows that the worst sizes of `groups` groups over `rows` rows need, blocks of `block` rows restarting at each
/// group.
[[nodiscard]] constexpr std::int64_t most_scale_rows(std::int64_t rows, std::int64_t groups, std::int64_t block) {
  const std::int64_t filled = groups < rows ? groups : rows;
  return filled + (rows - filled) / block;
}

enum class Op : std::int32_t { gmm, tgmm };

/// gmm: out[m, n] = sum over k of a[m, k] b[g][k, n]; tgmm: out[g][k, n] = sum over rows m of g of a[m, k] b[m, n].
/// The lines of `a` and `b` lie along the reduction axis (8-bit operands always), or across it (bf16 only):
///   gmm:  a lines [M][K];            b lines [L][N][K], or across [L][K][N]
///   tgmm: a lines [K][M] or across [M][K];  b lines [N][M] or across [M][N]
/// Scales of gmm: a 1 x 128 (row, block of k), b 128 x 128 (block of k as row, block of n as col).
/// Scales of tgmm: 128 x 1, blocks restart at each group: row = the group's first scale row + block, col = k or n.
struct Product {
  Op op = Op::gmm;
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t n = 0;
  Lines a;
  Lines b;
  bool a_across = false;
  bool b_across = false;
  ScaleGrid a_scales;
  ScaleGrid b_scales;
  GroupNumbers groups;
  void* out = nullptr;
  Format out_format = Format::none;  // f32 or bf16
  std::int64_t out_pitch = 0;        // elements from row to row
  std::int64_t out_batch_pitch = 0;  // tgmm: from group to group
  bool accumulate = false;           // out += result; f32
  bool zero_outside = true;          // gmm: rows of no local group become zero
  bool starts_aligned = false;       // tgmm: each group's first row is a multiple of kGroupAlignment
  std::int32_t multiprocessors = 0;  // at most so many; 0: all
  void* workspace = nullptr;         // product_workspace_bytes of it, aligned to 128
};

/// A run of rows of one group (matrix >= 0: the local group) or of none (gmm, matrix -1: rows to be zeroed).
struct Span {
  std::int32_t begin = 0;
  std::int32_t end = 0;
  std::int32_t matrix = -1;
  std::int32_t scale_row = 0;    // the group's first row of per-group 128-row scales
  std::int32_t rows_before = 0;  // rows of earlier groups: the group's first row of per-group 1-row scales
  std::int32_t first_tile = 0;   // tiles of all spans before it
  std::int32_t aligned_row = 0;  // the group's first row where every group begins at a multiple of kGroupAlignment
};

/// Head of the workspace: what the set-up kernel finds. Spans follow at kSpansOffset, then (tgmm) two tensor maps of 128 bytes
/// for each local group, then (tgmm whose groups may begin anywhere) a copy of each operand whose lines lie along the rows.
struct WorkspaceHead {
  std::int32_t spans = 0;
  std::int32_t tiles = 0;
  std::int32_t scale_rows = 0;  // per-group 128-row scales of all groups, local or not
  std::int32_t group_rows = 0;  // rows of all groups, local or not
};
inline constexpr std::int64_t kSpansOffset = 128;

[[nodiscard]] constexpr std::int64_t most_spans(Op op, std::int64_t local) { return op == Op::gmm ? 2 * local + 1 : local; }
[[nodiscard]] constexpr std::int64_t maps_offset(Op op, std::int64_t local) {
  const std::int64_t spans = most_spans(op, local) * static_cast<std::int64_t>(sizeof(Span));
  return kSpansOffset + (spans + 127) / 128 * 128;
}

/// Operands of tgmm whose lines lie along the rows are read from a multiple of 16 bytes on. Unless starts_aligned says that
/// each group begins at one, the workspace has room for copies of the groups that do not: lines of copy_pitch elements, K for
/// `a` and N for `b`.
[[nodiscard]] constexpr bool copies_a(const Product& p) { return p.op == Op::tgmm && !p.a_across && !p.starts_aligned; }
[[nodiscard]] constexpr bool copies_b(const Product& p) { return p.op == Op::tgmm && !p.b_across && !p.starts_aligned; }
[[nodiscard]] constexpr std::int64_t copy_pitch(const Product& p) {
  const std::int64_t rows = p.m + kGroupAlignment * (p.groups.local + 1);
  return (rows + kGroupAlignment - 1) / kGroupAlignment * kGroupAlignment;
}
[[nodiscard]] constexpr std::int64_t copy_a_offset(const Product& p) {
  return maps_offset(p.op, p.groups.local) + (p.op == Op::tgmm ? p.groups.local * 256 : 0);
}
[[nodiscard]] constexpr std::int64_t copy_b_offset(const Product& p) {
  const std::int64_t bytes = copies_a(p) ? p.k * copy_pitch(p) * element_bytes(p.a.format) : 0;
  return copy_a_offset(p) + (bytes + 127) / 128 * 128;
}
/// Whether the copies have rows that kernels can count and less than 2^46 bytes: more are in no device.
[[nodiscard]] constexpr bool has_room_for_copies(const Product& p) {
  return !(copies_a(p) || copies_b(p)) ||
         (copy_pitch(p) < 2 * kDimensionLimit && p.k + p.n <= (std::int64_t{1} << 45) / copy_pitch(p));
}
[[nodiscard]] constexpr std::int64_t product_workspace_bytes(const Product& p) {
  return copy_b_offset(p) + (copies_b(p) ? p.n * copy_pitch(p) * element_bytes(p.b.format) : 0);
}

/// One quantised copy of a quantiser's input [batch, rows, cols]. Strides in elements; data null: not wanted.
struct QuantizedCopy {
  void* values = nullptr;
  Format format = Format::e4m3;  // e4m3 or e5m2
  std::int64_t batch_stride = 0;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 1;  // 1, or row_stride is 1 (transposed storage)
  float* scales = nullptr;      // [batch, blocks of rows, blocks of cols]
  std::int64_t scale_batch_stride = 0;
  std::int64_t scale_row_stride = 0;
  std::int64_t scale_col_stride = 1;
  std::int64_t scale_rows = 0;    // of each matrix, with groups most_scale_rows or more: those behind the last group's become 1
  std::int32_t block_rows = 1;    // 1 or 128
  std::int32_t block_cols = 128;  // 1 or 128
  Recipe recipe = Recipe::absmax;
  /// Transposed storage with groups: each group begins at the next multiple of kGroupAlignment rows behind the one before, and
  /// what is no group's is not written. There is room for most_aligned_rows.
  bool aligned_groups = false;
};

/// One read of the input, one or two quantised copies. With groups the row blocks restart at each group, rows of no group get
/// zero bytes; scales that cover nothing are 1.
struct Quantize {
  const void* input = nullptr;
  Format input_format = Format::bf16;  // bf16 or f32
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t batch_stride = 0;
  std::int64_t row_stride = 0;  // columns are contiguous
  GroupNumbers groups;
  QuantizedCopy first;
  QuantizedCopy second;
  // Written: where the groups of an aligned copy begin and how many rows they have, in the groups' index type. Null: not
  // wanted.
  void* aligned_starts = nullptr;
  void* aligned_sizes = nullptr;
  std::int32_t multiprocessors = 0;
  void* workspace = nullptr;  // quantize_workspace_bytes of it, aligned to 128
};
[[nodiscard]] constexpr std::int64_t quantize_workspace_bytes(std::int64_t groups) { return maps_offset(Op::gmm, groups); }

/// What libragdot_cuda.so offers: `ragdot_cuda_device_half` returns it. Each function enqueues on `stream` (a cudaStream_t) and
/// returns null, or a static sentence of what the driver refused.
struct DeviceHalf {
  std::int32_t interface = kInterface;
  /// Null when the current device can run the kernels, else why not.
  const char* (*refusal)() = nullptr;
  const char* (*product)(const Product&, void* stream) = nullptr;
  const char* (*quantize)(const Quantize&, void* stream) = nullptr;
  /// Null when kernels of the current device can use this address, else where it lies: "memory of the host, which ...". Asks
  /// the driver, not the stream, so that it may be called while a stream is captured. A null function: not known.
  const char* (*not_device_pointer)(const void* address) = nullptr;
};
using DeviceHalfFunction = const DeviceHalf* (*)();

}  // namespace ragdot::cuda
