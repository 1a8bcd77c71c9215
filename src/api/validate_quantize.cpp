// A copy that a quantiser writes keeps the rules of an operand; input and copies may not share memory.
#include "api/validate_quantize.hpp"

#include <fmt/format.h>

#include "api/overlap.hpp"
#include "api/validate.hpp"
#include "api/validate_operand.hpp"

namespace ragdot::api {
namespace {

Status refused(std::string sentence) { return {Code::invalid_argument, std::move(sentence)}; }

Operand as_operand(const QuantizedOut& out, const GroupRows& groups) {
  return {
      out.values,
      {out.scales.view, out.scales.block_rows, out.scales.block_cols, groups ? ScaleOrigin::per_group : ScaleOrigin::global}};
}

RowAxis row_axis(const GroupRows& groups) { return groups ? RowAxis::grouped : RowAxis::plain; }

std::span<const RowRange> rows_of(const GroupRows& groups) {
  return groups ? std::span<const RowRange>(*groups) : std::span<const RowRange>();
}

Status check_input(const char* op, const Operand& input, const GroupRows& groups) {
  const NamedOperand named{op, "input", "input scales", input, Rank::batch};
  if (Status s = check_operand(named, row_axis(groups)); !s.ok()) return s;
  if (groups && input.values.batch != 1) {
    return refused(
        fmt::format("{}: input is {} and groups are given; groups need one matrix", op, shape_text(input.values, Rank::batch)));
  }
  if (Status s = check_group_scale_rows(named, rows_of(groups)); !s.ok()) return s;
  if (Status s = check_data(named.values_subject(), input.values, Rank::batch); !s.ok()) return s;
  return check_data(named.scales_subject(), input.scales.view, Rank::batch);
}

Status check_same_shape(const char* op, const char* what, const ConstView& view, const ConstView& input) {
  if (view.batch == input.batch && view.rows == input.rows && view.cols == input.cols) return {};
  return refused(fmt::format("{}: {} is {} and input is {}; give them one shape", op, what, shape_text(view, Rank::batch),
                             shape_text(input, Rank::batch)));
}

Status check_recipe(const char* op, const NamedOut& named) {
  const QuantizedOut& out = named.out;
  if (Status s =
          check_choice({op, "recipe"}, static_cast<std::int32_t>(out.recipe), 3, "0 (absmax), 1 (pow2), 2 (mx) and 3 (fixed)");
      !s.ok())
    return s;
  const Format values = out.values.format;
  if (values != Format::e4m3 && values != Format::e5m2 && values != Format::i8) {
    return refused(fmt::format("{}: {} is {}; quantised values are e4m3, e5m2 or i8", op, named.what, name(values)));
  }
  if (!out.scales.view.present()) return refused(fmt::format("{}: {} has no scales; give a view for them", op, named.what));
  if (out.recipe == Recipe::absmax && out.scales.view.format == Format::e8m0) {
    return {Code::unsupported,
            fmt::format("{}: recipe absmax gives scales that are no powers of two and {} scales are e8m0; use recipe pow2 or "
                        "mx, or f32 or bf16 scales",
                        op, named.what)};
  }
  if (out.recipe == Recipe::mx && values == Format::i8) {
    return {Code::unsupported, fmt::format("{}: recipe mx is for e4m3 and e5m2 and {} is i8; use recipe pow2", op, named.what)};
  }
  return {};
}

Status check_out(const char* op, const NamedOut& named, const Operand& input, const GroupRows& groups) {
  const std::string scales = fmt::format("{} scales", named.what);
  const Operand operand = as_operand(named.out, groups);
  const NamedOperand n{op, named.what, scales.c_str(), operand, Rank::batch};
  if (Status s = check_recipe(op, named); !s.ok()) return s;
  if (Status s = check_operand(n, row_axis(groups)); !s.ok()) return s;
  if (Status s = check_same_shape(op, named.what, operand.values, input.values); !s.ok()) return s;
  if (Status s = check_group_scale_rows(n, rows_of(groups)); !s.ok()) return s;
  if (Status s = check_data(n.values_subject(), operand.values, Rank::batch); !s.ok()) return s;
  return check_data(n.scales_subject(), operand.scales.view, Rank::batch);
}

Status check_apart(const char* op, const char* a_what, const ConstView& a, const char* b_what, const ConstView& b) {
  if (!overlaps(a, b)) return {};
  return refused(fmt::format("{}: {} {} overlaps {} {}; give out memory of its own", op, a_what, shape_text(a, Rank::batch),
                             b_what, shape_text(b, Rank::batch)));
}

Status check_out_memory(const char* op, const NamedOut& named, const Operand& input) {
  const std::string scales = fmt::format("{} scales", named.what);
  const QuantizedOut& out = named.out;
  for (const auto& [what, view] :
       {std::pair<const char*, ConstView>{"input", input.values}, {"input scales", input.scales.view}}) {
    if (Status s = check_apart(op, named.what, out.values, what, view); !s.ok()) return s;
    if (Status s = check_apart(op, scales.c_str(), out.scales.view, what, view); !s.ok()) return s;
  }
  return check_apart(op, named.what, out.values, scales.c_str(), out.scales.view);
}

Status check_threads(const char* op, const Options& options) {
  if (options.threads >= 0) return {};
  return refused(fmt::format("{}: threads is {}; give 0 for all or a positive number", op, options.threads));
}

}  // namespace

Status read_optional_groups(const char* op, const std::optional<Groups>& groups, const ConstView& input, GroupRows& rows) {
  if (!groups) return {};
  if (groups->count < 0) return refused(fmt::format("{}: groups have count {}; it must not be negative", op, groups->count));
  rows.emplace(static_cast<std::size_t>(groups->count));
  return read_groups(op, *groups, input.rows, *rows);
}

Status check_quantize(const char* op, const Operand& input, const GroupRows& groups, std::span<const NamedOut> outs,
                      const Options& options) {
  if (Status s = check_threads(op, options); !s.ok()) return s;
  if (Status s = check_input(op, input, groups); !s.ok()) return s;
  for (const NamedOut& out : outs) {
    if (Status s = check_out(op, out, input, groups); !s.ok()) return s;
    if (Status s = check_out_memory(op, out, input); !s.ok()) return s;
  }
  if (outs.size() < 2) return {};
  const QuantizedOut& a = outs[0].out;
  const QuantizedOut& b = outs[1].out;
  if (Status s = check_apart(op, "row_wise", a.values, "col_wise", b.values); !s.ok()) return s;
  if (Status s = check_apart(op, "row_wise", a.values, "col_wise scales", b.scales.view); !s.ok()) return s;
  if (Status s = check_apart(op, "row_wise scales", a.scales.view, "col_wise", b.values); !s.ok()) return s;
  return check_apart(op, "row_wise scales", a.scales.view, "col_wise scales", b.scales.view);
}

Status check_dequantize(const Operand& input, const GroupRows& groups, const View& out, const Options& options) {
  const char* op = "dequantize";
  if (Status s = check_threads(op, options); !s.ok()) return s;
  if (Status s = check_input(op, input, groups); !s.ok()) return s;
  if (Status s = check_view({op, "out"}, out, Rank::batch); !s.ok()) return s;
  if (out.format != Format::f32 && out.format != Format::bf16 && out.format != Format::f16) {
    return refused(fmt::format("{}: out is {}; it must be f32, bf16 or f16", op, name(out.format)));
  }
  if (Status s = check_same_shape(op, "out", out, input.values); !s.ok()) return s;
  if (Status s = check_data({op, "out"}, out, Rank::batch); !s.ok()) return s;
  if (Status s = check_apart(op, "out", out, "input", input.values); !s.ok()) return s;
  return check_apart(op, "out", out, "input scales", input.scales.view);
}

Status check_to_e8m0(const ConstView& scales, const View& codes) {
  const char* op = "to_e8m0";
  if (Status s = check_view({op, "scales"}, scales, Rank::batch); !s.ok()) return s;
  if (Status s = check_view({op, "codes"}, codes, Rank::batch); !s.ok()) return s;
  if (scales.format != Format::f32 || codes.format != Format::e8m0) {
    return refused(
        fmt::format("{}: scales are {} and codes are {}; give f32 and e8m0", op, name(scales.format), name(codes.format)));
  }
  if (scales.batch != codes.batch || scales.rows != codes.rows || scales.cols != codes.cols) {
    return refused(fmt::format("{}: codes are {} and scales are {}; give them one shape", op, shape_text(codes, Rank::batch),
                               shape_text(scales, Rank::batch)));
  }
  if (Status s = check_data({op, "scales"}, scales, Rank::batch); !s.ok()) return s;
  if (Status s = check_data({op, "codes"}, codes, Rank::batch); !s.ok()) return s;
  return check_apart(op, "codes", codes, "scales", scales);
}

}  // namespace ragdot::api
