// Threads take items; an item packs both operands reduction tile by reduction tile, multiplies, and finishes its part of out.
#include "cpu/drive.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "cpu/epilogue.hpp"
#include "cpu/isa/float_env.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu {
namespace {

using fault::Id;
using schedule::Piece;
using schedule::Span;

/// The scratch area of one thread.
struct Scratch {
  std::byte* lhs_panel;
  std::byte* rhs_panel;
  float* acc;
  double* part;
  float* row_scales;
  float* col_scales;
  Piece* pieces;

  Scratch(const Call& call, int thread) {
    std::byte* base = call.workspace + call.layout.scratch + call.layout.scratch_stride * static_cast<std::size_t>(thread);
    lhs_panel = base + call.layout.lhs_panel;
    rhs_panel = base + call.layout.rhs_panel;
    acc = reinterpret_cast<float*>(base + call.layout.acc);
    part = reinterpret_cast<double*>(base + call.layout.part);
    row_scales = reinterpret_cast<float*>(base + call.layout.row_scales);
    col_scales = reinterpret_cast<float*>(base + call.layout.col_scales);
    pieces = reinterpret_cast<Piece*>(base + call.layout.pieces);
  }
};

/// One tile of out and what it is made of.
struct Item {
  Side lhs;
  Side rhs;
  std::int64_t row = 0;
  std::int64_t rows = 0;
  std::int64_t col = 0;
  std::int64_t cols = 0;
  std::int64_t depth = 0;
  std::int64_t matrix = -1;
  std::byte* out = nullptr;  // the tile's first element
};

Item item_of(const Call& call, std::int64_t number) {
  const schedule::Tile tile = schedule::locate(call.spans, number, call.out_rows_per_span(), call.tile.tm, call.tile.tn);
  const Span& span = call.spans[static_cast<std::size_t>(tile.span)];
  Item item;
  item.matrix = span.matrix;
  item.row = tile.row;
  item.col = tile.col;
  const bool is_gmm = call.op == plan::Op::gmm;
  item.rows = std::min(call.tile.tm, (is_gmm ? span.rows.size() : call.out.rows) - tile.row);
  item.cols = std::min(call.tile.tn, call.out.cols - tile.col);
  const std::int64_t out_row = is_gmm ? span.rows.begin + tile.row : tile.row;
  const std::int64_t out_matrix = is_gmm ? 0 : span.matrix;
  item.out = static_cast<std::byte*>(call.out.data) +
             (out_matrix * call.out.batch_stride + out_row * call.out.row_stride + tile.col * call.out.col_stride) *
                 element_bytes(call.out.format);
  if (span.matrix < 0) return item;
  item.depth = is_gmm ? call.depth : span.rows.size();
  if (is_gmm) {
    item.lhs = rows_outer(call.lhs, span);
    item.rhs = weights(call.rhs, span.matrix);
  } else {
    item.lhs = rows_reduced(call.lhs, span, span.scale_row);
    item.rhs = rows_reduced(call.rhs, span, span.scale_row_rhs);
  }
  if (fault::on(Id::last_depth_element_dropped) && item.depth > 1) --item.depth;
  return item;
}

void zero_rows(const Call& call, const Item& item) {
  const std::int64_t bytes = element_bytes(call.out.format);
  for (std::int64_t r = 0; r < item.rows; ++r) {
    std::byte* row = item.out + r * call.out.row_stride * bytes;
    if (call.out.col_stride == 1) {
      std::memset(row, 0, static_cast<std::size_t>(item.cols * bytes));
      continue;
    }
    for (std::int64_t c = 0; c < item.cols; ++c) {
      std::memset(row + c * call.out.col_stride * bytes, 0, static_cast<std::size_t>(bytes));
    }
  }
}

/// A scale as the f32 it stands for. The environment reads subnormals as zero.
float scale_value(const std::byte* at, Format format) {
  std::uint32_t bits = 0;
  if (format == Format::f32) {
    std::memcpy(&bits, at, sizeof bits);
  } else if (format == Format::bf16) {
    std::uint16_t half = 0;
    std::memcpy(&half, at, sizeof half);
    bits = static_cast<std::uint32_t>(half) << 16;
  } else {
    const auto code = std::to_integer<std::uint32_t>(*at);
    bits = code == 255 ? 0x7fc00000U : code << 23;
  }
  return std::bit_cast<float>(bits);
}

/// Scales of `count` outer elements for the segment that holds reduction element `depth`.
void gather_scales(const Side& side, std::int64_t outer, std::int64_t count, std::int64_t depth, float* scales) {
  if (!side.scaled()) {
    std::fill(scales, scales + count, 1.0F);
    return;
  }
  for (std::int64_t i = 0; i < count;) {
    const float value = scale_value(side.scale(outer + i, depth), side.scale_format);
    const std::int64_t cut = std::min(side.outer_grid.next_cut(outer + i) - outer, count);
    for (; i < cut; ++i) scales[i] = value;
  }
}

/// Fills `pieces` with the next pieces of at most `most` elements together; returns how many.
std::size_t next_pieces(schedule::PieceWalk& walk, std::int64_t most, Piece* pieces) {
  std::size_t count = 0;
  for (std::int64_t left = most; left > 0 && !walk.done();) {
    const Piece piece = walk.next(left);
    if (piece.depth() == 0) break;
    pieces[count++] = piece;
    left -= piece.depth();
  }
  return count;
}

void multiply_pieces(const Call& call, const Item& item, const Scratch& scratch, std::span<const Piece> pieces,
                     Arithmetic arithmetic) {
  MultiplyJob job;
  job.arithmetic = arithmetic;
  job.rows = item.rows;
  job.cols = item.cols;
  job.lhs_panel = scratch.lhs_panel;
  job.rhs_panel = scratch.rhs_panel;
  job.acc = scratch.acc;
  job.part = scratch.part;
  job.ld = call.tile.tn;
  for (const Piece& piece : pieces) job.panel_depth += piece.depth();
  const bool scaled = item.lhs.scaled() || item.rhs.scaled();
  for (const Piece& piece : pieces) {
    job.piece = piece;
    if (scaled && piece.last) {
      std::int64_t at = piece.begin;
      if (fault::on(Id::first_scale_for_all_segments)) at = 0;
      if (fault::on(Id::scale_of_previous_segment) && at > 0) --at;
      gather_scales(item.lhs, item.row, item.rows, at, scratch.row_scales);
      gather_scales(item.rhs, item.col, item.cols, at, scratch.col_scales);
      if (fault::on(Id::lhs_scale_forgotten)) std::fill(scratch.row_scales, scratch.row_scales + item.rows, 1.0F);
      if (fault::on(Id::rhs_scale_of_first_column))
        std::fill(scratch.col_scales, scratch.col_scales + item.cols, *scratch.col_scales);
      job.row_scales = scratch.row_scales;
      job.col_scales = scratch.col_scales;
    }
    call.kernel->multiply(job);
    job.piece_offset += piece.depth();
  }
}

void reduce(const Call& call, const Item& item, const Scratch& scratch) {
  const Arithmetic arithmetic = arithmetic_of(item.lhs, item.rhs);
  const schedule::AxisGrid none;
  schedule::PieceWalk walk(fault::on(Id::segments_ignore_lhs_grid) ? none : item.lhs.cuts(),
                           fault::on(Id::segments_ignore_rhs_grid) ? none : item.rhs.cuts(), item.depth);
  while (!walk.done()) {
    const std::span<const Piece> pieces(scratch.pieces, next_pieces(walk, call.tile.tk, scratch.pieces));
    call.kernel->pack_lhs({&item.lhs, arithmetic, item.row, item.rows, pieces, scratch.lhs_panel});
    call.kernel->pack_rhs({&item.rhs, arithmetic, item.col, item.cols, pieces, scratch.rhs_panel});
    multiply_pieces(call, item, scratch, pieces, arithmetic);
  }
}

void finish(const Call& call, const Item& item, const Scratch& scratch) {
  const EpilogueSpec spec{call.out.format, call.out_mode, call.activation};
  const std::byte* bias = nullptr;
  if (call.bias.present()) {
    const std::int64_t matrix = fault::on(Id::bias_of_first_group) ? 0 : item.matrix;
    bias = static_cast<const std::byte*>(call.bias.data) +
           (matrix * call.bias.row_stride + item.col * call.bias.col_stride) * element_bytes(Format::f32);
  }
  const std::int64_t row_bytes = call.out.row_stride * element_bytes(call.out.format);
  for (std::int64_t r = 0; r < item.rows; ++r) {
    finish_row(spec, scratch.acc + r * call.tile.tn, item.cols, bias, call.bias.col_stride, item.out + r * row_bytes,
               call.out.col_stride);
  }
}

void compute(const Call& call, const Scratch& scratch, std::int64_t number) {
  const Item item = item_of(call, number);
  if (item.matrix < 0) return zero_rows(call, item);
  // Rows up to whole register blocks: the kernel reads the accumulators of its padding too.
  const std::int64_t rows = schedule::ceil_div(item.rows, call.kernel->block_rows) * call.kernel->block_rows;
  std::fill(scratch.acc, scratch.acc + rows * call.tile.tn, 0.0F);
  std::fill(scratch.row_scales, scratch.row_scales + call.tile.tm, 0.0F);
  std::fill(scratch.col_scales, scratch.col_scales + call.tile.tn, 0.0F);
  reduce(call, item, scratch);
  finish(call, item, scratch);
}

void work(void* context, int thread) {
  Call& call = *static_cast<Call*>(context);
  const Scratch scratch(call, thread);
  std::optional<FloatEnv> environment;
  if (!fault::on(Id::float_environment_not_set)) environment.emplace();
  for (;;) {
    const std::int64_t number = call.next_item.fetch_add(1, std::memory_order_relaxed);
    if (number >= call.items) return;
    compute(call, scratch, number);
  }
}

}  // namespace

void drive(Call& call, int threads, Executor& executor) {
  const int tasks = static_cast<int>(std::min<std::int64_t>(threads, call.items));
  if (tasks <= 1) {
    work(&call, 0);
  } else {
    executor.run(tasks, work, &call);
  }
}

}  // namespace ragdot::cpu
