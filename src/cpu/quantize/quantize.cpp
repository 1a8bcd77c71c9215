// Threads take stretches, tile of columns by tile, in bands that hold whole blocks of every copy. The first pass over a band
// finishes copies whose blocks lie in one row and measures the others; the second reads the band again, from the cache, and
// encodes those. A band too tall for one thread is gone through by all of them.
#include "cpu/quantize/quantize.hpp"

#include <algorithm>
#include <atomic>

#include "cpu/quantize/copy.hpp"
#include "cpu/quantize/parallel.hpp"
#include "cpu/quantize/recipe.hpp"
#include "cpu/quantize/source.hpp"
#include "cpu/quantize/stretch.hpp"
#include "format/fault.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {
namespace {

using GroupRows = std::optional<std::vector<RowRange>>;

/// When the scales of a copy are known.
enum class Known {
  from_start,     // they are given
  from_row,       // a row holds whole blocks
  from_all_rows,  // blocks have to be measured before they can be encoded
};

Known known(const QuantizedOut& out) {
  if (out.recipe == Recipe::fixed) return Known::from_start;
  // Blocks of one element are better measured as a row of columns.
  return out.scales.block_rows == 1 && out.scales.block_cols != 1 ? Known::from_row : Known::from_all_rows;
}

/// Largest magnitudes and factors of some blocks of one copy.
struct Blocks {
  std::vector<std::uint32_t> amax;
  std::vector<float> factors;

  void grow(std::int64_t count) {
    if (count <= static_cast<std::int64_t>(amax.size())) return;
    amax.resize(static_cast<std::size_t>(count));
    factors.resize(static_cast<std::size_t>(count));
  }
};

/// Scale rows that `rows` consecutive rows of a group can touch at most.
std::int64_t most_blocks(std::int64_t rows, std::int64_t block) {
  return block == kWholeAxis ? 1 : std::min(rows, (rows - 1) / block + 2);
}

class Quantiser {
 public:
  /// Allocates everything; may throw std::bad_alloc.
  Quantiser(const Operand& input, std::span<const QuantizedOut> outs, const Options& options, const Routines& routines,
            std::span<const Stretch> stretches);

  /// Call each of the two for every stretch that is or is not tall. `next`() is what the same thread takes then, null where
  /// that is open; `thread` is below threads().
  template <class Next>
  void run(const Stretch& stretch, Next next, int thread);
  void run_tall(const Stretch& stretch);

  [[nodiscard]] int threads() const { return static_cast<int>(scratch_.size()); }

 private:
  struct CopyScratch {
    CopyWriter writer;
    Known known;
    BlockRange range;  // of the rows and columns at hand
    Blocks blocks;
    std::int64_t given_row = -1;  // scale row whose given scales are the factors
  };
  struct Scratch {
    RowReader reader;
    std::vector<CopyScratch> copies;
  };

  /// The blocks of one row of the range at hand.
  [[nodiscard]] static BlockRange row_range(const Stretch& stretch, std::int64_t row, const CopyScratch& copy);
  void first_pass(const Stretch& stretch, const RowRange& rows, const ColRange& cols, Scratch& scratch) const;
  void finish_row(const QuantizedOut& out, const Stretch& stretch, std::int64_t row, const ColRange& cols,
                  const SourceRow& source, CopyScratch& copy) const;
  /// `factors`(copy, row) are those of the blocks of the row's columns. `next`: bytes from each row to what is read after this
  /// pass, where the rows are in the cache.
  template <class Factors>
  void second_pass(const Stretch& stretch, const RowRange& rows, const ColRange& cols, Factors factors,
                   std::optional<std::int64_t> next, Scratch& scratch) const;
  /// Raises the amax that all threads share to what `scratch` has measured.
  void share_amax(const Stretch& stretch, Scratch& scratch);
  [[nodiscard]] BlockRange whole_range(const Stretch& stretch, std::size_t copy) const;
  static void begin(Scratch& scratch);
  static void finish(const Stretch& stretch, const ColRange& cols, Scratch& scratch);

  const Operand& input_;
  std::span<const QuantizedOut> outs_;
  const Options& options_;
  const Routines& routines_;
  bool measures_;  // a copy's scales are known from all rows
  std::int64_t band_rows_;
  std::int64_t band_cols_;   // of a tile with band_rows_ rows
  std::int64_t chunk_cols_;  // of a tile whose rows are read once for each pass
  std::vector<Scratch> scratch_;
  std::vector<Blocks> shared_;  // of a tall stretch, for each copy
};

Quantiser::Quantiser(const Operand& input, std::span<const QuantizedOut> outs, const Options& options, const Routines& routines,
                     std::span<const Stretch> stretches)
    : input_(input),
      outs_(outs),
      options_(options),
      routines_(routines),
      measures_(std::any_of(outs.begin(), outs.end(), [](const auto& out) { return known(out) == Known::from_all_rows; })),
      band_rows_(measures_ ? std::min(common_block(outs), input.values.rows) : kTileRows),
      band_cols_(tile_columns(input, outs, measures_ ? band_rows_ : 1)),
      chunk_cols_(std::max(band_cols_, tile_columns(input, outs, 1))),
      shared_(outs.size()) {
  std::int64_t tasks = 0;
  bool tall = false;
  for (const Stretch& stretch : stretches) {
    tall = tall || stretch.tall;
    tasks = stretch.tall ? std::max(tasks, schedule::ceil_div(stretch.rows.size(), kTileRows)) : tasks + 1;
    for (std::size_t i = 0; stretch.tall && i < outs.size(); ++i) {
      if (known(outs[i]) == Known::from_all_rows) shared_[i].grow(whole_range(stretch, i).count());
    }
  }
  const auto blocks_of = [](const QuantizedOut& out, std::int64_t rows, std::int64_t cols) {
    const std::int64_t block = out.scales.block_cols;
    return (known(out) == Known::from_all_rows ? most_blocks(rows, out.scales.block_rows) : 1) *
           (block == kWholeAxis ? 1 : schedule::ceil_div(cols, block));
  };
  const auto threads = static_cast<std::size_t>(thread_count(options, tasks));
  scratch_.reserve(threads);
  for (std::size_t t = 0; t < threads; ++t) {
    Scratch& s = scratch_.emplace_back(Scratch{RowReader(input, routines, chunk_cols_), {}});
    for (const QuantizedOut& out : outs) {
      CopyScratch& copy = s.copies.emplace_back(CopyScratch{CopyWriter(out, routines, chunk_cols_), known(out), {}, {}});
      copy.blocks.grow(blocks_of(out, std::min(band_rows_, kTallRows), band_cols_));
      if (tall) copy.blocks.grow(blocks_of(out, kTileRows, chunk_cols_));
    }
  }
}

BlockRange Quantiser::whole_range(const Stretch& stretch, std::size_t copy) const {
  return block_range(stretch, outs_[copy], copy, stretch.rows, {0, input_.values.cols});
}

BlockRange Quantiser::row_range(const Stretch& stretch, std::int64_t row, const CopyScratch& copy) {
  const BlockRange& range = copy.range;
  return {range.grid, range.grid.index(row - stretch.group_begin), 1, range.first_col, range.cols};
}

void Quantiser::begin(Scratch& scratch) {
  for (CopyScratch& copy : scratch.copies) copy.given_row = -1;
}

void Quantiser::finish(const Stretch& stretch, const ColRange& cols, Scratch& scratch) {
  if (fault::on(fault::Id::last_tile_unwritten)) return;
  for (CopyScratch& copy : scratch.copies) copy.writer.flush(stretch.matrix, cols);
}

void Quantiser::finish_row(const QuantizedOut& out, const Stretch& stretch, std::int64_t row, const ColRange& cols,
                           const SourceRow& source, CopyScratch& copy) const {
  const BlockRange blocks = row_range(stretch, row, copy);
  const std::int64_t block = out.scales.block_cols;
  const Format values = out.values.format;
  float* factors = copy.blocks.factors.data();
  std::byte* to = copy.writer.place(stretch.matrix, row, cols);
  if (copy.known == Known::from_row) {
    routines_.quantize(source, {out.recipe, values, out.scales.view.format, block}, factors, to);
    store_scales(out, stretch.matrix, blocks, factors);
  } else {
    bool known = fault::on(fault::Id::given_scales_read_once) && copy.given_row >= 0;
    if (copy.given_row != blocks.first_row && !known) read_scales(out, stretch.matrix, blocks, factors);
    copy.given_row = blocks.first_row;
    routines_.encode(source, values, scaling_of(out.recipe), {factors, block}, to);
  }
  copy.writer.written(stretch.matrix, cols);
}

void Quantiser::first_pass(const Stretch& stretch, const RowRange& rows, const ColRange& cols, Scratch& scratch) const {
  for (std::size_t i = 0; i < outs_.size(); ++i) {
    CopyScratch& copy = scratch.copies[i];
    copy.range = block_range(stretch, outs_[i], i, rows, cols);
    if (copy.known == Known::from_all_rows) std::fill_n(copy.blocks.amax.begin(), copy.range.count(), 0U);
  }
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    const SourceRow source = scratch.reader.read(stretch, r, cols);
    for (std::size_t i = 0; i < outs_.size(); ++i) {
      CopyScratch& copy = scratch.copies[i];
      if (copy.known != Known::from_all_rows) {
        finish_row(outs_[i], stretch, r, cols, source, copy);
      } else {
        std::uint32_t* amax = copy.blocks.amax.data() + copy.range.offset(r - stretch.group_begin);
        bool missed = fault::on(fault::Id::amax_misses_last_row) && r + 1 == rows.end && rows.size() > 1;
        if (!missed) routines_.raise_amax(source, outs_[i].scales.block_cols, amax);
      }
    }
  }
}

template <class Factors>
void Quantiser::second_pass(const Stretch& stretch, const RowRange& rows, const ColRange& cols, Factors factors,
                            std::optional<std::int64_t> next, Scratch& scratch) const {
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    SourceRow source = scratch.reader.read(stretch, r, cols);
    if (source.ahead != 0 && next) source.ahead = *next;
    for (std::size_t i = 0; i < outs_.size(); ++i) {
      CopyScratch& copy = scratch.copies[i];
      if (copy.known != Known::from_all_rows) continue;
      routines_.encode(source, outs_[i].values.format, scaling_of(outs_[i].recipe), {factors(i, r), outs_[i].scales.block_cols},
                       copy.writer.place(stretch.matrix, r, cols));
      copy.writer.written(stretch.matrix, cols);
    }
  }
}

template <class Next>
void Quantiser::run(const Stretch& stretch, Next next, int thread) {
  Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
  for_tiles(input_.values.cols, band_cols_, [&](const ColRange& cols) {
    begin(scratch);
    for (RowRange band = stretch.rows; band.begin < stretch.rows.end; band.begin = band.end) {
      band.end = band_rows_ < stretch.rows.end - band.begin ? band.begin + band_rows_ : stretch.rows.end;
      first_pass(stretch, band, cols, scratch);
      for (std::size_t i = 0; i < outs_.size(); ++i) {
        CopyScratch& copy = scratch.copies[i];
        if (copy.known != Known::from_all_rows) continue;
        choose_scales(outs_[i], stretch.matrix, copy.range, copy.blocks.amax.data(), copy.blocks.factors.data());
      }
      const auto factors = [&](std::size_t i, std::int64_t row) {
        const CopyScratch& copy = scratch.copies[i];
        return copy.blocks.factors.data() + copy.range.offset(row - stretch.group_begin);
      };
      const Place here{stretch.matrix, band.begin, cols.begin};
      const auto then = [&]() -> Place {
        if (band.end < stretch.rows.end) return {stretch.matrix, band.end, cols.begin};
        if (cols.end < input_.values.cols) return {stretch.matrix, stretch.rows.begin, cols.end};
        const Stretch* following = next();
        return following != nullptr ? Place{following->matrix, following->rows.begin, 0} : here;
      };
      if (measures_) second_pass(stretch, band, cols, factors, scratch.reader.distance(here, then()), scratch);
    }
    finish(stretch, cols, scratch);
  });
}

void Quantiser::share_amax(const Stretch& stretch, Scratch& scratch) {
  for (std::size_t i = 0; i < outs_.size(); ++i) {
    const CopyScratch& copy = scratch.copies[i];
    if (copy.known != Known::from_all_rows) continue;
    const BlockRange& range = copy.range;
    const BlockRange whole = whole_range(stretch, i);
    for (std::int64_t b = 0; b < range.count(); ++b) {
      const std::int64_t at =
          (range.first_row + b / range.cols - whole.first_row) * whole.cols + range.first_col + b % range.cols;
      const std::uint32_t mine = copy.blocks.amax[static_cast<std::size_t>(b)];
      const std::atomic_ref<std::uint32_t> most(shared_[i].amax[static_cast<std::size_t>(at)]);
      std::uint32_t seen = most.load(std::memory_order_relaxed);
      if (fault::on(fault::Id::shared_amax_overwritten)) most.store(mine, std::memory_order_relaxed);
      while (seen < mine && !most.compare_exchange_weak(seen, mine, std::memory_order_relaxed)) {
      }
    }
  }
}

void Quantiser::run_tall(const Stretch& stretch) {
  for (Blocks& blocks : shared_) std::fill(blocks.amax.begin(), blocks.amax.end(), 0U);
  const auto each_tile = [&](auto task) {
    const std::int64_t chunks = schedule::ceil_div(stretch.rows.size(), kTileRows);
    parallel(chunks, options_, threads(), [&](const Task& part) {
      const std::int64_t first = stretch.rows.begin + part.i * kTileRows;
      Scratch& scratch = scratch_[static_cast<std::size_t>(part.thread)];
      for_tiles(input_.values.cols, chunk_cols_, [&](const ColRange& cols) {
        begin(scratch);
        task(RowRange{first, std::min(first + kTileRows, stretch.rows.end)}, cols, scratch);
        finish(stretch, cols, scratch);
      });
    });
  };
  each_tile([&](const RowRange& rows, const ColRange& cols, Scratch& scratch) {
    first_pass(stretch, rows, cols, scratch);
    share_amax(stretch, scratch);
  });
  parallel(static_cast<std::int64_t>(outs_.size()), options_, 1, [&](const Task& task) {
    const auto i = static_cast<std::size_t>(task.i);
    if (known(outs_[i]) != Known::from_all_rows) return;
    choose_scales(outs_[i], stretch.matrix, whole_range(stretch, i), shared_[i].amax.data(), shared_[i].factors.data());
  });
  each_tile([&](const RowRange& rows, const ColRange& cols, Scratch& scratch) {
    const auto factors = [&](std::size_t i, std::int64_t row) {
      const std::int64_t block = outs_[i].scales.block_cols;
      const float* of_row = shared_[i].factors.data() + whole_range(stretch, i).offset(row - stretch.group_begin);
      return of_row + (block == kWholeAxis ? 0 : cols.begin / block);
    };
    second_pass(stretch, rows, cols, factors, std::nullopt, scratch);
  });
}

}  // namespace

void quantize(const Operand& input, const GroupRows& groups, std::span<const QuantizedOut> outs, const Options& options,
              const Routines& routines) {
  if (input.values.batch == 0 || input.values.rows == 0 || input.values.cols == 0) {
    for (const QuantizedOut& out : outs) fill_unused_scales(out, input.values, groups);
    return;
  }
  const std::vector<Stretch> stretches = cut_stretches(input, groups, outs);
  Quantiser quantiser(input, outs, options, routines, stretches);
  for (const QuantizedOut& out : outs) fill_unused_scales(out, input.values, groups);
  const auto count = static_cast<std::int64_t>(stretches.size());
  parallel(count, options, quantiser.threads(), [&](Task& task) {
    const Stretch& stretch = stretches[static_cast<std::size_t>(task.i)];
    const auto next = [&] {
      const std::int64_t i = task.next();
      return i < count ? &stretches[static_cast<std::size_t>(i)] : nullptr;
    };
    if (!stretch.outside && !stretch.tall) quantiser.run(stretch, next, task.thread);
    const bool zeroed = stretch.outside && !fault::on(fault::Id::quantiser_leaves_rows_outside);
    for (std::size_t o = 0; zeroed && o < outs.size(); ++o) zero_rows(outs[o].values, stretch.matrix, stretch.rows);
  });
  for (const Stretch& stretch : stretches) {
    if (stretch.tall) quantiser.run_tall(stretch);
  }
}

}  // namespace ragdot::cpu
