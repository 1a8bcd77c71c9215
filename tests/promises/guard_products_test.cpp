// Products touch no byte outside the extents of their views: every operand lies between inaccessible pages, inputs are
// read-only, for every tail of every axis.
#include <gtest/gtest.h>

#include <cstring>

#include "testing/relay.hpp"
#include "tests/cases.hpp"
#include "tests/promises/guarded.hpp"

namespace ragdot::suites {
namespace {

enum class Op { gmm, dlhs, tgmm };

struct GuardCase {
  Op op = Op::gmm;
  Grids grids;
};

std::vector<GuardCase> guard_cases() {
  const auto named = [](const std::vector<Grids>& all, std::initializer_list<const char*> names, Op op,
                        std::vector<GuardCase>& to) {
    for (const Grids& grids : all) {
      for (const char* name : names) {
        if (grids.name == name) to.push_back({op, grids});
      }
    }
  };
  std::vector<GuardCase> cases;
  // One of each value format, and scales of each format on matching, unmatched and per-group grids.
  named(gmm_grids(), {"blockwise", "mx", "odd_per_group", "bf16", "f32", "i8_channelwise"}, Op::gmm, cases);
  named(gmm_grids(), {"blockwise", "mx", "odd", "bf16", "f32", "i8_channelwise"}, Op::dlhs, cases);
  named(tgmm_grids(), {"blockwise", "mx", "odd_per_group", "rows_in_sevens", "bf16", "f32", "i8_blocks"}, Op::tgmm, cases);
  return cases;
}

std::string guard_name(const ::testing::TestParamInfo<GuardCase>& info) {
  constexpr const char* kNames[] = {"gmm_", "dlhs_", "tgmm_"};
  return kNames[static_cast<int>(info.param.op)] + info.param.grids.name;
}

/// What happens to the sums of a call.
struct Finish {
  Format out;
  bool bias;
  Activation activation;
  OutMode mode;
};
constexpr Finish kFinishes[] = {{Format::f32, false, Activation::none, OutMode::overwrite},
                                {Format::bf16, false, Activation::none, OutMode::overwrite},
                                {Format::f16, true, Activation::gelu_tanh, OutMode::overwrite},
                                {Format::f32, false, Activation::none, OutMode::accumulate}};

/// Memory for each argument of a call.
struct Memory {
  static constexpr std::size_t kMost = 1U << 20;
  Guarded lhs{kMost, Access::read};
  Guarded lhs_scales{kMost, Access::read};
  Guarded rhs{kMost, Access::read};
  Guarded rhs_scales{kMost, Access::read};
  Guarded starts{kMost, Access::read};
  Guarded sizes{kMost, Access::read};
  Guarded bias{kMost, Access::read};
  Guarded out{kMost, Access::write};
  Guarded workspace{kMost << 4, Access::write};

  void expect_canaries(const std::string& what) const {
    out.expect_canaries(what + ", out");
    workspace.expect_canaries(what + ", workspace");
  }
};

/// A copy of a view in guarded memory.
ConstView put(const ConstView& from, bool transposed, Edge edge, Guarded& memory) {
  ConstView to = testing::relaid(from, {transposed}, nullptr);
  testing::copy_elements(from, to, memory.place(testing::extent_bytes(to), edge));
  to.data = memory.data();
  return to;
}

Operand put(const Operand& from, bool transposed, Edge edge, Guarded& values, Guarded& scales) {
  Operand to = from;
  to.values = put(from.values, transposed, edge, values);
  if (from.scales.present()) to.scales.view = put(from.scales.view, transposed, edge, scales);
  return to;
}

const std::int64_t* put(const std::vector<std::int64_t>& from, Edge edge, Guarded& memory) {
  std::memcpy(memory.place(from.size() * sizeof from[0], edge), from.data(), from.size() * sizeof from[0]);
  return reinterpret_cast<const std::int64_t*>(memory.data());
}

template <class Args>
void run_guarded(Args args, const Sample& s, const std::string& kernel, Edge edge, Memory& memory) {
  args.groups.data = put(s.starts, edge, memory.starts);
  args.groups.sizes = put(s.sizes, edge, memory.sizes);
  Options options;
  options.kernel = kernel;
  options.threads = 1;
  const Result<Plan> plan = make_plan(args, options);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  memory.workspace.place(plan.value().workspace_bytes(), edge);
  const Status status = run(plan.value(), args, {memory.workspace.data(), plan.value().workspace_bytes()});
  ASSERT_TRUE(status.ok()) << status.message();
}

class Guards : public ::testing::TestWithParam<GuardCase> {
 protected:
  [[nodiscard]] bool is_gmm() const { return GetParam().op != Op::tgmm; }

  /// A call with `tail` elements on one axis.
  [[nodiscard]] Sample sample(int axis, std::int64_t tail) const {
    std::int64_t m = 11;
    std::int64_t k = 37;
    std::int64_t n = 19;
    if (tail % 4 == 2) n = kPackedCols;
    (axis == 0 ? m : axis == 1 ? k : n) = tail;
    const std::int64_t gap = m > 4 ? 1 : 0;
    const Shape shape{{0, m / 2, m / 2 + gap}, {m / 2, 0, m - m / 2 - gap}, m, k, n};
    return make_sample({is_gmm(), GetParam().grids}, shape, Data::mixed, static_cast<std::uint64_t>(1000 * axis + tail));
  }

  /// `columns`: the operands of tgmm lie column by column.
  void compare(const Sample& s, const std::string& kernel, Edge edge, bool columns, const std::vector<std::byte>& expected) {
    const Finish finish{s.out_format, !s.bias.empty(), s.activation, s.out_mode};
    const std::string what = std::string(edge == Edge::front ? "front" : "back") + ", kernel " + kernel + ", [" +
                             std::to_string(s.out_rows()) + ", " + std::to_string(s.lhs.rows) + " x " +
                             std::to_string(s.lhs.cols) + ", " + std::to_string(s.out_cols()) + "], out " + name(finish.out);
    say_on_fault(what);
    const Operand lhs = put(s.lhs.operand(), !is_gmm() && columns, edge, memory_.lhs, memory_.lhs_scales);
    const Operand rhs =
        put(s.rhs.operand(), is_gmm() ? GetParam().op == Op::dlhs : columns, edge, memory_.rhs, memory_.rhs_scales);
    reset_out(s, expected.size(), edge);
    const View out = matrices(static_cast<void*>(memory_.out.data()), s.out_format, s.out_batch(), s.out_rows(), s.out_cols());
    if (is_gmm()) {
      GmmArgs args = s.gmm_args(lhs, rhs, out);
      if (finish.bias) args.bias = put(args.bias, false, edge, memory_.bias);
      run_guarded(args, s, kernel, edge, memory_);
      if (kernel == "amx_standin") run_packed(args, s, kernel, edge, expected, what);
      if (rhs.values.cols % kPackedCols == 0) run_packed_here(args, s, kernel, edge, expected, what);
    } else {
      run_guarded(s.tgmm_args(lhs, rhs, out), s, kernel, edge, memory_);
    }
    expect_results(s, expected, what);
  }

  void expect_results(const Sample& s, const std::vector<std::byte>& expected, const std::string& what) {
    expect_same(s, expected, {memory_.out.written(), memory_.out.written() + expected.size()}, what);
    memory_.expect_canaries(what);
  }

  void reset_out(const Sample& s, std::size_t bytes, Edge edge) {
    std::memset(memory_.out.place(bytes, edge), static_cast<int>(s.out_fill), bytes);
  }

  /// The same call with the weights packed from guarded memory: AMX takes few rows of such weights another way.
  void run_packed(GmmArgs args, const Sample& s, const std::string& kernel, Edge edge, const std::vector<std::byte>& expected,
                  const std::string& what) {
    Options options;
    options.kernel = kernel;
    const Result<PackedRhs> packed = pack_rhs(args.rhs, options);
    ASSERT_TRUE(packed.ok()) << packed.status().message();
    expect_results(s, expected, what);
    args.rhs = {};
    args.packed_rhs = packed.value();
    reset_out(s, expected.size(), edge);
    run_guarded(args, s, kernel, edge, memory_);
  }

  /// The same call with the weights packed in guarded memory.
  void run_packed_here(GmmArgs args, const Sample& s, const std::string& kernel, Edge edge,
                       const std::vector<std::byte>& expected, const std::string& what) {
    expect_results(s, expected, what);
    const std::vector<std::byte> packed = packed_values(args.rhs.values);
    std::memcpy(memory_.rhs.place(packed.size(), edge), packed.data(), packed.size());
    args.rhs.values.data = memory_.rhs.data();
    args.rhs_layout = RhsLayout::packed;
    reset_out(s, expected.size(), edge);
    run_guarded(args, s, kernel, edge, memory_);
  }

  Memory memory_;
};

INSTANTIATE_TEST_SUITE_P(All, Guards, ::testing::ValuesIn(guard_cases()), guard_name);

TEST_P(Guards, EveryTailOfEveryAxis) {
  std::vector<std::string> kernels;
  for (int axis = 0; axis < 3; ++axis) {
    for (std::int64_t tail = 1; tail <= 130; ++tail) {
      Sample s = sample(axis, tail);
      if (kernels.empty()) kernels = kernels_for(s, s.lhs.operand(), s.rhs.operand());
      // f32 and bf16 have ways of their own to out, which the columns matter to.
      const auto turn = static_cast<std::size_t>(tail) % std::size(kFinishes);
      for (const std::size_t index : axis == 2 ? std::vector<std::size_t>{0, 1} : std::vector<std::size_t>{turn}) {
        const Finish& finish = kFinishes[index];
        s.out_format = finish.out;
        s.out_mode = finish.mode;
        s.out_fill = finish.mode == OutMode::accumulate ? std::byte{0x3f} : std::byte{0xcd};
        s.activation = is_gmm() ? finish.activation : Activation::none;
        s.bias.assign(is_gmm() && finish.bias ? static_cast<std::size_t>(s.local * s.rhs.cols) : 0, 0.25F);
        Options options;
        options.kernel = kernels.back();
        const std::vector<std::byte> expected = compute(s, options);
        bool columns = tail / 4 % 2 == 0;
        for (const std::string& kernel : kernels) {
          columns = !columns;
          compare(s, kernel, Edge::back, columns, expected);
          if (tail % 8 == 1) compare(s, kernel, Edge::front, columns, expected);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace ragdot::suites
