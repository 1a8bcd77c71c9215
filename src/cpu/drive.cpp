// Threads take items; an item packs its lhs rows, then strip by strip of columns its rhs, and multiplies and finishes block by
// block.
#include "cpu/drive.hpp"

#include <algorithm>
#include <optional>

#include "cpu/epilogue.hpp"
#include "cpu/isa/float_env.hpp"
#include "cpu/item.hpp"
#include "cpu/scale_row.hpp"
#include "cpu/tile_size.hpp"
#include "cpu/wide_sums.hpp"
#include "format/fault.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

using fault::Id;
using schedule::Piece;

/// The scratch area of one thread.
struct Scratch {
  std::byte* lhs_panel;
  std::byte* rhs_panel;
  float* acc;
  std::byte* part;
  std::int64_t* wide;
  float* row_scales;
  float* col_scales;
  Piece* pieces;

  Scratch(const Call& call, int thread) {
    std::byte* base = call.workspace + call.layout.scratch + call.layout.scratch_stride * static_cast<std::size_t>(thread);
    lhs_panel = base + call.layout.lhs_panel;
    rhs_panel = base + call.layout.rhs_panel;
    acc = reinterpret_cast<float*>(base + call.layout.acc);
    part = base + call.layout.part;
    wide = reinterpret_cast<std::int64_t*>(base + call.layout.wide);
    row_scales = reinterpret_cast<float*>(base + call.layout.row_scales);
    col_scales = reinterpret_cast<float*>(base + call.layout.col_scales);
    pieces = reinterpret_cast<Piece*>(base + call.layout.pieces);
  }
};

/// Fills `pieces` with the next pieces: at most `most` elements when each is padded to `unit`, at most kMostPieces.
std::size_t next_pieces(schedule::PieceWalk& walk, std::int64_t most, std::int64_t unit, Piece* pieces) {
  std::size_t count = 0;
  for (std::int64_t left = most; left > 0 && count < kMostPieces && !walk.done();) {
    const Piece piece = walk.next(left);
    if (piece.depth() == 0) break;  // what is left holds no chunk of the next segment
    pieces[count++] = piece;
    left -= padded(piece.depth(), unit);
  }
  return count;
}

/// A rectangle of an item, counted from the item's first row and column, and where its sums lie.
struct Block {
  std::int64_t row = 0;
  std::int64_t rows = 0;
  std::int64_t col = 0;
  std::int64_t cols = 0;
  std::int64_t sums = 0;  // offset of its first sum in acc and part
  std::int64_t strip_rows = 0;
};

/// A thread's items, each claimed when the thread comes to it or, by next(), a little earlier.
class Claims {
 public:
  explicit Claims(Call& call) : call_(call) {}

  /// False behind the last.
  bool take(Item& item) {
    claim();
    if (any_) item = item_;
    claimed_ = false;
    return any_;
  }

  /// What take() will give; null behind the last and when those that are left are for threads that have none.
  const Item* next() {
    if (!claimed_ && call_.items - call_.next_item.load(std::memory_order_relaxed) <= call_.threads) return nullptr;
    claim();
    return any_ ? &item_ : nullptr;
  }

 private:
  void claim() {
    if (claimed_) return;
    claimed_ = true;
    const std::int64_t number = call_.next_item.fetch_add(1, std::memory_order_relaxed);
    any_ = number < call_.items;
    if (fault::on(Id::last_item_dropped) && call_.items > 1 && number + 1 == call_.items) any_ = false;
    if (any_) item_ = item_of(call_, number);
  }

  Call& call_;
  bool claimed_ = false;
  bool any_ = false;
  Item item_;  // claimed and not yet taken
};

/// Computes one item.
class ItemRun {
 public:
  ItemRun(const Call& call, const Item& item, const Scratch& scratch, Claims& claims)
      : call_(call),
        kernel_(*call.kernel),
        item_(item),
        scratch_(scratch),
        claims_(claims),
        arithmetic_(arithmetic_of(item.lhs, item.rhs)),
        wide_(call.layout.has_wide && arithmetic_ == Arithmetic::i8 && item.depth > kernel_.most_of_i8 &&
              !fault::on(Id::long_i8_sums_wrap)),
        few_rows_(wide_ ? nullptr : way_of_few_rows(call, item)),
        strip_cols_(strip_cols_of(call, few_rows_)),
        stores_(stores_for(call.out.batch * call.out.rows * call.out.cols * element_bytes(call.out.format))) {}

  void run() {
    const schedule::AxisGrid none;
    schedule::PieceWalk walk(fault::on(Id::segments_ignore_lhs_grid) ? none : item_.lhs.cuts(),
                             fault::on(Id::segments_ignore_rhs_grid) ? none : item_.rhs.cuts(), item_.depth);
    if (wide_) return run_wide(walk);
    const std::int64_t unit = kernel_.depth_unit(arithmetic_);
    bool first = true;  // of the reduction tiles
    bool set = false;   // a segment has ended, so acc holds something
    do {
      pieces_ = {scratch_.pieces, next_pieces(walk, call_.tile.tk, unit, scratch_.pieces)};
      reduction_tile(first && walk.done(), set, walk.done());
      first = false;
      set = set || std::any_of(pieces_.begin(), pieces_.end(), [](const Piece& p) { return p.last; });
    } while (!walk.done());
  }

 private:
  /// Parts are emptied behind every reduction tile, which is one piece.
  void run_wide(schedule::PieceWalk& walk) {
    for (bool set = false; !walk.done();) {
      const Piece piece = walk.next(call_.tile.tk);
      sum_wide(piece, set);
      set = set || piece.last;
    }
    each_block(false, [&](const Block& block) { write_out(block, store_job(block)); });
  }

  /// Calls for blocks in the order in which they are multiplied; `alone`: all use the same memory for their sums.
  template <class Each>
  void each_block(bool alone, Each each) const {
    Block block;
    for (block.col = 0; block.col < item_.cols; block.col += strip_cols_) {
      block.cols = std::min(strip_cols_, item_.cols - block.col);
      for (block.row = 0; block.row < item_.rows; block.row += kernel_.inner_rows) {
        block.rows = std::min(kernel_.inner_rows, item_.rows - block.row);
        block.strip_rows = padded(alone ? block.rows : item_.rows, kernel_.block_rows);
        block.sums = alone ? 0 : block.col * block.strip_rows + block.row * kernel_.block_cols;
        each(block);
      }
    }
  }

  void sum_wide(const Piece& piece, bool set) {
    pieces_ = {scratch_.pieces, 1};
    scratch_.pieces[0] = {piece.begin, piece.end, true, false};  // as if it were all that the kernel sums
    reduction_tile(false, set, false);
    scratch_.pieces[0] = piece;
    gather(item_.lhs, item_.row, item_.rows, kernel_.block_rows, call_.tile.tm, scratch_.row_scales);
    each_block(false, [&](const Block& block) {
      gather(item_.rhs, item_.col + block.col, block.cols, kernel_.block_cols, strip_cols_, scratch_.col_scales);
      for (std::int64_t col = 0; col < block.cols; col += kernel_.block_cols) {
        const std::int64_t cols = std::min(kernel_.block_cols, block.cols - col);
        for (std::int64_t row = 0; row < block.rows; ++row) {
          const std::int64_t at = block.sums + col * block.strip_rows + row * kernel_.block_cols;
          add_int32(scratch_.part + at * kernel_.part_bytes, cols, piece.first, scratch_.wide + at);
          if (!piece.last) continue;
          const float scale = scratch_.row_scales[block.row + row];
          end_wide_segment(scratch_.wide + at, cols, scale, scratch_.col_scales + col, !set, scratch_.acc + at);
        }
      }
    });
  }

  /// Multiplies block by block. When this is the item's only reduction tile, every block is finished while its sums are in the
  /// caches, and all use the same memory.
  void reduction_tile(bool only, bool set, bool last) {
    const auto pack_lhs = few_rows_ != nullptr ? few_rows_->pack_lhs : kernel_.pack_lhs;
    pack_lhs({&item_.lhs, arithmetic_, item_.row, item_.rows, pieces_, scratch_.lhs_panel});
    if (scaled()) gather(item_.lhs, item_.row, item_.rows, kernel_.block_rows, call_.tile.tm, scratch_.row_scales);
    each_block(only, [&](const Block& block) {
      if (block.row == 0) {
        if (few_rows_ == nullptr) kernel_.pack_rhs(weights(block));
        if (scaled())
          gather(item_.rhs, item_.col + block.col, block.cols, kernel_.block_cols, strip_cols_, scratch_.col_scales);
      }
      const StoreJob store = store_job(block);
      const bool stored = last && kernel_.stores && item_.depth > 0 && (plain() || adds());
      multiply(block, set, stored ? &store : nullptr);
      if (last && !stored) write_out(block, store);
    });
  }

  void write_out(const Block& block, const StoreJob& store) { plain() ? kernel_.store(store) : finish(block, store); }

  static const FewRows* way_of_few_rows(const Call& call, const Item& item) {
    const Side& rhs = item.rhs;
    if (!rhs.blocked() && rhs.depth_stride != 1 && rhs.outer_stride != 1) return nullptr;
    const plan::Weights weights = rhs.blocked()           ? plan::Weights::packed
                                  : rhs.depth_stride == 1 ? plan::Weights::columns
                                                          : plan::Weights::rows;
    const std::int64_t depth = std::min(item.depth, call.tile.tk);
    for (const FewRows* way : call.kernel->few_rows) {
      if (way != nullptr && way->weights == weights && item.rows <= way->most_rows(item.rhs.format) &&
          depth >= way->least_depth && (way->takes == nullptr || way->takes(item)))
        return way;
    }
    return nullptr;
  }
  /// No more than a tile has: scales of segments stand as far apart.
  static std::int64_t strip_cols_of(const Call& call, const FewRows* way) {
    if (way == nullptr || way->tile_cols == 0) return call.layout.strip_cols;
    return std::min(way->tile_cols, padded(call.tile.tn, call.kernel->block_cols));
  }

  [[nodiscard]] PackJob weights(const Block& block) const {
    return {&item_.rhs, arithmetic_, item_.col + block.col,
            block.cols, pieces_,     few_rows_ == nullptr ? scratch_.rhs_panel : nullptr};
  }

  [[nodiscard]] bool scaled() const { return item_.lhs.scaled() || item_.rhs.scaled(); }

  /// Scales of every segment that ends in the pieces, `stride` apart; zeros up to whole register blocks, which kernels read.
  void gather(const Side& side, std::int64_t outer, std::int64_t count, std::int64_t unit, std::int64_t stride, float* scales) {
    for (const Piece& piece : pieces_) {
      if (!piece.last) continue;
      std::int64_t at = piece.begin;
      if (fault::on(Id::first_scale_for_all_segments)) at = 0;
      if (fault::on(Id::scale_of_previous_segment) && at > 0) --at;
      gather_scales(side, outer, count, at, scales);
      if (fault::on(Id::lhs_scale_forgotten) && &side == &item_.lhs) std::fill(scales, scales + count, 1.0F);
      if (fault::on(Id::rhs_scale_of_first_column) && &side == &item_.rhs) std::fill(scales, scales + count, *scales);
      std::fill(scales + count, scales + padded(count, unit), 0.0F);
      scales += stride;
    }
  }

  void multiply(const Block& block, bool set, const StoreJob* store) {
    MultiplyJob job;
    job.store = store;
    job.arithmetic = arithmetic_;
    job.row = block.row;
    job.rows = block.rows;
    job.cols = block.cols;
    job.lhs_panel = scratch_.lhs_panel;
    job.rhs_panel = scratch_.rhs_panel;
    job.pieces = pieces_;
    job.first = !set;
    if (scaled()) {
      job.row_scales = scratch_.row_scales + block.row;
      job.col_scales = scratch_.col_scales;
      job.row_scales_stride = call_.tile.tm;
      job.col_scales_stride = strip_cols_;
    }
    job.acc = scratch_.acc + block.sums;
    job.part = scratch_.part + block.sums * kernel_.part_bytes;
    job.strip_rows = block.strip_rows;
    if (item_.depth > 0) {
      if (kernel_.asks_ahead && few_rows_ == nullptr && block.row + block.rows == item_.rows) job.ahead = packed_next(block);
      return few_rows_ == nullptr ? kernel_.multiply(job) : few_rows_->multiply(job, weights(block));
    }
    std::fill(job.acc, job.acc + block.strip_rows * padded(block.cols, kernel_.block_cols), 0.0F);
  }

  /// What is packed after a block of an item's last rows.
  [[nodiscard]] std::array<Ahead, 2> packed_next(const Block& block) {
    const std::int64_t begin = pieces_.front().begin;
    const std::int64_t end = pieces_.back().end;
    const std::int64_t col = block.col + block.cols;
    if (col < item_.cols)
      return {ahead_of(item_.rhs, item_.col + col, std::min(strip_cols_, item_.cols - col), begin, end - begin)};
    if (end < item_.depth) return first_packed(item_, end);
    const Item* next = claims_.next();
    return next != nullptr && next->matrix >= 0 ? first_packed(*next, 0) : std::array<Ahead, 2>{};
  }
  /// What the reduction tile at `begin` packs first.
  [[nodiscard]] std::array<Ahead, 2> first_packed(const Item& item, std::int64_t begin) const {
    const std::int64_t depth = std::min(call_.tile.tk, item.depth - begin);
    return {ahead_of(item.rhs, item.col, std::min(call_.layout.strip_cols, item.cols), begin, depth),
            ahead_of(item.lhs, item.row, item.rows, begin, depth)};
  }
  [[nodiscard]] std::byte* out_of(const Block& block) const {
    const View& out = call_.out;
    return item_.out + (block.row * out.row_stride + block.col * out.col_stride) * element_bytes(out.format);
  }

  /// Whether sums go to out as they are, in the order in which kernels write.
  [[nodiscard]] bool bare() const {
    return kernel_.store != nullptr && !call_.bias.present() && call_.activation == Activation::none &&
           call_.out.col_stride == 1;
  }
  [[nodiscard]] bool plain() const { return bare() && call_.out_mode == OutMode::overwrite && call_.out.format != Format::f16; }
  [[nodiscard]] bool adds() const { return bare() && call_.out_mode == OutMode::accumulate; }

  [[nodiscard]] StoreJob store_job(const Block& block) const {
    const View& out = call_.out;
    return {scratch_.acc + block.sums,
            block.strip_rows,
            block.rows,
            block.cols,
            out.format,
            out_of(block),
            out.row_stride * element_bytes(out.format),
            stores_,
            call_.out_mode == OutMode::accumulate};
  }

  void finish(const Block& block, const StoreJob& store) {
    const View& out = call_.out;
    const std::int64_t bytes = element_bytes(out.format);
    std::byte* to = out_of(block);
    const EpilogueSpec spec{out.format, call_.out_mode, call_.activation};
    const std::byte* bias = nullptr;
    if (call_.bias.present()) {
      const std::int64_t matrix = fault::on(Id::bias_of_first_group) ? 0 : item_.matrix;
      bias = format::element_at(call_.bias, 0, matrix, item_.col + block.col);
    }
    if (kernel_.finish != nullptr && out.col_stride == 1 && (bias == nullptr || call_.bias.col_stride == 1)) {
      return kernel_.finish({store, kernel_.block_cols, spec.activation, bias});
    }
    for (std::int64_t r = 0; r < block.rows; ++r) {
      for (std::int64_t c = 0; c < block.cols; c += kernel_.block_cols) {
        finish_row(spec, scratch_.acc + block.sums + c * block.strip_rows + r * kernel_.block_cols,
                   std::min(kernel_.block_cols, block.cols - c),
                   bias == nullptr ? nullptr : bias + c * call_.bias.col_stride * element_bytes(Format::f32),
                   call_.bias.col_stride, to + (r * out.row_stride + c * out.col_stride) * bytes, out.col_stride);
      }
    }
  }

  const Call& call_;
  const Kernel& kernel_;
  const Item& item_;
  const Scratch& scratch_;
  Claims& claims_;
  const Arithmetic arithmetic_;
  const bool wide_;                // parts do not hold its sums
  const FewRows* const few_rows_;  // null: panels of both operands
  const std::int64_t strip_cols_;  // columns that are multiplied at once
  const Stores stores_;
  std::span<const Piece> pieces_;
};

void work(void* context, int thread) {
  Call& call = *static_cast<Call*>(context);
  const Scratch scratch(call, fault::on(Id::scratch_shared) ? 0 : thread);
  std::optional<FloatEnv> environment;
  if (!fault::on(Id::float_environment_not_set)) environment.emplace();
  if (call.kernel->enter != nullptr) call.kernel->enter();
  Claims claims(call);
  for (Item item; claims.take(item);) {
    for (int runs = fault::on(Id::item_run_twice) ? 2 : 1; runs > 0; --runs)
      item.matrix < 0 ? zero_rows(call, item) : ItemRun(call, item, scratch, claims).run();
  }
  if (call.kernel->leave != nullptr) call.kernel->leave();
}

}  // namespace

void drive(Call& call, Executor& executor) {
  call.threads = std::min(call.layout.areas, call.items);
  if (call.threads <= 1) {
    work(&call, 0);
  } else {
    executor.run(static_cast<int>(call.threads), work, &call);
    if (call.next_item.load(std::memory_order_relaxed) < call.items) work(&call, 0);  // where it ran no task
  }
}

}  // namespace ragdot::cpu
