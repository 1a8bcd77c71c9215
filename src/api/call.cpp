// The doors of the two products: check, plan, compute. Nothing is written before every check has passed.
#include <fmt/format.h>

#include <algorithm>

#include "api/door.hpp"
#include "api/validate.hpp"
#include "format/fault.hpp"
#include "plan/backend.hpp"
#include "ragdot/plan.hpp"

namespace ragdot {
namespace {

const char* op_name(const GmmArgs&) { return "gmm"; }
const char* op_name(const TgmmArgs&) { return "tgmm"; }

/// The same call with the operand that packed_rhs holds as its rhs. The values of a packed rhs get the strides of a dense view,
/// which is as many bytes, but for what a library's own copy is filled up with.
Result<GmmArgs> unpacked(const GmmArgs& args) {
  const bool holds = args.packed_rhs.present();
  const bool packed = args.rhs_layout == RhsLayout::packed;
  if (!holds && !packed) return args;
  if (holds && (args.rhs.values.present() || args.rhs.scales.present())) {
    return Status(Code::invalid_argument, "gmm: both rhs and packed_rhs are given; give one of them");
  }
  GmmArgs plain = args;
  if (holds) {
    plain.rhs = args.packed_rhs.contents()->operand;
    plain.packed_rhs = {};
    if (args.rhs_layout == RhsLayout::strided) plain.rhs_layout = RhsLayout::packed;  // others are for check_shapes to refuse
  } else if (Status s = api::make_dense(plain.rhs.values); !s.ok()) {
    return s;
  }
  return plain;
}
Result<TgmmArgs> unpacked(const TgmmArgs& args) { return args; }

std::byte* aligned(std::byte* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  return p + (kWorkspaceAlignment - address % kWorkspaceAlignment) % kWorkspaceAlignment;
}

/// Checks what depends on group numbers, then computes. `args` is unpacked, and its shapes and memory are checked: the
/// workspace is written here, group numbers first.
template <class Args>
Status compute(const Plan::Choice& choice, const Args& args, std::byte* workspace) {
  std::byte* base = aligned(workspace);
  const std::span<RowRange> groups(reinterpret_cast<RowRange*>(base), static_cast<std::size_t>(args.groups.count));
  if (Status s = api::read_groups(op_name(args), args.groups, args.lhs.values.rows, groups); !s.ok()) return s;
  if (Status s = api::check_scales(args, groups, choice.strictness); !s.ok()) return s;
  choice.backend->run(choice, args, groups, base + choice.table_bytes());
  return {};
}

template <class Args>
Result<Plan> plan_for(const Args& args, const Options& options) {
  const Result<Args> plain = unpacked(args);
  if (!plain.ok()) return plain.status();
  if (Status s = api::check_shapes(plain.value(), options); !s.ok()) return s;
  Result<Plan> plan = plan::choose(plan::problem_of(plain.value()), options, plan::forced_kernel(options));
  if (plan.ok()) return plan;
  return Status(plan.status().code(), fmt::format("{}: {}", op_name(args), plan.status().message()));
}

constexpr char kNoWorkspace[] = "the workspace could not be allocated; use a plan with a workspace of your own";
constexpr char kNoPlan[] = "the plan could not be allocated; free memory";

template <class Args>
Status one_shot(const Args& args, const Options& options) {
  return api::door(op_name(args), api::kNoTasks, [&]() -> Status {
    const Result<Plan> plan = plan_for(args, options);
    if (!plan.ok()) return plan.status();
    const Result<Args> plain = unpacked(args);
    if (Status s = api::check_memory(plain.value()); !s.ok()) return s;
    std::unique_ptr<std::byte[]> workspace;
    Status room = plan::catching(op_name(args), kNoWorkspace, [&]() -> Status {
      workspace.reset(new std::byte[plan.value().workspace_bytes()]);
      return {};
    });
    if (!room.ok()) return room;
    return compute(*plan.value().choice(), plain.value(), workspace.get());
  });
}

template <class Args>
Status run_plan(const Plan& plan, const Args& args, std::span<std::byte> workspace) {
  const char* op = op_name(args);
  return api::door(op, api::kNoTasks, [&]() -> Status {
    if (!plan.present()) return {Code::invalid_argument, fmt::format("{}: the plan is empty; get one from make_plan", op)};
    const Plan::Choice& choice = *plan.choice();
    std::size_t short_by = fault::on(fault::Id::workspace_one_short_accepted) ? 1 : 0;
    if (workspace.size() + short_by < plan.workspace_bytes() || workspace.data() == nullptr) {
      return {Code::invalid_argument, fmt::format("{}: the workspace has {} bytes{}; the plan needs {}", op, workspace.size(),
                                                  workspace.data() == nullptr ? " at null" : "", plan.workspace_bytes())};
    }
    const Result<Args> plain = unpacked(args);
    if (!plain.ok()) return plain.status();
    if (Status s = api::check_shapes(plain.value(), {}); !s.ok()) return s;
    if (const std::string why = plan::mismatch(choice.problem, plan::problem_of(plain.value())); !why.empty()) {
      return {Code::invalid_argument, fmt::format("{}: {}", op, why)};
    }
    if (Status s = api::check_memory(plain.value()); !s.ok()) return s;
    const std::span<std::byte> used = workspace.first(std::min(workspace.size(), plan.workspace_bytes()));
    if (Status s = api::check_workspace(plain.value(), used); !s.ok()) return s;
    return compute(choice, plain.value(), workspace.data());
  });
}

}  // namespace

Status gmm(const GmmArgs& args, const Options& options) { return one_shot(args, options); }
Status tgmm(const TgmmArgs& args, const Options& options) { return one_shot(args, options); }

Result<Plan> make_plan(const GmmArgs& like, const Options& options) {
  return api::door("gmm", kNoPlan, [&] { return plan_for(like, options); });
}
Result<Plan> make_plan(const TgmmArgs& like, const Options& options) {
  return api::door("tgmm", kNoPlan, [&] { return plan_for(like, options); });
}

Status run(const Plan& plan, const GmmArgs& args, std::span<std::byte> workspace) { return run_plan(plan, args, workspace); }
Status run(const Plan& plan, const TgmmArgs& args, std::span<std::byte> workspace) { return run_plan(plan, args, workspace); }

}  // namespace ragdot
