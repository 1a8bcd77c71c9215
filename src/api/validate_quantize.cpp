// A copy that a quantiser writes keeps the rules of an operand; input and copies may not share memory.
#include "api/validate_quantize.hpp"

#include <fmt/format.h>

#include <bit>

#include "api/overlap.hpp"
#include "api/validate.hpp"
#include "api/validate_operand.hpp"
#include "format/memory.hpp"

namespace ragdot::api {
namespace {

Status refused(std::string sentence) { return {Code::invalid_argument, std::move(sentence)}; }

Operand as_operand(const QuantizedOut& out, const NamedInput& in) {
  const ScaleOrigin origin = in.numbers ? ScaleOrigin::per_group : ScaleOrigin::global;
  return {out.values, {out.scales.view, out.scales.block_rows, out.scales.block_cols, origin}};
}

RowAxis row_axis(const NamedInput& in) { return in.numbers ? RowAxis::grouped : RowAxis::plain; }

Status check_group_rows(const NamedOperand& named, const NamedInput& in) {
  return in.groups ? check_group_scale_rows(named, *in.groups) : Status();
}

Status check_input_shape(const NamedInput& in) {
  const Operand& input = in.operand;
  const NamedOperand named{in.op, "input", "input scales", input, Rank::batch};
  if (!in.numbers && input.scales.present() && input.scales.origin == ScaleOrigin::per_group) {
    return refused(fmt::format("{}: input scales have origin per_group and no groups are given; give the groups", in.op));
  }
  if (Status s = check_strided_operand(named, row_axis(in)); !s.ok()) return s;
  if (input.values.format == Format::e8m0) {
    return refused(fmt::format("{}: input is e8m0, a format of scales; give values of another format", in.op));
  }
  if (in.numbers && input.values.batch != 1) {
    return refused(fmt::format("{}: input is {} and groups are given; groups need one matrix", in.op,
                               shape_text(input.values, Rank::batch)));
  }
  return check_group_rows(named, in);
}

Status check_input_data(const NamedInput& in) {
  if (Status s = check_data({in.op, "input"}, in.operand.values, Rank::batch); !s.ok()) return s;
  return check_data({in.op, "input scales"}, in.operand.scales.view, Rank::batch);
}

Status check_same_shape(const char* op, const char* what, const ConstView& view, const ConstView& input) {
  if (view.batch == input.batch && view.rows == input.rows && view.cols == input.cols) return {};
  return refused(fmt::format("{}: {} is {} and input is {}; give them one shape", op, what, shape_text(view, Rank::batch),
                             shape_text(input, Rank::batch)));
}

Status check_recipe(const char* op, const NamedOut& named) {
  const QuantizedOut& out = named.out;
  if (Status s =
          check_choice({op, "recipe"}, static_cast<std::int32_t>(out.recipe), 3, "0 (absmax), 1 (pow2), 2 (mx) or 3 (fixed)");
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

Status check_out_shape(const NamedInput& in, const NamedOut& named) {
  const std::string scales = fmt::format("{} scales", named.what);
  const Operand operand = as_operand(named.out, in);
  const NamedOperand n{in.op, named.what, scales.c_str(), operand, Rank::batch};
  if (Status s = check_recipe(in.op, named); !s.ok()) return s;
  if (Status s = check_strided_operand(n, row_axis(in)); !s.ok()) return s;
  if (Status s = check_same_shape(in.op, named.what, operand.values, in.operand.values); !s.ok()) return s;
  return check_group_rows(n, in);
}

Status check_apart(const char* op, const char* a_what, const ConstView& a, const char* b_what, const ConstView& b) {
  if (!overlaps(a, b)) return {};
  return refused(fmt::format("{}: {} {} and {} {} overlap; give out memory of its own", op, a_what, shape_text(a, Rank::batch),
                             b_what, shape_text(b, Rank::batch)));
}

/// A written view lies apart from all that is read.
Status check_apart_from_input(const NamedInput& in, const char* what, const ConstView& written) {
  if (Status s = check_apart(in.op, what, written, "input", in.operand.values); !s.ok()) return s;
  if (Status s = check_apart(in.op, what, written, "input scales", in.operand.scales.view); !s.ok()) return s;
  const char* numbers = in.numbers ? overlapped_numbers(*in.numbers, written) : nullptr;
  if (numbers == nullptr) return {};
  return refused(fmt::format("{}: {} {} and {} overlap; give out memory of its own", in.op, what,
                             shape_text(written, Rank::batch), numbers));
}

Status check_out_memory(const NamedInput& in, const NamedOut& named) {
  const std::string scales = fmt::format("{} scales", named.what);
  const QuantizedOut& out = named.out;
  if (Status s = check_data({in.op, named.what}, out.values, Rank::batch); !s.ok()) return s;
  if (Status s = check_data({in.op, scales.c_str()}, out.scales.view, Rank::batch); !s.ok()) return s;
  if (Status s = check_apart_from_input(in, named.what, out.values); !s.ok()) return s;
  // Scales that are given are read only.
  if (out.recipe != Recipe::fixed) {
    if (Status s = check_apart_from_input(in, scales.c_str(), out.scales.view); !s.ok()) return s;
  }
  return check_apart(in.op, named.what, out.values, scales.c_str(), out.scales.view);
}

/// The two copies of quantize_both; given scales may be the same for both.
Status check_copies_apart(const char* op, const QuantizedOut& a, const QuantizedOut& b) {
  if (Status s = check_apart(op, "row_wise", a.values, "col_wise", b.values); !s.ok()) return s;
  if (Status s = check_apart(op, "row_wise", a.values, "col_wise scales", b.scales.view); !s.ok()) return s;
  if (Status s = check_apart(op, "row_wise scales", a.scales.view, "col_wise", b.values); !s.ok()) return s;
  if (a.recipe == Recipe::fixed && b.recipe == Recipe::fixed) return {};
  return check_apart(op, "row_wise scales", a.scales.view, "col_wise scales", b.scales.view);
}

Status check_strict_scales(const NamedOperand& named, const GroupRows& groups) {
  return groups ? check_grouped_scales(named, *groups, 0, static_cast<std::int64_t>(groups->size())) : check_all_scales(named);
}

/// i8 has no NaN, which x / s is for some x where s is NaN, zero or Inf.
Status check_i8_scales(const char* op, const NamedOut& named, const NamedInput& in) {
  const ConstView v = named.out.scales.view;
  const auto check_row = [&](std::int64_t b, std::int64_t r) -> Status {
    for (std::int64_t c = 0; c < v.cols; ++c) {
      const float scale = format::load_f32(format::element_at(v, b, r, c), v.format);
      const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(scale) & 0x7fffffffU;
      if (magnitude > 0 && magnitude < format::kF32Exponent) continue;
      return refused(fmt::format("{}: {} scales [{}, {}, {}] is {}; i8 has no NaN, give finite scales that are not zero", op,
                                 named.what, b, r, c, magnitude > format::kF32Exponent ? "nan" : fmt::format("{:g}", scale)));
    }
    return {};
  };
  if (in.operand.values.rows == 0 || in.operand.values.cols == 0) return {};
  for (std::int64_t b = 0; b < v.batch; ++b) {
    for (std::int64_t r = 0; r < v.rows; ++r) {
      const bool unused =
          in.groups && named.out.scales.block_rows == kWholeAxis && (*in.groups)[static_cast<std::size_t>(r)].size() == 0;
      if (unused) continue;
      if (Status s = check_row(b, r); !s.ok()) return s;
    }
  }
  return {};
}

/// Scales that the call reads: those of the input, and those that are given for a copy.
Status check_read_scales(const NamedInput& in, std::span<const NamedOut> outs, Strictness strictness) {
  if (strictness == Strictness::strict) {
    const NamedOperand named{in.op, "input", "input scales", in.operand, Rank::batch, false};
    if (Status s = check_strict_scales(named, in.groups); !s.ok()) return s;
  }
  for (const NamedOut& named : outs) {
    if (named.out.recipe != Recipe::fixed) continue;
    if (strictness == Strictness::strict) {
      const std::string scales = fmt::format("{} scales", named.what);
      const Operand operand = as_operand(named.out, in);
      if (Status s = check_strict_scales({in.op, named.what, scales.c_str(), operand, Rank::batch}, in.groups); !s.ok())
        return s;
    }
    if (named.out.values.format != Format::i8) continue;
    if (Status s = check_i8_scales(in.op, named, in); !s.ok()) return s;
  }
  return {};
}

}  // namespace

Status read_optional_groups(const char* op, const std::optional<Groups>& groups, const ConstView& input, GroupRows& rows) {
  if (Status s = check_view({op, "input"}, input, Rank::batch); !s.ok()) return s;
  if (!groups) return {};
  if (Status s = check_groups(op, *groups); !s.ok()) return s;
  // Null is refused before a table for that many groups is made.
  if (Status s = check_group_data(op, *groups); !s.ok()) return s;
  rows.emplace(static_cast<std::size_t>(groups->count));
  return read_groups(op, *groups, input.rows, *rows);
}

Status check_quantize_shapes(const NamedInput& in, std::span<const NamedOut> outs) {
  if (Status s = check_input_shape(in); !s.ok()) return s;
  for (const NamedOut& out : outs) {
    if (Status s = check_out_shape(in, out); !s.ok()) return s;
  }
  return {};
}

Status check_quantize_memory(const NamedInput& in, std::span<const NamedOut> outs) {
  if (Status s = check_input_data(in); !s.ok()) return s;
  for (const NamedOut& out : outs) {
    if (Status s = check_out_memory(in, out); !s.ok()) return s;
  }
  return outs.size() == 2 ? check_copies_apart(in.op, outs[0].out, outs[1].out) : Status();
}

Status check_quantize(const NamedInput& in, std::span<const NamedOut> outs, const Options& options) {
  if (Status s = check_execution(in.op, options); !s.ok()) return s;
  if (Status s = check_quantize_shapes(in, outs); !s.ok()) return s;
  if (Status s = check_quantize_memory(in, outs); !s.ok()) return s;
  return check_read_scales(in, outs, options.strictness);
}

Status check_dequantize(const NamedInput& in, const View& out, const Options& options) {
  if (Status s = check_execution(in.op, options); !s.ok()) return s;
  if (Status s = check_input_shape(in); !s.ok()) return s;
  if (Status s = check_input_data(in); !s.ok()) return s;
  if (Status s = check_view({in.op, "out"}, out, Rank::batch); !s.ok()) return s;
  if (Status s = check_float_out(in.op, out); !s.ok()) return s;
  if (Status s = check_same_shape(in.op, "out", out, in.operand.values); !s.ok()) return s;
  if (Status s = check_data({in.op, "out"}, out, Rank::batch); !s.ok()) return s;
  if (Status s = check_apart_from_input(in, "out", out); !s.ok()) return s;
  return check_read_scales(in, {}, options.strictness);
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
