// The CPU backend: from a checked call to spans, items and the driver.
#include <algorithm>
#include <cstring>

#include "cpu/balance.hpp"
#include "cpu/drive.hpp"
#include "cpu/exchange.hpp"
#include "cpu/kernel.hpp"
#include "cpu/packed_weights.hpp"
#include "cpu/tile_size.hpp"
#include "cpu/workspace.hpp"
#include "format/fault.hpp"
#include "format/never_destroyed.hpp"
#include "plan/backend.hpp"
#include "plan/cpu.hpp"
#include "plan/idle_strides.hpp"

namespace ragdot::cpu {
namespace {

using fault::Id;
using plan::without_idle_strides;
using schedule::Span;

/// Running sum of per_group scale rows; 0 throughout for other grids.
std::int64_t scale_rows(const Scales& scales, const RowRange& rows) {
  if (!scales.present() || scales.origin == ScaleOrigin::global) return 0;
  return schedule::group_scale_rows(rows.size(), scales.block_rows);
}

/// Rows that a faulty library would take; rows of a per_group grid cannot be widened, their scales would lie outside memory.
void plant_range_faults(RowRange& range, std::int64_t rows, const Scales& lhs, const Scales& rhs, bool is_last) {
  const bool widens = lhs.origin == ScaleOrigin::global && rhs.origin == ScaleOrigin::global;
  if (fault::on(Id::boundary_row_counted_twice) && widens && range.end < rows) ++range.end;
  if (fault::on(Id::first_row_of_group_skipped) && range.size() > 1) ++range.begin;
  if (fault::on(Id::tail_included) && widens && is_last) range.end = rows;
}

/// Writes the local groups into `spans`, and with `outside` the rows between them; returns how many.
std::int64_t fill_spans(std::span<const RowRange> groups, const plan::Problem& problem, const Operand& lhs, const Operand& rhs,
                        bool outside, std::int64_t rows, Span* spans) {
  std::int64_t count = 0;
  std::int64_t covered = 0;
  std::int64_t lhs_row = 0;
  std::int64_t rhs_row = 0;
  const auto skip_to = [&](std::int64_t row) {
    if (outside && row > covered) spans[count++] = {{covered, row}, -1};
    covered = std::max(covered, row);
  };
  for (std::int64_t g = 0; g < problem.first_group + problem.local; ++g) {
    RowRange range = groups[static_cast<std::size_t>(g)];
    if (g >= problem.first_group) {
      const std::int64_t end = range.end;
      if (range.size() > 0) {  // an empty group covers nothing, wherever it stands
        skip_to(range.begin);
        covered = end;
      }
      plant_range_faults(range, rows, lhs.scales, rhs.scales, g + 1 == problem.first_group + problem.local);
      // An empty slab of tgmm is zero, or left alone when it is accumulated into.
      const bool keep = problem.out_mode == OutMode::accumulate || fault::on(Id::empty_group_unwritten);
      if (range.size() > 0 || !keep) spans[count++] = {range, g - problem.first_group, lhs_row, rhs_row};
    }
    const RowRange& original = groups[static_cast<std::size_t>(g)];
    lhs_row += scale_rows(lhs.scales, original);
    rhs_row += problem.op == plan::Op::tgmm ? scale_rows(rhs.scales, original) : 0;
  }
  skip_to(rows);
  return count;
}

void start(Call& call, const Plan::Choice& choice, std::span<const RowRange> groups, std::int64_t rows, bool outside) {
  call.kernel = kernels()[choice.kernel_index];
  call.op = choice.problem.op;
  call.tile = as_computed(choice.effective, choice.problem);
  call.layout = layout_of(choice, *call.kernel);
  auto* spans = reinterpret_cast<Span*>(call.workspace + call.layout.spans);
  const std::int64_t count = fill_spans(groups, choice.problem, call.lhs, call.rhs, outside, rows, spans);
  const std::span<Span> filled(spans, static_cast<std::size_t>(count));
  balance(filled, call, choice);
  call.spans = filled;
  call.items = schedule::number_items(filled, call.out_rows_per_span(), call.out.cols);
  drive(call, *choice.executor);
}

/// What a kernel's rule says of a problem; empty where it has no objection.
std::string answer(const char* (*rule)(const Demand&), const plan::Problem& problem) {
  const char* reason = rule == nullptr ? nullptr : rule({arithmetic_of(problem), longest_segment(problem)});
  return reason == nullptr ? "" : reason;
}

/// The list, as a vector so that tests can add to it.
std::vector<const Kernel*>& all_kernels() {
  static format::NeverDestroyed<std::vector<const Kernel*>> all(listed_kernels().begin(), listed_kernels().end());
  return *all;
}

class CpuBackend final : public plan::Backend {
 public:
  [[nodiscard]] std::vector<KernelInfo> kernels() const override {
    std::vector<KernelInfo> list;
    for (const Kernel* kernel : cpu::kernels()) {
      const char* reason = kernel->refusal();
      list.push_back({kernel->name, reason == nullptr, reason == nullptr ? "" : reason});
    }
    return list;
  }

  [[nodiscard]] std::string refusal(std::size_t index, const plan::Problem& problem) const override {
    return answer(cpu::kernels()[index]->declines, problem);
  }

  [[nodiscard]] std::string yields(std::size_t index, const plan::Problem& problem) const override {
    return answer(cpu::kernels()[index]->yields, problem);
  }

  void size(Plan::Choice& choice) const override {
    const Kernel& kernel = *cpu::kernels()[choice.kernel_index];
    std::optional<Tiling> asked = choice.asked;
    if (asked) asked = as_computed(*asked, choice.problem);
    const Tiling tile = effective_tile(as_computed(choice.problem), kernel, asked, choice.threads);
    choice.effective = as_computed(tile, choice.problem);
    choice.workspace_bytes = layout_of(choice, kernel).total;
  }

  void run(const Plan::Choice& choice, const GmmArgs& args, std::span<const RowRange> groups,
           std::byte* workspace) const override {
    Call call;
    call.lhs = without_idle_strides(args.lhs);
    call.rhs = without_idle_strides(args.rhs);
    call.rhs_layout = args.rhs_layout;
    call.out = without_idle_strides(args.out);
    call.bias = without_idle_strides(args.bias);
    call.activation = args.activation;
    call.out_mode = args.out_mode;
    call.depth = args.lhs.values.cols;
    call.workspace = workspace;
    bool outside = args.rows_outside == RowsOutside::zero && args.out_mode == OutMode::overwrite;
    if (fault::on(Id::rows_outside_unwritten)) outside = false;
    if (fault::on(Id::rows_outside_touched)) outside = true;
    start(call, choice, groups, args.lhs.values.rows, outside);
  }

  void run(const Plan::Choice& choice, const TgmmArgs& asked, std::span<const RowRange> groups,
           std::byte* workspace) const override {
    const TgmmArgs args = plan::by_columns(asked.out) ? exchanged(asked) : asked;
    Call call;
    call.lhs = without_idle_strides(args.lhs);
    call.rhs = without_idle_strides(args.rhs);
    call.out = without_idle_strides(args.out);
    call.out_mode = args.out_mode;
    call.workspace = workspace;
    start(call, choice, groups, args.lhs.values.rows, false);
  }

  [[nodiscard]] std::shared_ptr<const PackedRhs::Contents> pack(const Plan::Choice& choice, const Operand& rhs) const override {
    return packed_weights(without_idle_strides(rhs), choice);
  }

  void pack_values(const Plan::Choice& choice, const ConstView& rhs, std::byte* to) const override {
    cpu::pack_values(without_idle_strides(rhs), choice, to);
  }
};

}  // namespace
}  // namespace ragdot::cpu

namespace ragdot::cpu {

std::span<const Kernel* const> kernels() { return all_kernels(); }

void add_kernel_for_tests(const Kernel& kernel) { all_kernels().push_back(&kernel); }

}  // namespace ragdot::cpu

namespace ragdot::plan {

const Backend& cpu_backend() {
  static format::NeverDestroyed<cpu::CpuBackend> backend;
  return *backend;
}

}  // namespace ragdot::plan
