// Rules of gmm and tgmm that shapes, formats and choices decide, and how dimensions of the operands have to meet.
#include "api/validate.hpp"

#include <fmt/format.h>

#include "api/validate_operand.hpp"
#include "format/fault.hpp"

namespace ragdot::api {
namespace {

template <class... T>
Status refused(fmt::format_string<T...> text, T&&... values) {
  return {Code::invalid_argument, fmt::format(text, std::forward<T>(values)...)};
}

Status check_options(const char* op, const Options& options) {
  if (options.tiling) {
    const Tiling& t = *options.tiling;
    if (t.tm < 1 || t.tk < 1 || t.tn < 1) {
      return refused("{}: tiling is {}x{}x{}; every size is 1 or more, leave tiling empty to have it chosen", op, t.tm, t.tk,
                     t.tn);
    }
  }
  return check_execution(op, options);
}

Status check_out(const char* op, const View& out, Rank rank, OutMode mode) {
  if (Status s = check_view({op, "out"}, out, rank); !s.ok()) return s;
  if (Status s = check_float_out(op, out); !s.ok()) return s;
  if (Status s = check_choice({op, "out_mode"}, static_cast<std::int32_t>(mode), 1, "0 (overwrite) or 1 (accumulate)");
      !s.ok()) {
    return s;
  }
  if (mode == OutMode::accumulate && out.format != Format::f32) {
    return refused("{}: out is {} and out_mode is accumulate; accumulate needs an f32 out", op, name(out.format));
  }
  return {};
}

Status check_local_groups(const char* op, const char* what, const Groups& groups, std::int64_t first, std::int64_t local) {
  if (Status s = check_groups(op, groups); !s.ok()) return s;
  if (first < 0) return refused("{}: first_group is {}; it must be 0 or more", op, first);
  if (local > groups.count - first) {
    return refused(
        "{}: {} has {} matrices for groups from first_group {} on; there are {} groups, first_group + L may be no more", op,
        what, local, first, groups.count);
  }
  return {};
}

/// Exactly one of rhs and packed_rhs.
Status check_rhs_given(const GmmArgs& args) {
  if (args.rhs.values.present() == args.packed_rhs.present()) {
    return refused("gmm: {} given; give one of them",
                   args.packed_rhs.present() ? "both rhs and packed_rhs are" : "neither rhs nor packed_rhs is");
  }
  return {};
}

Status check_dimensions(const GmmArgs& args) {
  const ConstView& lhs = args.lhs.values;
  const ConstView& rhs = args.rhs.values;
  if (lhs.cols != rhs.rows && !fault::on(fault::Id::inner_sizes_unchecked)) {
    return refused(
        "gmm: inner sizes differ: lhs {} has K = {}, rhs {} has K = {}; give rhs as [L, K, N], weights stored as "
        "[L, N, K] as their transposed view",
        shape_text(lhs, Rank::matrix), lhs.cols, shape_text(rhs, Rank::batch), rhs.rows);
  }
  if (args.out.rows != lhs.rows || args.out.cols != rhs.cols) {
    return refused("gmm: out is {}; lhs {} and rhs {} need [{}, {}]", shape_text(args.out, Rank::matrix),
                   shape_text(lhs, Rank::matrix), shape_text(rhs, Rank::batch), lhs.rows, rhs.cols);
  }
  return {};
}

Status check_bias(const ConstView& bias, const ConstView& rhs) {
  if (bias.format == Format::none) return {};
  if (Status s = check_view({"gmm", "bias"}, bias, Rank::matrix); !s.ok()) return s;
  if (bias.format != Format::f32) return refused("gmm: bias is {}; it must be f32", name(bias.format));
  if (bias.rows != rhs.batch || bias.cols != rhs.cols) {
    return refused("gmm: bias is {}; rhs {} needs [{}, {}]", shape_text(bias, Rank::matrix), shape_text(rhs, Rank::batch),
                   rhs.batch, rhs.cols);
  }
  return {};
}

Status check_choices(const GmmArgs& args) {
  if (Status s = check_choice({"gmm", "activation"}, static_cast<std::int32_t>(args.activation), 5,
                              "0 (none), 1 (relu), 2 (tanh), 3 (silu), 4 (gelu_tanh) or 5 (gelu_erf)");
      !s.ok()) {
    return s;
  }
  if (Status s =
          check_choice({"gmm", "rhs_layout"}, static_cast<std::int32_t>(args.rhs_layout), 1, "0 (strided) or 1 (packed)");
      !s.ok()) {
    return s;
  }
  return check_choice({"gmm", "rows_outside"}, static_cast<std::int32_t>(args.rows_outside), 1, "0 (zero) or 1 (leave)");
}

Status check_dimensions(const TgmmArgs& args) {
  const ConstView& lhs = args.lhs.values;
  const ConstView& rhs = args.rhs.values;
  if (lhs.rows != rhs.rows) {
    return refused("tgmm: row counts differ: lhs {} has M = {}, rhs {} has M = {}; give both with the same rows",
                   shape_text(lhs, Rank::matrix), lhs.rows, shape_text(rhs, Rank::matrix), rhs.rows);
  }
  if (args.out.rows != lhs.cols || args.out.cols != rhs.cols) {
    return refused("tgmm: out is {}; lhs {} and rhs {} need [L, {}, {}]", shape_text(args.out, Rank::batch),
                   shape_text(lhs, Rank::matrix), shape_text(rhs, Rank::matrix), lhs.cols, rhs.cols);
  }
  return {};
}

}  // namespace

Status make_dense(ConstView& values) {
  if (values.cols % kPackedCols != 0) {
    return refused("gmm: rhs {} is packed; N must be a multiple of {}, pack_rhs takes any", shape_text(values, Rank::batch),
                   kPackedCols);
  }
  values = matrices(values.data, values.format, values.batch, values.rows, values.cols);
  return {};
}

Status check_shapes(const GmmArgs& args, const Options& options) {
  if (Status s = check_options("gmm", options); !s.ok()) return s;
  if (Status s = check_choices(args); !s.ok()) return s;
  if (Status s = check_rhs_given(args); !s.ok()) return s;
  if (Status s = check_operand({"gmm", "rhs", "rhs scales", args.rhs, Rank::batch}, RowAxis::plain); !s.ok()) return s;
  if (Status s = check_operand({"gmm", "lhs", "lhs scales", args.lhs, Rank::matrix}, RowAxis::grouped); !s.ok()) return s;
  if (Status s = check_pair("gmm", args.lhs.values.format, args.rhs.values.format); !s.ok()) return s;
  if (Status s = check_out("gmm", args.out, Rank::matrix, args.out_mode); !s.ok()) return s;
  if (Status s = check_dimensions(args); !s.ok()) return s;
  if (Status s = check_bias(args.bias, args.rhs.values); !s.ok()) return s;
  return check_local_groups("gmm", "rhs", args.groups, args.first_group, args.rhs.values.batch);
}

Status check_shapes(const TgmmArgs& args, const Options& options) {
  if (Status s = check_options("tgmm", options); !s.ok()) return s;
  if (Status s = check_operand({"tgmm", "lhs", "lhs scales", args.lhs, Rank::matrix}, RowAxis::grouped); !s.ok()) return s;
  if (Status s = check_operand({"tgmm", "rhs", "rhs scales", args.rhs, Rank::matrix}, RowAxis::grouped); !s.ok()) return s;
  if (Status s = check_pair("tgmm", args.lhs.values.format, args.rhs.values.format); !s.ok()) return s;
  if (Status s = check_out("tgmm", args.out, Rank::batch, args.out_mode); !s.ok()) return s;
  if (Status s = check_dimensions(args); !s.ok()) return s;
  return check_local_groups("tgmm", "out", args.groups, args.first_group, args.out.batch);
}

}  // namespace ragdot::api
