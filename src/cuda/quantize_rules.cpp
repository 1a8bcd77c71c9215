// Which quantisations the GPU takes, and their launches.
#include "cuda/layout.hpp"
#include "cuda/rules.hpp"

namespace ragdot::cuda {
namespace {

std::string block_text(const ScalesOut& s) {
  const auto axis = [](std::int64_t block) { return block == kWholeAxis ? std::string("*") : fmt::to_string(block); };
  return fmt::format("{}x{}", axis(s.block_rows), axis(s.block_cols));
}

Status check_grid(const char* op, const NamedCopy& named, std::int64_t rows, const std::optional<Groups>& groups) {
  const ScalesOut& s = named.out.scales;
  if (s.view.format != Format::f32) {
    return not_offered("{}: {} scales are {}; on the GPU they are f32, give an f32 view", op, named.what,
                       ragdot::name(s.view.format));
  }
  const bool offered = (s.block_rows == 1 && s.block_cols == 128) || (s.block_rows == 128 && s.block_cols == 1) ||
                       (s.block_rows == 128 && s.block_cols == 128);
  if (!offered) {
    return not_offered("{}: {} scales have block {}; on the GPU it is 1x128, 128x1 or 128x128, give one of them", op,
                       named.what, block_text(s));
  }
  if (!groups) return {};
  if (s.block_rows == 1 && !touches(*groups)) {
    return not_offered(
        "{}: {} scales have block {} and the groups may have gaps, where the GPU would have to pack their scale rows; "
        "make this copy without groups, or give groups by sizes or ends",
        op, named.what, block_text(s));
  }
  const std::string scales = fmt::format("{} scales", named.what);
  return check_scale_rows({op, scales.c_str(), s.view}, rows, *groups, s.block_rows);
}

/// A copy whose groups begin at multiples of kGroupAlignment.
Status check_aligned(const char* op, const NamedCopy& named, std::int64_t rows, const std::optional<Groups>& groups) {
  const View& values = named.out.values;
  if (!groups) {
    return {Code::invalid_argument,
            fmt::format("{}: {}_groups asks for aligned groups and no groups are given; give groups, or leave it null", op,
                        named.what)};
  }
  const std::int64_t needed = most_aligned_rows(rows, groups->count);
  if (values.rows < needed) {
    return {
        Code::invalid_argument,
        fmt::format("{}: {} has {} rows; with {}_groups {} groups over {} rows, each from a multiple of {} on, need up to {}: "
                    "give {} rows or more",
                    op, named.what, values.rows, named.what, groups->count, rows, kGroupAlignment, needed, needed)};
  }
  if (Status s = check_dimensions(op, {{"the number of rows of a copy with aligned groups", values.rows}}); !s.ok()) return s;
  if (contiguous(values, Along::rows)) return {};
  return not_offered("{}: {} has row stride {}; with {}_groups it is stored transposed, give row stride 1", op, named.what,
                     values.row_stride, named.what);
}

Result<QuantizedCopy> copy_of(const char* op, const NamedCopy& named, std::int64_t rows, const std::optional<Groups>& groups) {
  const QuantizedOut& out = named.out;
  if (out.values.format != Format::e4m3 && out.values.format != Format::e5m2) {
    return not_offered("{}: {} is {}; on the GPU it is e4m3 or e5m2, give one of them", op, named.what,
                       ragdot::name(out.values.format));
  }
  if (out.recipe == Recipe::fixed) {
    return not_offered("{}: recipe fixed of {} is not offered on the GPU; use absmax, pow2 or mx", op, named.what);
  }
  if (Status s = check_grid(op, named, rows, groups); !s.ok()) return s;
  if (named.aligned_groups) {
    if (Status s = check_aligned(op, named, rows, groups); !s.ok()) return s;
  }
  const bool along_cols = contiguous(out.values, Along::cols);
  if (!along_cols && !contiguous(out.values, Along::rows)) {
    return not_offered("{}: {} has strides [{}, {}, {}]; on the GPU the row or the column stride is 1, give such a view", op,
                       named.what, out.values.batch_stride, out.values.row_stride, out.values.col_stride);
  }
  // A row or a column alone is contiguous both ways, of which one has a legal pitch.
  const NamedView view{op, named.what, out.values};
  const bool either = along_cols && contiguous(out.values, Along::rows);
  const bool transposed =
      named.aligned_groups || !along_cols || (either && !check_pitches(view, lines_of(out.values, Along::cols)).ok());
  const Lines lines = lines_of(out.values, transposed ? Along::rows : Along::cols);
  if (Status s = check_pitches(view, lines); !s.ok()) return s;

  QuantizedCopy copy;
  copy.values = out.values.data;
  copy.format = out.values.format;
  copy.batch_stride = lines.batch_pitch_bytes;  // one byte an element
  copy.row_stride = transposed ? 1 : lines.pitch_bytes;
  copy.col_stride = transposed ? lines.pitch_bytes : 1;
  const View& scales = out.scales.view;
  copy.scales = static_cast<float*>(scales.data);
  copy.scale_batch_stride = used_stride(scales.batch, scales.batch_stride);
  copy.scale_row_stride = used_stride(scales.rows, scales.row_stride);
  copy.scale_col_stride = used_stride(scales.cols, scales.col_stride);
  copy.scale_rows = scales.rows;
  copy.block_rows = static_cast<std::int32_t>(out.scales.block_rows);
  copy.block_cols = static_cast<std::int32_t>(out.scales.block_cols);
  copy.recipe = out.recipe;
  copy.aligned_groups = named.aligned_groups;
  return copy;
}

}  // namespace

Result<Quantize> quantize_of(const char* op, const ConstView& input, const std::optional<Groups>& groups,
                             std::span<const NamedCopy> copies) {
  if (Status s = check_dimensions(op, {{"batch", input.batch},
                                       {"rows", input.rows},
                                       {"cols", input.cols},
                                       {"the number of groups", groups ? groups->count : 0}});
      !s.ok()) {
    return s;
  }
  if (groups && groups->count == 0) {
    return not_offered(
        "{}: groups has none, so that every row is of no group; on the GPU give one or more, or zero the copies "
        "with cudaMemsetAsync instead",
        op);
  }
  if (input.format != Format::f32 && input.format != Format::bf16) {
    return not_offered("{}: input is {}; on the GPU it is f32 or bf16, convert it", op, ragdot::name(input.format));
  }
  if (!contiguous(input, Along::cols)) {
    return not_offered("{}: input has column stride {}; on the GPU its rows are contiguous, give a row-major copy", op,
                       input.col_stride);
  }
  const Lines lines = lines_of(input, Along::cols);
  if (Status s = check_pitches({op, "input", input}, lines); !s.ok()) return s;

  Quantize q;
  q.input = input.data;
  q.input_format = input.format;
  q.batch = input.batch;
  q.rows = input.rows;
  q.cols = input.cols;
  q.batch_stride = lines.batch_pitch_bytes / element_bytes(input.format);
  q.row_stride = lines.pitch_bytes / element_bytes(input.format);
  if (groups) q.groups = numbers_of(*groups, 0, groups->count);
  for (std::size_t i = 0; i < copies.size(); ++i) {
    const Result<QuantizedCopy> copy = copy_of(op, copies[i], input.rows, groups);
    if (!copy.ok()) return copy.status();
    (i == 0 ? q.first : q.second) = copy.value();
  }
  return q;
}

Status check_addresses(const char* op, const Quantize& q) {
  const bool both = q.second.values != nullptr;
  return check_alignment(op, {{"input", q.input, 16},
                              {both ? "row_wise" : "out", q.first.values, 16},
                              {both ? "row_wise scales" : "out scales", q.first.scales, 4},
                              {"col_wise", q.second.values, 16},
                              {"col_wise scales", q.second.scales, 4},
                              {"the group numbers", q.groups.data, q.groups.index_bits / 8},
                              {"the group sizes", q.groups.sizes, q.groups.index_bits / 8},
                              {"col_wise_groups.starts", q.aligned_starts, q.groups.index_bits / 8},
                              {"col_wise_groups.sizes", q.aligned_sizes, q.groups.index_bits / 8}});
}

bool writes(const Quantize& q) { return q.aligned_starts != nullptr || (q.batch > 0 && q.rows > 0 && q.cols > 0); }

}  // namespace ragdot::cuda
