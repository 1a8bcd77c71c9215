// Scaled values back to f32, bf16 or f16, and the search for elements that a quantiser has to refuse.
#include <algorithm>
#include <bit>
#include <cmath>

#include "cpu/quantize/copy.hpp"
#include "cpu/quantize/parallel.hpp"
#include "cpu/quantize/quantize.hpp"
#include "cpu/quantize/source.hpp"
#include "cpu/quantize/stretch.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

using GroupRows = std::optional<std::vector<RowRange>>;

bool empty(const Operand& input) { return input.values.batch == 0 || input.values.rows == 0 || input.values.cols == 0; }

template <class IsBad>
std::optional<Place> find(const Operand& input, const GroupRows& groups, const Options& options, IsBad is_bad) {
  if (empty(input)) return {};
  const std::vector<Stretch> stretches = cut_stretches(input, groups, {});
  const auto count = static_cast<std::int64_t>(stretches.size());
  const int threads = thread_count(options, count);
  std::vector<std::vector<float>> rows(static_cast<std::size_t>(threads));
  for (auto& row : rows) row.resize(static_cast<std::size_t>(input.values.cols));
  const auto find_in = [&](const Stretch& stretch, std::vector<float>& row) -> std::optional<Place> {
    for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end && !stretch.outside; ++r) {
      load_row(input, source_row(stretch, r), row.data());
      const auto bad = std::find_if(row.begin(), row.end(), is_bad);
      if (bad != row.end()) return Place{stretch.matrix, r, bad - row.begin()};
    }
    return {};
  };
  std::vector<std::optional<Place>> found(stretches.size());
  parallel(count, options, threads, [&](std::int64_t i, int thread) {
    found[static_cast<std::size_t>(i)] =
        find_in(stretches[static_cast<std::size_t>(i)], rows[static_cast<std::size_t>(thread)]);
  });
  const auto first = std::find_if(found.begin(), found.end(), [](const auto& place) { return place.has_value(); });
  return first == found.end() ? std::nullopt : *first;
}

void store_row(const float* row, const View& out, std::byte* to) {
  const std::int64_t step = out.col_stride * element_bytes(out.format);
  const auto each = [&](auto convert) {
    for (std::int64_t c = 0; c < out.cols; ++c) format::store(to + c * step, convert(row[c]));
  };
  if (out.format == Format::bf16) return each(format::f32_to_bf16);
  if (out.format == Format::f16) return each(format::f32_to_f16);
  each([](float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    return format::is_nan_bits(bits) ? format::kF32Nan : bits;
  });
}

}  // namespace

void dequantize(const Operand& input, const GroupRows& groups, const View& out, const Options& options) {
  if (empty(input)) return;
  const std::vector<Stretch> stretches = cut_stretches(input, groups, {});
  const auto count = static_cast<std::int64_t>(stretches.size());
  const int threads = thread_count(options, count);
  std::vector<std::vector<float>> rows(static_cast<std::size_t>(threads));
  for (auto& row : rows) row.resize(static_cast<std::size_t>(input.values.cols));
  parallel(count, options, threads, [&](std::int64_t i, int thread) {
    const Stretch& stretch = stretches[static_cast<std::size_t>(i)];
    if (stretch.outside) return zero_rows(out, stretch.matrix, stretch.rows);
    float* row = rows[static_cast<std::size_t>(thread)].data();
    for (std::int64_t r = stretch.rows.begin; r < stretch.rows.end; ++r) {
      load_row(input, source_row(stretch, r), row);
      const std::int64_t at = stretch.matrix * out.batch_stride + r * out.row_stride;
      store_row(row, out, static_cast<std::byte*>(out.data) + at * element_bytes(out.format));
    }
  });
}

std::optional<Place> find_nan(const Operand& input, const GroupRows& groups, const Options& options) {
  return find(input, groups, options, [](float x) { return std::isnan(x); });
}
std::optional<Place> find_inf(const Operand& input, const GroupRows& groups, const Options& options) {
  return find(input, groups, options, [](float x) { return std::isinf(x); });
}

}  // namespace ragdot::cpu
