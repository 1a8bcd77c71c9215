// Which products the GPU takes, and their launches.
#include "cuda/layout.hpp"
#include "cuda/rules.hpp"

namespace ragdot::cuda {
namespace {

constexpr std::int64_t kBlock = 128;

bool is_fp8(Format f) { return f == Format::e4m3 || f == Format::e5m2; }

Status check_pair(const char* op, Format lhs, Format rhs) {
  if ((is_fp8(lhs) && is_fp8(rhs)) || (lhs == Format::bf16 && rhs == Format::bf16)) return {};
  return not_offered(
      "{}: lhs {} with rhs {} is not offered on the GPU; pairs are any two of e4m3 and e5m2, bf16 with bf16; convert "
      "an operand",
      op, ragdot::name(lhs), ragdot::name(rhs));
}

/// The grid that an FP8 operand has to have.
struct Grid {
  const char* what;
  std::int64_t block_rows;
  std::int64_t block_cols;
};

Status check_grid(const char* op, const Operand& operand, const Grid& grid) {
  if (!is_fp8(operand.values.format)) return {};
  const auto axis = [](std::int64_t block) { return block == kWholeAxis ? std::string("*") : fmt::to_string(block); };
  const Scales& s = operand.scales;
  const std::string needed = fmt::format("{}x{}", grid.block_rows, grid.block_cols);
  if (!s.present()) {
    return not_offered(
        "{}: {} is {} and has no scales; on the GPU FP8 has f32 scales of block {}, quantise it so, or give bf16", op,
        grid.what, ragdot::name(operand.values.format), needed);
  }
  if (s.view.format != Format::f32) {
    return not_offered("{}: {} scales are {}; on the GPU they are f32, convert them", op, grid.what,
                       ragdot::name(s.view.format));
  }
  if (s.block_rows != grid.block_rows || s.block_cols != grid.block_cols) {
    return not_offered("{}: {} scales have block {}x{}; on the GPU the block is {}, quantise it so", op, grid.what,
                       axis(s.block_rows), axis(s.block_cols), needed);
  }
  return {};
}

ScaleGrid scales_of(const Scales& s) {
  if (!s.present()) return {};
  return {static_cast<const float*>(s.view.data), used_stride(s.view.batch, s.view.batch_stride),
          used_stride(s.view.rows, s.view.row_stride), used_stride(s.view.cols, s.view.col_stride)};
}

/// Lines of an operand whose rows are summed over: along the rows; for bf16 along the columns, where that is how it is stored.
struct Layout {
  Lines lines;
  bool across = false;
};
Result<Layout> layout_of(const NamedView& n, const char* way_out) {
  const bool along = contiguous(n.view, Along::rows);
  if (!along && is_fp8(n.view.format)) {
    return not_offered("{}: {} is {} with row stride {}; on the GPU the FP8 elements of a sum are contiguous, {}", n.op, n.what,
                       ragdot::name(n.view.format), n.view.row_stride, way_out);
  }
  const Layout natural{lines_of(n.view, Along::rows), false};
  const Layout crossed{lines_of(n.view, Along::cols), true};
  // bf16 that is one row or one column is contiguous both ways, of which one may have a legal pitch.
  const bool may_cross = !is_fp8(n.view.format) && contiguous(n.view, Along::cols);
  const Layout& taken = !along || (may_cross && !check_pitches(n, natural.lines).ok()) ? crossed : natural;
  if (Status s = check_pitches(n, taken.lines); !s.ok()) return s;
  return taken;
}

Status check_out(const char* op, const View& out) {
  if (out.format != Format::f32 && out.format != Format::bf16) {
    return not_offered("{}: out is {}; on the GPU it is f32 or bf16, convert it afterwards", op, ragdot::name(out.format));
  }
  if (!contiguous(out, Along::cols)) {
    return not_offered("{}: out has column stride {}; on the GPU its rows are contiguous, give a row-major out", op,
                       out.col_stride);
  }
  return check_pitches({op, "out", out}, lines_of(out, Along::cols));
}

void put_out(const View& out, Product& p) {
  const Lines lines = lines_of(out, Along::cols);
  const std::int64_t bytes = element_bytes(out.format);
  p.out = out.data;
  p.out_format = out.format;
  p.out_pitch = lines.pitch_bytes / bytes;
  p.out_batch_pitch = lines.batch_pitch_bytes / bytes;
}

Status check_epilogue(const GmmArgs& args) {
  if (args.bias.present()) return not_offered("gmm: bias is not offered on the GPU; leave it out and add it to out afterwards");
  if (args.activation != Activation::none) {
    return not_offered("gmm: activation {} is not offered on the GPU; leave it out and apply it to out afterwards",
                       static_cast<std::int32_t>(args.activation));
  }
  return {};
}

/// lhs of gmm: one scale per row, so an origin makes a difference only where rows lie between groups.
Status check_lhs_origin(const GmmArgs& args) {
  const Scales& s = args.lhs.scales;
  if (!s.present() || s.origin == ScaleOrigin::global) return {};
  if (!touches(args.groups)) {
    return not_offered(
        "gmm: lhs scales have origin per_group and the groups may have gaps; on the GPU row m has scale row m, quantise "
        "lhs without groups (origin global), or give groups by sizes or ends");
  }
  return check_scale_rows({"gmm", "lhs scales", s.view}, args.lhs.values.rows, args.groups, 1);
}

/// Work that no kernel does, since a sum over nothing has no tiles.
Status check_empty(const Product& p) {
  const bool has_outputs = p.m > 0 && p.n > 0;
  if (has_outputs && p.k == 0) {
    return not_offered("gmm: K is 0; the GPU takes K of 1 or more, zero out with cudaMemsetAsync instead");
  }
  if (has_outputs && p.groups.local == 0 && p.zero_outside && !p.accumulate) {
    return not_offered(
        "gmm: rhs has no matrices and rows_outside is zero; the GPU takes one matrix or more, zero out with "
        "cudaMemsetAsync instead");
  }
  return {};
}

/// Scales of a tgmm operand.
Status check_group_blocks(const char* what, const char* scales_name, const Operand& operand, const Groups& groups) {
  if (Status s = check_grid("tgmm", operand, {what, kBlock, 1}); !s.ok()) return s;
  const Scales& s = operand.scales;
  if (!s.present()) return {};
  if (s.origin != ScaleOrigin::per_group) {
    return not_offered("tgmm: {} have origin global; on the GPU blocks start anew at each group, quantise with the groups",
                       scales_name);
  }
  return check_scale_rows({"tgmm", scales_name, s.view}, operand.values.rows, groups, kBlock);
}

constexpr char kTransposedRhs[] = "give rhs stored [L, N, K] (row_stride 1), such as the col_wise copy of quantize_both";
constexpr char kRowMajorLhs[] = "give a row-major lhs (col_stride 1), such as the row_wise copy of quantize_both";
constexpr char kTransposedRows[] = "give it stored transposed (row_stride 1), as quantize_both writes its col_wise copy";

}  // namespace

Result<Product> product_of(const GmmArgs& args) {
  if (args.packed_rhs.present() || args.rhs_layout == RhsLayout::packed) {
    return not_offered("gmm: rhs is packed, which is for a CPU; give rhs itself to the GPU");
  }
  const ConstView& lhs = args.lhs.values;
  const ConstView& rhs = args.rhs.values;
  if (Status s = check_dimensions("gmm", {{"M", lhs.rows}, {"K", lhs.cols}, {"N", rhs.cols}, {"G", args.groups.count}});
      !s.ok()) {
    return s;
  }
  if (Status s = check_pair("gmm", lhs.format, rhs.format); !s.ok()) return s;
  if (Status s = check_epilogue(args); !s.ok()) return s;
  if (Status s = check_grid("gmm", args.lhs, {"lhs", 1, kBlock}); !s.ok()) return s;
  if (Status s = check_grid("gmm", args.rhs, {"rhs", kBlock, kBlock}); !s.ok()) return s;
  if (Status s = check_lhs_origin(args); !s.ok()) return s;
  if (!contiguous(lhs, Along::cols)) {
    return not_offered("gmm: lhs has column stride {}; on the GPU its rows are contiguous, {}", lhs.col_stride, kRowMajorLhs);
  }
  const Lines a = lines_of(lhs, Along::cols);
  if (Status s = check_pitches({"gmm", "lhs", lhs}, a); !s.ok()) return s;
  const Result<Layout> b = layout_of({"gmm", "rhs", rhs}, kTransposedRhs);
  if (!b.ok()) return b.status();
  if (Status s = check_out("gmm", args.out); !s.ok()) return s;

  Product p;
  p.op = Op::gmm;
  p.m = lhs.rows;
  p.k = lhs.cols;
  p.n = rhs.cols;
  p.a = a;
  p.b = b.value().lines;
  p.b_across = b.value().across;
  p.a_scales = scales_of(args.lhs.scales);
  p.b_scales = scales_of(args.rhs.scales);
  p.groups = numbers_of(args.groups, args.first_group, rhs.batch);
  put_out(args.out, p);
  p.accumulate = args.out_mode == OutMode::accumulate;
  p.zero_outside = args.rows_outside == RowsOutside::zero && !p.accumulate;
  if (Status s = check_empty(p); !s.ok()) return s;
  return p;
}

Result<Product> product_of(const TgmmArgs& args, bool starts_aligned) {
  const ConstView& lhs = args.lhs.values;
  const ConstView& rhs = args.rhs.values;
  if (Status s = check_dimensions("tgmm", {{"M", lhs.rows}, {"K", lhs.cols}, {"N", rhs.cols}, {"G", args.groups.count}});
      !s.ok()) {
    return s;
  }
  if (Status s = check_pair("tgmm", lhs.format, rhs.format); !s.ok()) return s;
  if (Status s = check_group_blocks("lhs", "lhs scales", args.lhs, args.groups); !s.ok()) return s;
  if (Status s = check_group_blocks("rhs", "rhs scales", args.rhs, args.groups); !s.ok()) return s;
  const Result<Layout> a = layout_of({"tgmm", "lhs", lhs}, kTransposedRows);
  if (!a.ok()) return a.status();
  const Result<Layout> b = layout_of({"tgmm", "rhs", rhs}, kTransposedRows);
  if (!b.ok()) return b.status();
  if (Status s = check_out("tgmm", args.out); !s.ok()) return s;

  Product p;
  p.op = Op::tgmm;
  p.m = lhs.rows;
  p.k = lhs.cols;
  p.n = rhs.cols;
  p.a = a.value().lines;
  p.b = b.value().lines;
  p.a_across = a.value().across;
  p.b_across = b.value().across;
  p.a_scales = scales_of(args.lhs.scales);
  p.b_scales = scales_of(args.rhs.scales);
  p.groups = numbers_of(args.groups, args.first_group, args.out.batch);
  put_out(args.out, p);
  p.accumulate = args.out_mode == OutMode::accumulate;
  p.starts_aligned = starts_aligned;
  if (!has_room_for_copies(p)) {
    return not_offered(
        "tgmm: groups may begin anywhere, and aligned copies of them may have more than 2^31 rows or 2^46 bytes; split the "
        "call, or let groups begin at multiples of {} rows and set starts_aligned",
        kGroupAlignment);
  }
  return p;
}

Status check_addresses(const Product& p) {
  return check_alignment(name(p.op), {{"lhs", p.a.data, 16},
                                      {"lhs scales", p.a_scales.data, 4},
                                      {"rhs", p.b.data, 16},
                                      {"rhs scales", p.b_scales.data, 4},
                                      {"out", p.out, 16},
                                      {"the group numbers", p.groups.data, p.groups.index_bits / 8},
                                      {"the group sizes", p.groups.sizes, p.groups.index_bits / 8}});
}

bool writes(const Product& p) {
  if (p.op == Op::tgmm) return p.groups.local > 0 && p.k > 0 && p.n > 0 && !(p.m == 0 && p.accumulate);
  return p.m > 0 && p.n > 0 && p.groups.local > 0;
}

}  // namespace ragdot::cuda
