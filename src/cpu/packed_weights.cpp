// Copies in runs: of columns where the source has them side by side, else of rows, a tile at a time.
#include "cpu/packed_weights.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include "cpu/quantize/parallel.hpp"
#include "cpu/side.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

/// Rows [row, row + rows) of columns [col, col + cols) to `to`, kPackedCols elements from row to row.
template <std::size_t kBytes>
void copy_tile(const ConstView& v, std::int64_t b, std::int64_t row, std::int64_t rows, std::int64_t col, std::int64_t cols,
               std::byte* to) {
  const std::byte* from = format::element_at(v, b, row, col);
  const std::int64_t down = v.row_stride * static_cast<std::int64_t>(kBytes);
  const std::int64_t across = v.col_stride * static_cast<std::int64_t>(kBytes);
  std::size_t pitch = (fault::on(fault::Id::packed_tail_columns_dense) ? static_cast<std::size_t>(cols) : kPackedCols) * kBytes;
  if (v.col_stride == 1) {
    for (std::int64_t r = 0; r < rows; ++r, to += pitch)
      std::memcpy(to, from + r * down, static_cast<std::size_t>(cols) * kBytes);
    return;
  }
  for (std::int64_t c = 0; c < cols; ++c) {
    for (std::int64_t r = 0; r < rows; ++r)
      std::memcpy(to + static_cast<std::size_t>(r) * pitch + static_cast<std::size_t>(c) * kBytes, from + c * across + r * down,
                  kBytes);
  }
}

/// The logical view of the copy: its shape, not its strides.
ConstView copy_blocks(const ConstView& v, const Plan::Choice& choice,
                      std::vector<std::byte, plan::LargePageAllocator<std::byte>>& buffer) {
  // Where an extent is 0 the others may be 2^56.
  if (v.batch == 0 || v.rows == 0 || v.cols == 0)
    return matrices(static_cast<const void*>(nullptr), v.format, v.batch, v.rows, v.cols);
  const std::int64_t bytes = element_bytes(v.format);
  const std::int64_t blocks = schedule::ceil_div(v.cols, kPackedCols);
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (blocks > kMost / kPackedCols / bytes / v.rows / v.batch) throw std::bad_alloc();  // blocks are whole, unlike the columns
  buffer.resize(static_cast<std::size_t>(v.batch * blocks * kPackedCols * v.rows * bytes));
  pack_values(v, choice, buffer.data());
  return matrices(static_cast<const void*>(buffer.data()), v.format, v.batch, v.rows, v.cols);
}

/// A dense copy of a view with the same shape, rows outermost.
ConstView copy_dense(const ConstView& v, std::vector<std::byte>& buffer) {
  const auto bytes = static_cast<std::size_t>(element_bytes(v.format));
  buffer.resize(static_cast<std::size_t>(v.batch * v.rows * v.cols) * bytes);
  std::byte* to = buffer.data();
  const std::int64_t batch = buffer.empty() ? 0 : v.batch;  // which may be 2^50 where rows or columns are none
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t r = 0; r < v.rows; ++r) {
      for (std::int64_t c = 0; c < v.cols; ++c, to += bytes)
        std::memcpy(to, format::element_at(v, fault::on(fault::Id::packed_scales_of_first_matrix) ? 0 : b, r, c), bytes);
    }
  }
  return matrices(static_cast<const void*>(buffer.data()), v.format, v.batch, v.rows, v.cols);
}

}  // namespace

void pack_values(const ConstView& v, const Plan::Choice& choice, std::byte* to) {
  const std::int64_t bytes = element_bytes(v.format);
  const std::int64_t blocks = schedule::ceil_div(v.cols, kPackedCols);
  const std::int64_t block_bytes = kPackedCols * v.rows * bytes;
  // Runs of columns so long that memory sees them, which the first-level cache holds as rows.
  constexpr std::int64_t kTileBytes = 512;
  const std::int64_t tile_rows = kTileBytes / bytes;
  Options options;
  options.executor = choice.executor;
  options.threads = choice.threads;
  const std::int64_t all = v.batch * blocks;
  parallel(all, options, thread_count(options, all), [&](const Task& task) {
    const std::int64_t b = task.i / blocks;
    const std::int64_t c = task.i % blocks * kPackedCols;
    const std::int64_t cols = std::min(kPackedCols, v.cols - c);
    std::byte* tile = to + task.i * block_bytes;
    for (std::int64_t r = 0; r < v.rows; r += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, v.rows - r);
      if (bytes == 1) copy_tile<1>(v, b, r, rows, c, cols, tile);
      if (bytes == 2) copy_tile<2>(v, b, r, rows, c, cols, tile);
      if (bytes == 4) copy_tile<4>(v, b, r, rows, c, cols, tile);
      tile += rows * kPackedCols * bytes;
    }
  });
}

std::shared_ptr<const PackedRhs::Contents> packed_weights(const Operand& rhs, const Plan::Choice& choice) {
  auto contents = std::make_shared<PackedRhs::Contents>();
  contents->operand = rhs;
  contents->operand.values = copy_blocks(rhs.values, choice, contents->values);
  if (rhs.scales.present()) contents->operand.scales.view = copy_dense(rhs.scales.view, contents->scales);
  return contents;
}

}  // namespace ragdot::cpu
