// Threads take stretches, in bands that hold whole blocks of every copy: load the rows, measure, choose scales, encode. A band
// too tall for one thread is measured and encoded by all of them.
#include "cpu/quantize/quantize.hpp"

#include <algorithm>
#include <atomic>

#include "cpu/quantize/copy.hpp"
#include "cpu/quantize/parallel.hpp"
#include "cpu/quantize/source.hpp"
#include "cpu/quantize/stretch.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {
namespace {

using GroupRows = std::optional<std::vector<RowRange>>;

/// The blocks of one copy in a band that all threads work on, [scale rows, scale columns].
struct SharedBlocks {
  std::vector<std::uint32_t> amax;
  std::vector<float> scales;
};

class Quantiser {
 public:
  /// Allocates everything; may throw std::bad_alloc.
  Quantiser(const Operand& input, std::span<const QuantizedOut> outs, const Options& options,
            std::span<const Stretch> stretches);

  /// Call each of the two for every stretch that is or is not tall; `thread` is below threads().
  void run(const Stretch& stretch, int thread);
  void run_tall(const Stretch& stretch);

  [[nodiscard]] int threads() const { return static_cast<int>(scratch_.size()); }

 private:
  struct Scratch {
    std::vector<float> row;
    std::vector<CopyScratch> copies;
  };

  /// Blocks of the rows that `scratch` is about to measure.
  void clear(const Stretch& stretch, const RowRange& rows, Scratch& scratch) const;
  void measure_row(const Stretch& stretch, const RowRange& band, std::int64_t row, Scratch& scratch) const;
  void measure_into_shared(const Stretch& stretch, const RowRange& rows, Scratch& scratch);
  /// Encodes the loaded row; `scales(copy)` are those of the blocks that begin with the copy's scale row of `first_row`.
  template <class Scales>
  void encode_loaded(const Stretch& stretch, std::int64_t first_row, std::int64_t row, Scales scales, Scratch& scratch) const;
  void begin(Scratch& scratch) const;
  void finish(const Stretch& stretch, Scratch& scratch) const;

  const Operand& input_;
  std::span<const QuantizedOut> outs_;
  const Options& options_;
  std::int64_t band_rows_;
  std::vector<Scratch> scratch_;
  std::vector<SharedBlocks> shared_;
};

/// Scale rows that `rows` consecutive rows of a group can touch at most.
std::int64_t most_blocks(std::int64_t rows, std::int64_t block) {
  return block == kWholeAxis ? 1 : std::min(rows, (rows - 1) / block + 2);
}

Quantiser::Quantiser(const Operand& input, std::span<const QuantizedOut> outs, const Options& options,
                     std::span<const Stretch> stretches)
    : input_(input), outs_(outs), options_(options), band_rows_(common_block(outs)), shared_(outs.size()) {
  std::int64_t tasks = 0;
  for (const Stretch& stretch : stretches) {
    const std::int64_t chunks = schedule::ceil_div(stretch.rows.size(), kTileRows);
    tasks = stretch.tall ? std::max(tasks, chunks) : tasks + 1;
    for (std::size_t i = 0; stretch.tall && i < outs.size(); ++i) {
      const auto blocks =
          static_cast<std::size_t>(block_rows(stretch, outs[i], i, stretch.rows).count * outs[i].scales.view.cols);
      if (blocks <= shared_[i].amax.size()) continue;
      shared_[i].amax.resize(blocks);
      shared_[i].scales.resize(blocks);
    }
  }
  scratch_.resize(static_cast<std::size_t>(thread_count(options, tasks)));
  const std::int64_t rows = std::max(kTileRows, std::min(band_rows_, kTallRows));
  for (Scratch& s : scratch_) {
    s.row.resize(static_cast<std::size_t>(input.values.cols));
    s.copies.resize(outs.size());
    for (std::size_t i = 0; i < outs.size(); ++i) {
      s.copies[i].allocate(outs[i], most_blocks(std::min(rows, input.values.rows), outs[i].scales.block_rows));
    }
  }
}

void Quantiser::begin(Scratch& scratch) const {
  for (CopyScratch& copy : scratch.copies) copy.factors_row = -1;
}

void Quantiser::finish(const Stretch& stretch, Scratch& scratch) const {
  for (std::size_t i = 0; i < outs_.size(); ++i) flush(outs_[i], stretch.matrix, scratch.copies[i]);
}

void Quantiser::clear(const Stretch& stretch, const RowRange& rows, Scratch& scratch) const {
  for (std::size_t i = 0; i < outs_.size(); ++i) {
    const std::int64_t blocks = block_rows(stretch, outs_[i], i, rows).count * outs_[i].scales.view.cols;
    std::fill_n(scratch.copies[i].amax.begin(), blocks, 0U);
  }
}

void Quantiser::measure_row(const Stretch& stretch, const RowRange& band, std::int64_t row, Scratch& scratch) const {
  for (std::size_t i = 0; i < outs_.size(); ++i) {
    if (outs_[i].recipe == Recipe::fixed) continue;
    const BlockRows blocks = block_rows(stretch, outs_[i], i, band);
    const std::int64_t at = (blocks.grid.index(row - stretch.group_begin) - blocks.first) * outs_[i].scales.view.cols;
    measure(outs_[i], scratch.row, scratch.copies[i].amax.data() + at);
  }
}

template <class Scales>
void Quantiser::encode_loaded(const Stretch& stretch, std::int64_t first_row, std::int64_t row, Scales scales,
                              Scratch& scratch) const {
  for (std::size_t i = 0; i < outs_.size(); ++i) {
    const schedule::AxisGrid grid = schedule::group_grid(outs_[i].scales.block_rows, stretch.scale_row[i]);
    const std::int64_t scale_row = grid.index(row - stretch.group_begin);
    const std::int64_t at = (scale_row - grid.index(first_row - stretch.group_begin)) * outs_[i].scales.view.cols;
    encode_row(outs_[i], stretch.matrix, row, scales(i) + at, scale_row, scratch.row, scratch.copies[i]);
  }
}

void Quantiser::run(const Stretch& stretch, int thread) {
  Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
  begin(scratch);
  RowRange band = stretch.rows;
  for (; band.begin < stretch.rows.end; band.begin = band.end) {
    band.end = band_rows_ < stretch.rows.end - band.begin ? band.begin + band_rows_ : stretch.rows.end;
    clear(stretch, band, scratch);
    for (std::int64_t r = band.begin; r < band.end; ++r) {
      load_row(input_, source_row(stretch, r), scratch.row.data());
      measure_row(stretch, band, r, scratch);
    }
    for (std::size_t i = 0; i < outs_.size(); ++i) {
      CopyScratch& copy = scratch.copies[i];
      choose_scales(outs_[i], stretch.matrix, block_rows(stretch, outs_[i], i, band), copy.amax.data(), copy.scales.data());
    }
    for (std::int64_t r = band.begin; r < band.end; ++r) {
      if (band.size() > 1) load_row(input_, source_row(stretch, r), scratch.row.data());
      encode_loaded(stretch, band.begin, r, [&](std::size_t i) { return scratch.copies[i].scales.data(); }, scratch);
    }
  }
  finish(stretch, scratch);
}

void Quantiser::measure_into_shared(const Stretch& stretch, const RowRange& rows, Scratch& scratch) {
  clear(stretch, rows, scratch);
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    load_row(input_, source_row(stretch, r), scratch.row.data());
    measure_row(stretch, rows, r, scratch);
  }
  for (std::size_t i = 0; i < outs_.size(); ++i) {
    if (outs_[i].recipe == Recipe::fixed) continue;
    const BlockRows blocks = block_rows(stretch, outs_[i], i, rows);
    const std::int64_t skip = blocks.first - block_rows(stretch, outs_[i], i, stretch.rows).first;
    std::uint32_t* shared = shared_[i].amax.data() + skip * outs_[i].scales.view.cols;
    for (std::int64_t b = 0; b < blocks.count * outs_[i].scales.view.cols; ++b) {
      const std::uint32_t mine = scratch.copies[i].amax[static_cast<std::size_t>(b)];
      const std::atomic_ref<std::uint32_t> most(shared[b]);
      std::uint32_t seen = most.load(std::memory_order_relaxed);
      while (seen < mine && !most.compare_exchange_weak(seen, mine, std::memory_order_relaxed)) {
      }
    }
  }
}

void Quantiser::run_tall(const Stretch& stretch) {
  for (SharedBlocks& blocks : shared_) std::fill(blocks.amax.begin(), blocks.amax.end(), 0U);
  const auto rows_of = [&](std::int64_t chunk) -> RowRange {
    const std::int64_t first = stretch.rows.begin + chunk * kTileRows;
    return {first, std::min(first + kTileRows, stretch.rows.end)};
  };
  const std::int64_t chunks = schedule::ceil_div(stretch.rows.size(), kTileRows);
  parallel(chunks, options_, threads(), [&](std::int64_t chunk, int thread) {
    measure_into_shared(stretch, rows_of(chunk), scratch_[static_cast<std::size_t>(thread)]);
  });
  parallel(static_cast<std::int64_t>(outs_.size()), options_, 1, [&](std::int64_t copy, int) {
    const auto i = static_cast<std::size_t>(copy);
    choose_scales(outs_[i], stretch.matrix, block_rows(stretch, outs_[i], i, stretch.rows), shared_[i].amax.data(),
                  shared_[i].scales.data());
  });
  parallel(chunks, options_, threads(), [&](std::int64_t chunk, int thread) {
    Scratch& scratch = scratch_[static_cast<std::size_t>(thread)];
    begin(scratch);
    const RowRange rows = rows_of(chunk);
    for (std::int64_t r = rows.begin; r < rows.end; ++r) {
      load_row(input_, source_row(stretch, r), scratch.row.data());
      encode_loaded(stretch, stretch.rows.begin, r, [&](std::size_t i) { return shared_[i].scales.data(); }, scratch);
    }
    finish(stretch, scratch);
  });
}

}  // namespace

void quantize(const Operand& input, const GroupRows& groups, std::span<const QuantizedOut> outs, const Options& options) {
  if (input.values.batch == 0 || input.values.rows == 0 || input.values.cols == 0) {
    for (const QuantizedOut& out : outs) fill_unused_scales(out, input.values, groups);
    return;
  }
  const std::vector<Stretch> stretches = cut_stretches(input, groups, outs);
  Quantiser quantiser(input, outs, options, stretches);
  for (const QuantizedOut& out : outs) fill_unused_scales(out, input.values, groups);
  parallel(static_cast<std::int64_t>(stretches.size()), options, quantiser.threads(), [&](std::int64_t i, int thread) {
    const Stretch& stretch = stretches[static_cast<std::size_t>(i)];
    if (!stretch.outside && !stretch.tall) quantiser.run(stretch, thread);
    for (std::size_t o = 0; stretch.outside && o < outs.size(); ++o) zero_rows(outs[o].values, stretch.matrix, stretch.rows);
  });
  for (const Stretch& stretch : stretches) {
    if (stretch.tall) quantiser.run_tall(stretch);
  }
}

}  // namespace ragdot::cpu
