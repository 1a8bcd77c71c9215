// Scaled values back to f32, bf16 or f16, and the search for elements that a quantiser has to refuse.
#include <algorithm>
#include <cmath>

#include "cpu/quantize/copy.hpp"
#include "cpu/quantize/parallel.hpp"
#include "cpu/quantize/quantize.hpp"
#include "cpu/quantize/source.hpp"
#include "cpu/quantize/stretch.hpp"
#include "cpu/quantize/strided.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

using GroupRows = std::optional<std::vector<RowRange>>;

bool empty(const Operand& input) { return input.values.batch == 0 || input.values.rows == 0 || input.values.cols == 0; }

/// What a thread reads with, and where it puts a row together whose elements go apart.
struct Scratch {
  RowReader reader;
  std::vector<std::byte> row;
};

/// Calls run(i, scratch) for every one of some stretches; a row of a scratch has `row_bytes`.
template <class Run>
void for_stretches(std::span<const Stretch> stretches, const Operand& input, std::int64_t row_bytes, const Options& options,
                   const Routines& routines, Run run) {
  const auto count = static_cast<std::int64_t>(stretches.size());
  const int threads = thread_count(options, count);
  std::vector<Scratch> scratch(static_cast<std::size_t>(threads),
                               Scratch{RowReader(input, routines, tile_columns(input, {}, 1)),
                                       std::vector<std::byte>(static_cast<std::size_t>(row_bytes))});
  parallel(count, options, threads,
           [&](const Task& task) { run(static_cast<std::size_t>(task.i), scratch[static_cast<std::size_t>(task.thread)]); });
}

template <class IsBad>
std::optional<Place> find(const Operand& input, const GroupRows& groups, const Options& options, const Routines& routines,
                          IsBad is_bad) {
  if (empty(input)) return {};
  const std::vector<Stretch> stretches = cut_stretches(input, groups, {});
  const std::int64_t tile = tile_columns(input, {}, 1);
  std::vector<std::optional<Place>> found(stretches.size());
  for_stretches(stretches, input, 0, options, routines, [&](std::size_t i, Scratch& scratch) {
    const Stretch& stretch = stretches[i];
    for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end && !stretch.outside && !found[i]; ++r) {
      for_tiles(input.values.cols, tile, [&](const ColRange& cols) {
        if (found[i]) return;
        const SourceRow row = scratch.reader.read(stretch, r, cols);
        if (routines.all_finite(row)) return;
        for (std::int64_t c = 0; c < row.count && !found[i]; ++c) {
          if (is_bad(format::load_f32(row.data + c * element_bytes(row.format), row.format)))
            found[i] = Place{stretch.matrix, r, cols.begin + c};
        }
      });
    }
  });
  const auto first = std::find_if(found.begin(), found.end(), [](const auto& place) { return place.has_value(); });
  return first == found.end() ? std::nullopt : *first;
}

}  // namespace

void dequantize(const Operand& input, const GroupRows& groups, const View& out, const Options& options,
                const Routines& routines) {
  if (empty(input)) return;
  const std::vector<Stretch> stretches = cut_stretches(input, groups, {});
  const std::int64_t tile = tile_columns(input, {}, 1);
  const std::int64_t bytes = element_bytes(out.format);
  const bool contiguous = out.col_stride == 1;
  for_stretches(stretches, input, contiguous ? 0 : tile * bytes, options, routines, [&](std::size_t i, Scratch& scratch) {
    const Stretch& stretch = stretches[i];
    if (stretch.outside) return zero_rows(out, stretch.matrix, stretch.rows);
    for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end; ++r) {
      for_tiles(input.values.cols, tile, [&](const ColRange& cols) {
        std::byte* to = format::element_at(out, stretch.matrix, r, cols.begin);
        scratch.reader.convert(stretch, r, cols, out.format, contiguous ? to : scratch.row.data());
        if (!contiguous) move_elements(bytes, cols.size(), {scratch.row.data(), bytes}, {to, out.col_stride * bytes});
      });
    }
  });
}

std::optional<Place> find_nan(const Operand& input, const GroupRows& groups, const Options& options, const Routines& routines) {
  return find(input, groups, options, routines, [](float x) { return std::isnan(x); });
}
std::optional<Place> find_inf(const Operand& input, const GroupRows& groups, const Options& options, const Routines& routines) {
  return find(input, groups, options, routines, [](float x) { return std::isinf(x); });
}

}  // namespace ragdot::cpu
