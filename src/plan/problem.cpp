// From arguments to a Problem, and its one-line text.
#include "plan/problem.hpp"

#include <fmt/format.h>

#include "format/fault.hpp"

namespace ragdot::plan {
namespace {

OperandShape shape_of(const Operand& operand) {
  OperandShape shape;
  shape.values = operand.values.format;
  if (operand.scales.present()) {
    shape.scales = operand.scales.view.format;
    shape.block_rows = operand.scales.block_rows;
    shape.block_cols = operand.scales.block_cols;
    shape.origin = operand.scales.origin;
  }
  return shape;
}

std::string block_text(std::int64_t block) { return block == kWholeAxis ? "*" : fmt::format("{}", block); }

std::string describe(const OperandShape& shape) {
  if (shape.scales == Format::none) return name(shape.values);
  return fmt::format("{}:{}x{}", name(shape.values), block_text(shape.block_rows), block_text(shape.block_cols));
}

/// What of the scales is not the default: " lscale=e8m0 origin=per_group". Problem strings have one origin for both operands.
std::string scales_text(const Problem& p) {
  std::string text;
  const auto add_format = [&](const char* key, const OperandShape& shape) {
    if (shape.scales != Format::none && shape.scales != Format::f32) text += fmt::format(" {}={}", key, name(shape.scales));
  };
  add_format("lscale", p.lhs);
  add_format("rscale", p.rhs);
  const auto per_group = [](const OperandShape& shape) { return shape.origin == ScaleOrigin::per_group; };
  const auto global = [&](const OperandShape& shape) { return shape.scales != Format::none && !per_group(shape); };
  if (p.op == Op::tgmm && (global(p.lhs) || global(p.rhs))) {
    if (per_group(p.lhs)) text += " lorigin=per_group";
    if (per_group(p.rhs)) text += " rorigin=per_group";
  } else if (per_group(p.lhs) || per_group(p.rhs)) {
    text += " origin=per_group";
  }
  return text;
}

const char* name(Activation activation) {
  switch (activation) {
    case Activation::none: break;
    case Activation::relu: return "relu";
    case Activation::tanh: return "tanh";
    case Activation::silu: return "silu";
    case Activation::gelu_tanh: return "gelu_tanh";
    case Activation::gelu_erf: return "gelu_erf";
  }
  return "none";
}

/// What is not the default, each with a space before it.
std::string choices_text(const Problem& p) {
  std::string text = p.local == p.groups ? "" : fmt::format(" first={} local={}", p.first_group, p.local);
  if (p.bias) text += " bias=1";
  if (p.activation != Activation::none) text += fmt::format(" act={}", name(p.activation));
  if (p.rows_outside == RowsOutside::leave) text += " rows_outside=leave";
  if (p.out_mode == OutMode::accumulate) text += " accumulate=1";
  return text;
}

}  // namespace

bool by_columns(const View& view) { return view.row_stride == 1 && view.col_stride != 1; }

Problem problem_of(const GmmArgs& args) {
  const Operand& rhs = args.rhs;
  Problem p;
  p.op = Op::gmm;
  p.m = args.lhs.values.rows;
  p.k = args.lhs.values.cols;
  p.n = rhs.values.cols;
  p.groups = args.groups.count;
  p.local = rhs.values.batch;
  p.first_group = args.first_group;
  p.lhs = shape_of(args.lhs);
  p.rhs = shape_of(rhs);
  p.out = args.out.format;
  p.out_mode = args.out_mode;
  p.rows_outside = args.rows_outside;
  if (!fault::on(fault::Id::plan_forgets_activation)) p.activation = args.activation;
  p.bias = args.bias.present();
  if (args.rhs_layout == RhsLayout::packed) {
    p.weights = Weights::packed;
  } else if (rhs.values.row_stride == 1) {
    p.weights = Weights::columns;
  }
  return p;
}

Problem problem_of(const TgmmArgs& args) {
  Problem p;
  p.op = Op::tgmm;
  p.m = args.lhs.values.rows;
  p.k = args.lhs.values.cols;
  p.n = args.rhs.values.cols;
  p.groups = args.groups.count;
  p.local = args.out.batch;
  p.first_group = args.first_group;
  p.lhs = shape_of(args.lhs);
  p.rhs = shape_of(args.rhs);
  p.out = args.out.format;
  p.out_mode = args.out_mode;
  p.out_by_columns = by_columns(args.out);
  return p;
}

std::string describe(const Problem& p) {
  return fmt::format("{} g={} m={} k={} n={} lhs={} rhs={}{} out={}{}", p.op == Op::gmm ? "gmm" : "tgmm", p.groups, p.m, p.k,
                     p.n, describe(p.lhs), describe(p.rhs), scales_text(p), name(p.out), choices_text(p));
}

}  // namespace ragdot::plan
