// Threads take stretches: load the rows, measure the blocks of every copy, store their scales, encode.
#include "cpu/quantize/quantize.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/isa/float_env.hpp"
#include "cpu/quantize/recipe.hpp"
#include "cpu/quantize/source.hpp"
#include "cpu/quantize/stretch.hpp"
#include "format/memory.hpp"
#include "schedule/items.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {
namespace {

using schedule::AxisGrid;

std::byte* at(const View& v, std::int64_t b, std::int64_t r, std::int64_t c) {
  return static_cast<std::byte*>(v.data) + (b * v.batch_stride + r * v.row_stride + c * v.col_stride) * element_bytes(v.format);
}

Executor& executor_of(const Options& options) { return options.executor != nullptr ? *options.executor : default_executor(); }

/// Runs task(i, thread) for i in [0, count) on the threads of `options`; the caller's alone when one is enough.
template <class Task>
void parallel(std::int64_t count, const Options& options, int threads, Task task) {
  struct Shared {
    std::atomic<std::int64_t> next{0};
    std::int64_t count;
    Task* task;
  } shared{{}, count, &task};
  const auto work = [](void* context, int thread) {
    auto& s = *static_cast<Shared*>(context);
    const FloatEnv environment(FloatEnv::kQuantisers);
    for (std::int64_t i = 0; (i = s.next.fetch_add(1)) < s.count;) (*s.task)(i, thread);
  };
  const int tasks = static_cast<int>(std::min<std::int64_t>(threads, count));
  if (tasks <= 1) return work(&shared, 0);
  executor_of(options).run(tasks, work, &shared);
}

int thread_count(const Options& options) { return options.threads > 0 ? options.threads : executor_of(options).concurrency(); }

/// What one thread keeps of a stretch: a row, and for each copy the blocks that the stretch holds.
struct Scratch {
  std::vector<float> row;
  std::vector<float> quotients;
  std::vector<std::vector<std::uint32_t>> amax;
  std::vector<std::vector<float>> scales;
};

/// The scale rows of one copy that a stretch holds.
struct BlockRows {
  AxisGrid grid;  // of rows counted from the group's first
  std::int64_t first = 0;
  std::int64_t count = 0;
};

BlockRows block_rows(const Stretch& stretch, const QuantizedOut& out, std::size_t copy) {
  const AxisGrid grid{out.scales.block_rows, 0, stretch.scale_row[copy]};
  const std::int64_t first = grid.index(stretch.rows.begin - stretch.group_begin);
  return {grid, first, grid.index(stretch.rows.end - 1 - stretch.group_begin) - first + 1};
}

/// Calls f(block, first column, end column) for the column blocks of a copy.
template <class F>
void for_column_blocks(const QuantizedOut& out, std::int64_t cols, F f) {
  const AxisGrid grid{out.scales.block_cols, 0, 0};
  for (std::int64_t c = 0; c < cols;) {
    const std::int64_t end = std::min(grid.next_cut(c), cols);
    f(static_cast<std::size_t>(grid.index(c)), c, end);
    c = end;
  }
}

void measure(const QuantizedOut& out, std::span<const float> row, std::uint32_t* amax) {
  for_column_blocks(out, static_cast<std::int64_t>(row.size()), [&](std::size_t block, std::int64_t c, std::int64_t end) {
    std::uint32_t most = amax[block];
    for (; c < end; ++c) {
      const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(row[static_cast<std::size_t>(c)]) & 0x7fffffffU;
      most = magnitude < format::kF32Exponent && magnitude > most ? magnitude : most;
    }
    amax[block] = most;
  });
}

void choose_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRows& rows, std::span<const std::uint32_t> amax,
                   std::span<float> scales) {
  const View& v = out.scales.view;
  for (std::int64_t r = 0; r < rows.count; ++r) {
    for (std::int64_t c = 0; c < v.cols; ++c) {
      const auto i = static_cast<std::size_t>(r * v.cols + c);
      std::byte* place = at(v, matrix, rows.first + r, c);
      if (out.recipe == Recipe::fixed) {
        scales[i] = format::load_f32(place, v.format);
      } else {
        scales[i] = block_scale(out.recipe, out.values.format, v.format, amax[i]);
        store_scale(v.format, scales[i], place);
      }
    }
  }
}

void encode_row(const QuantizedOut& out, std::int64_t matrix, std::int64_t r, const float* scales, Scratch& scratch) {
  const View& v = out.values;
  for_column_blocks(out, v.cols, [&](std::size_t block, std::int64_t c, std::int64_t end) {
    encode_run(out.recipe, v.format, scales[block], scratch.row.data() + c, end - c, scratch.quotients.data(),
               at(v, matrix, r, c), v.col_stride);
  });
}

void quantize_stretch(const Operand& input, const Stretch& stretch, std::span<const QuantizedOut> outs, Scratch& scratch) {
  const auto load = [&](std::int64_t r) {
    load_row(input, {stretch.matrix, r, stretch.group_begin, stretch.input_scale_row}, scratch.row.data());
  };
  const auto for_copies = [&](std::int64_t r, auto f) {  // f(copy, index of the first block of row r)
    for (std::size_t i = 0; i < outs.size(); ++i) {
      const BlockRows rows = block_rows(stretch, outs[i], i);
      f(i, static_cast<std::size_t>((rows.grid.index(r - stretch.group_begin) - rows.first) * outs[i].scales.view.cols));
    }
  };
  for (std::size_t i = 0; i < outs.size(); ++i) {
    const auto blocks = static_cast<std::size_t>(block_rows(stretch, outs[i], i).count * outs[i].scales.view.cols);
    scratch.amax[i].assign(blocks, 0U);
    scratch.scales[i].resize(blocks);
  }
  for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end; ++r) {
    load(r);
    for_copies(r, [&](std::size_t i, std::size_t first) { measure(outs[i], scratch.row, scratch.amax[i].data() + first); });
  }
  for (std::size_t i = 0; i < outs.size(); ++i) {
    choose_scales(outs[i], stretch.matrix, block_rows(stretch, outs[i], i), scratch.amax[i], scratch.scales[i]);
  }
  for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end; ++r) {
    load(r);
    for_copies(r, [&](std::size_t i, std::size_t first) {
      encode_row(outs[i], stretch.matrix, r, scratch.scales[i].data() + first, scratch);
    });
  }
}

/// Scratch for `threads` threads that no stretch outgrows.
std::vector<Scratch> make_scratch(const Operand& input, std::span<const Stretch> stretches, std::span<const QuantizedOut> outs,
                                  int threads) {
  std::vector<Scratch> scratch(static_cast<std::size_t>(threads));
  for (Scratch& s : scratch) {
    s.row.resize(static_cast<std::size_t>(input.values.cols));
    s.quotients.resize(s.row.size());
    s.amax.resize(outs.size());
    s.scales.resize(outs.size());
    for (std::size_t i = 0; i < outs.size(); ++i) {
      std::int64_t most = 0;
      for (const Stretch& stretch : stretches)
        most = stretch.outside ? most : std::max(most, block_rows(stretch, outs[i], i).count);
      s.amax[i].reserve(static_cast<std::size_t>(most * outs[i].scales.view.cols));
      s.scales[i].reserve(s.amax[i].capacity());
    }
  }
  return scratch;
}

void zero_stretch(const Stretch& stretch, const View& out) {
  for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end; ++r) {
    for (std::int64_t c = 0; c < out.cols; ++c)
      std::memset(at(out, stretch.matrix, r, c), 0, static_cast<std::size_t>(element_bytes(out.format)));
  }
}

/// Scales of a copy that no element has: 1.
void fill_unused_scales(const QuantizedOut& out, std::int64_t rows, std::int64_t cols,
                        const std::optional<std::vector<RowRange>>& groups) {
  if (out.recipe == Recipe::fixed) return;
  const View& v = out.scales.view;
  const auto fill_row = [&](std::int64_t b, std::int64_t r) {
    for (std::int64_t c = 0; c < v.cols; ++c) store_scale(v.format, 1.0F, at(v, b, r, c));
  };
  if (rows == 0 || cols == 0) {
    for (std::int64_t b = 0; b < v.batch; ++b) {
      for (std::int64_t r = 0; r < v.rows; ++r) fill_row(b, r);
    }
    return;
  }
  if (!groups || out.scales.block_rows != kWholeAxis) return;  // every other block has rows
  for (std::size_t g = 0; g < groups->size(); ++g) {
    if ((*groups)[g].size() == 0) fill_row(0, static_cast<std::int64_t>(g));
  }
}

template <class IsBad>
std::optional<Place> find(const Operand& input, const std::optional<std::vector<RowRange>>& groups, IsBad is_bad) {
  std::vector<float> row(static_cast<std::size_t>(input.values.cols));
  const FloatEnv environment(FloatEnv::kQuantisers);
  for (const Stretch& stretch : cut_stretches(input, groups, {})) {
    for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end && !stretch.outside; ++r) {
      load_row(input, {stretch.matrix, r, stretch.group_begin, stretch.input_scale_row}, row.data());
      const auto bad = std::find_if(row.begin(), row.end(), is_bad);
      if (bad != row.end()) return Place{stretch.matrix, r, bad - row.begin()};
    }
  }
  return {};
}

}  // namespace

void quantize(const Operand& input, const std::optional<std::vector<RowRange>>& groups, std::span<const QuantizedOut> outs,
              const Options& options) {
  const std::vector<Stretch> stretches = cut_stretches(input, groups, outs);
  const int threads = thread_count(options);
  std::vector<Scratch> scratch = make_scratch(input, stretches, outs, threads);
  for (const QuantizedOut& out : outs) fill_unused_scales(out, input.values.rows, input.values.cols, groups);
  if (input.values.cols == 0) return;
  parallel(static_cast<std::int64_t>(stretches.size()), options, threads, [&](std::int64_t i, int thread) {
    const Stretch& stretch = stretches[static_cast<std::size_t>(i)];
    if (!stretch.outside) return quantize_stretch(input, stretch, outs, scratch[static_cast<std::size_t>(thread)]);
    for (const QuantizedOut& out : outs) zero_stretch(stretch, out.values);
  });
}

void dequantize(const Operand& input, const std::optional<std::vector<RowRange>>& groups, const View& out,
                const Options& options) {
  const std::vector<Stretch> stretches = cut_stretches(input, groups, {});
  const int threads = thread_count(options);
  const auto cols = static_cast<std::size_t>(input.values.cols);
  std::vector<float> rows(static_cast<std::size_t>(threads) * cols);
  parallel(static_cast<std::int64_t>(stretches.size()), options, threads, [&](std::int64_t i, int thread) {
    const Stretch& stretch = stretches[static_cast<std::size_t>(i)];
    if (stretch.outside) return zero_stretch(stretch, out);
    float* row = rows.data() + static_cast<std::size_t>(thread) * cols;
    for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end; ++r) {
      load_row(input, {stretch.matrix, r, stretch.group_begin, stretch.input_scale_row}, row);
      for (std::int64_t c = 0; c < out.cols; ++c) {
        std::byte* place = at(out, stretch.matrix, r, c);
        if (out.format == Format::f32) {
          const auto bits = std::bit_cast<std::uint32_t>(row[c]);
          format::store(place, format::is_nan_bits(bits) ? format::kF32Nan : bits);
        } else {
          format::store(place, out.format == Format::bf16 ? format::f32_to_bf16(row[c]) : format::f32_to_f16(row[c]));
        }
      }
    }
  });
}

std::optional<Place> find_nan(const Operand& input, const std::optional<std::vector<RowRange>>& groups) {
  return find(input, groups, [](float x) { return std::isnan(x); });
}
std::optional<Place> find_inf(const Operand& input, const std::optional<std::vector<RowRange>>& groups) {
  return find(input, groups, [](float x) { return std::isinf(x); });
}

}  // namespace ragdot::cpu
