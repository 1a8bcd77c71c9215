// A stretch ends where the blocks of all copies end, once it has enough rows to be worth a task.
#include "cpu/quantize/stretch.hpp"

#include <algorithm>
#include <numeric>

#include "format/fault.hpp"
#include "schedule/items.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {
namespace {

constexpr std::int64_t kEnoughRows = 64;
// An eighth to a quarter of a second-level cache: the next tile, and copies, need room as well.
constexpr std::int64_t kBandBytes = 256 << 10;
constexpr std::int64_t kMostColumns = 4096;   // 16 KiB as f32
constexpr std::int64_t kFewestColumns = 512;  // shorter runs cost more in memory than they save in the cache

/// Smallest common multiple, kWholeAxis where it is out of range.
std::int64_t common_multiple(std::int64_t a, std::int64_t b) {
  if (a == kWholeAxis || b == kWholeAxis) return kWholeAxis;
  const std::int64_t factor = b / std::gcd(a, b);
  return a > kWholeAxis / factor ? kWholeAxis : a * factor;
}

void cut_group(Stretch whole, std::int64_t block, std::vector<Stretch>& stretches) {
  const std::int64_t end = whole.rows.end;
  const std::int64_t step = block >= kEnoughRows ? block : (kEnoughRows + block - 1) / block * block;
  for (std::int64_t row = whole.rows.begin; row < end; row = whole.rows.end) {
    whole.rows = {row, step > end - row ? end : row + step};
    whole.tall = block > kTallRows && whole.rows.size() > kTallRows;
    stretches.push_back(whole);
  }
}

}  // namespace

std::int64_t common_block(std::span<const QuantizedOut> outs) {
  std::int64_t rows = 1;
  for (const QuantizedOut& out : outs) {
    if (out.recipe != Recipe::fixed) rows = common_multiple(rows, out.scales.block_rows);
  }
  return rows;
}

std::int64_t tile_columns(const Operand& input, std::span<const QuantizedOut> outs, std::int64_t rows) {
  std::int64_t block = input.scales.present() ? input.scales.block_cols : 1;
  for (const QuantizedOut& out : outs) block = common_multiple(block, out.scales.block_cols);
  const std::int64_t band_columns = kBandBytes / (std::min(rows, kTallRows) * element_bytes(input.values.format));
  const std::int64_t enough = std::clamp(band_columns, kFewestColumns, kMostColumns);
  const std::int64_t cols = input.values.cols;
  if (block >= enough || block >= cols) return std::min(block, cols);
  const std::int64_t lines = common_multiple(block, 64);  // so that rows of tiles begin with a cache line, whatever the format
  const std::int64_t unit = lines <= enough ? lines : block;
  const std::int64_t units = schedule::ceil_div(cols, unit);
  const std::int64_t tiles = schedule::ceil_div(units, enough / unit);
  return std::min(schedule::ceil_div(units, tiles) * unit, cols);  // of nearly equal width: one asks memory for the next
}

std::vector<Stretch> cut_stretches(const Operand& input, const std::optional<std::vector<RowRange>>& groups,
                                   std::span<const QuantizedOut> outs) {
  std::vector<Stretch> stretches;
  const std::int64_t block = common_block(outs);
  const std::int64_t rows = input.values.rows;
  const auto outside = [&](RowRange range) {
    if (range.size() > 0) cut_group({0, range, false, true, range.begin, 0, {}}, 1, stretches);
  };
  if (!groups) {
    for (std::int64_t b = 0; b < input.values.batch; ++b) {
      cut_group({b, {0, rows}, false, false, 0, 0, std::vector<std::int64_t>(outs.size())}, block, stretches);
    }
    return stretches;
  }
  std::int64_t covered = 0;
  std::int64_t input_row = 0;
  std::vector<std::int64_t> scale_row(outs.size());
  for (const RowRange& group : *groups) {
    if (group.size() > 0) {
      outside({covered, group.begin});
      covered = group.end;
      cut_group({0, group, false, false, group.begin, input_row, scale_row}, block, stretches);
    }
    if (input.scales.present() && input.scales.origin == ScaleOrigin::per_group)  // else its block may be anything
      input_row += schedule::group_scale_rows(group.size(), input.scales.block_rows);
    if (fault::on(fault::Id::empty_group_has_no_scale_row) && group.size() == 0) continue;
    for (std::size_t i = 0; i < outs.size(); ++i)
      scale_row[i] += schedule::group_scale_rows(group.size(), outs[i].scales.block_rows);
  }
  outside({covered, rows});
  return stretches;
}

}  // namespace ragdot::cpu
