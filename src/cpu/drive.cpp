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
  std::byte* part;
  float* row_scales;
  float* col_scales;
  Piece* pieces;

  Scratch(const Call& call, int thread) {
    std::byte* base = call.workspace + call.layout.scratch + call.layout.scratch_stride * static_cast<std::size_t>(thread);
    lhs_panel = base + call.layout.lhs_panel;
    rhs_panel = base + call.layout.rhs_panel;
    acc = reinterpret_cast<float*>(base + call.layout.acc);
    part = base + call.layout.part;
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
  const std::byte* at = side.scale(outer, depth);
  if (side.outer_grid.block == 1 && side.scale_outer_stride == 1 && side.scale_format == Format::f32) {
    std::memcpy(scales, at, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  const std::int64_t step = side.scale_outer_stride * element_bytes(side.scale_format);
  std::int64_t run = side.outer_grid.next_cut(outer) - outer;
  for (std::int64_t i = 0; i < count; at += step, run = side.outer_grid.block) {
    const std::int64_t end = run < count - i ? i + run : count;
    std::fill(scales + i, scales + end, scale_value(at, side.scale_format));
    i = end;
  }
}

/// Fills `pieces` with the next pieces: at most `most` elements when each is padded to `unit`, at most kMostPieces.
std::size_t next_pieces(schedule::PieceWalk& walk, std::int64_t most, std::int64_t unit, Piece* pieces) {
  std::size_t count = 0;
  for (std::int64_t left = most; left > 0 && count < kMostPieces && !walk.done();) {
    const Piece piece = walk.next(left);
    pieces[count++] = piece;
    left -= padded(piece.depth(), unit);
  }
  return count;
}

/// Scales of every segment that ends in `pieces`. Kernels read those of whole register blocks, zeros beyond the tile.
void gather_scales(const Call& call, const Item& item, const Scratch& scratch, std::span<const Piece> pieces) {
  float* rows = scratch.row_scales;
  float* cols = scratch.col_scales;
  for (const Piece& piece : pieces) {
    if (!piece.last) continue;
    std::int64_t at = piece.begin;
    if (fault::on(Id::first_scale_for_all_segments)) at = 0;
    if (fault::on(Id::scale_of_previous_segment) && at > 0) --at;
    gather_scales(item.lhs, item.row, item.rows, at, rows);
    gather_scales(item.rhs, item.col, item.cols, at, cols);
    if (fault::on(Id::lhs_scale_forgotten)) std::fill(rows, rows + item.rows, 1.0F);
    if (fault::on(Id::rhs_scale_of_first_column)) std::fill(cols, cols + item.cols, *cols);
    std::fill(rows + item.rows, rows + padded(item.rows, call.kernel->block_rows), 0.0F);
    std::fill(cols + item.cols, cols + padded(item.cols, call.kernel->block_cols), 0.0F);
    rows += call.tile.tm;
    cols += call.tile.tn;
  }
}

void reduce(const Call& call, const Item& item, const Scratch& scratch) {
  MultiplyJob job;
  job.arithmetic = arithmetic_of(item.lhs, item.rhs);
  job.rows = item.rows;
  job.cols = item.cols;
  job.lhs_panel = scratch.lhs_panel;
  job.rhs_panel = scratch.rhs_panel;
  job.acc = scratch.acc;
  job.part = scratch.part;
  job.strip_rows = call.tile.tm;
  job.first = true;
  if (item.lhs.scaled() || item.rhs.scaled()) {
    job.row_scales = scratch.row_scales;
    job.col_scales = scratch.col_scales;
    job.row_scales_stride = call.tile.tm;
    job.col_scales_stride = call.tile.tn;
  }
  const schedule::AxisGrid none;
  schedule::PieceWalk walk(fault::on(Id::segments_ignore_lhs_grid) ? none : item.lhs.cuts(),
                           fault::on(Id::segments_ignore_rhs_grid) ? none : item.rhs.cuts(), item.depth);
  const std::int64_t unit = call.kernel->depth_unit(job.arithmetic);
  while (!walk.done()) {
    job.pieces = {scratch.pieces, next_pieces(walk, call.tile.tk, unit, scratch.pieces)};
    call.kernel->pack_lhs({&item.lhs, job.arithmetic, item.row, item.rows, job.pieces, scratch.lhs_panel});
    call.kernel->pack_rhs({&item.rhs, job.arithmetic, item.col, item.cols, job.pieces, scratch.rhs_panel});
    if (job.row_scales != nullptr) gather_scales(call, item, scratch, job.pieces);
    call.kernel->multiply(job);
    job.first = job.first && !std::any_of(job.pieces.begin(), job.pieces.end(), [](const Piece& p) { return p.last; });
  }
}

void finish(const Call& call, const Item& item, const Scratch& scratch) {
  const std::int64_t bytes = element_bytes(call.out.format);
  const std::int64_t row_bytes = call.out.row_stride * bytes;
  const bool plain = !call.bias.present() && call.activation == Activation::none && call.out_mode == OutMode::overwrite &&
                     call.out.col_stride == 1 && call.out.format != Format::f16;
  if (plain && call.kernel->store != nullptr) {
    call.kernel->store({scratch.acc, call.tile.tm, item.rows, item.cols, call.out.format, item.out, row_bytes});
    return;
  }
  const EpilogueSpec spec{call.out.format, call.out_mode, call.activation};
  const std::byte* bias = nullptr;
  if (call.bias.present()) {
    const std::int64_t matrix = fault::on(Id::bias_of_first_group) ? 0 : item.matrix;
    bias = static_cast<const std::byte*>(call.bias.data) +
           (matrix * call.bias.row_stride + item.col * call.bias.col_stride) * element_bytes(Format::f32);
  }
  const std::int64_t strip_cols = call.kernel->block_cols;
  for (std::int64_t r = 0; r < item.rows; ++r) {
    const float* sums = scratch.acc + r * strip_cols;
    for (std::int64_t c = 0; c < item.cols; c += strip_cols, sums += call.tile.tm * strip_cols) {
      const std::byte* strip_bias = bias == nullptr ? nullptr : bias + c * call.bias.col_stride * element_bytes(Format::f32);
      finish_row(spec, sums, std::min(strip_cols, item.cols - c), strip_bias, call.bias.col_stride,
                 item.out + r * row_bytes + c * call.out.col_stride * bytes, call.out.col_stride);
    }
  }
}

void compute(const Call& call, const Scratch& scratch, std::int64_t number) {
  const Item item = item_of(call, number);
  if (item.matrix < 0) return zero_rows(call, item);
  if (item.depth == 0) {
    std::fill(scratch.acc, scratch.acc + call.tile.tm * call.tile.tn, 0.0F);
  } else {
    reduce(call, item, scratch);
  }
  finish(call, item, scratch);
}

void work(void* context, int thread) {
  Call& call = *static_cast<Call*>(context);
  const Scratch scratch(call, thread);
  std::optional<FloatEnv> environment;
  if (!fault::on(Id::float_environment_not_set)) environment.emplace();
  if (call.kernel->enter != nullptr) call.kernel->enter();
  for (;;) {
    const std::int64_t number = call.next_item.fetch_add(1, std::memory_order_relaxed);
    if (number >= call.items) break;
    compute(call, scratch, number);
  }
  if (call.kernel->leave != nullptr) call.kernel->leave();
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
