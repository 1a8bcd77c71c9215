// The C interface: plans. A plan of C owns the executor that its options named.
#include <fmt/format.h>

#include <utility>

#include "api/c_abi.hpp"

struct ragdot_plan {
  std::unique_ptr<ragdot::c_abi::CallbackExecutor> executor;
  ragdot::Plan plan;
  std::string description;
  std::string kernel;
};

namespace ragdot::c_abi {
namespace {

template <class Args, class CArgs>
int plan(const char* function, const CArgs* like, const ragdot_options* options, ragdot_plan** out) {
  return guarded(function, [&]() -> Status {
    if (out == nullptr) {
      return {Code::invalid_argument, fmt::format("{}: plan is null; give the address of a ragdot_plan pointer", function)};
    }
    Args args;
    if (Status s = read_args(function, like, args); !s.ok()) return s;
    ReadOptions read;
    if (Status s = read_options(function, options, read); !s.ok()) return s;
    Result<Plan> made = make_plan(args, read.options);
    if (!made.ok()) return made.status();
    auto handle = std::make_unique<ragdot_plan>();
    handle->executor = std::move(read.executor);
    handle->description = made.value().describe();
    handle->kernel = made.value().kernel();
    handle->plan = std::move(made.value());
    *out = handle.release();
    return {};
  });
}

template <class Args, class CArgs>
int run_plan(const char* function, const ragdot_plan* plan, const CArgs* given, void* workspace, size_t bytes) {
  return guarded(function, [&]() -> Status {
    if (plan == nullptr) return {Code::invalid_argument, fmt::format("{}: plan is null; make one first", function)};
    Args args;
    if (Status s = read_args(function, given, args); !s.ok()) return s;
    return run(plan->plan, args, {static_cast<std::byte*>(workspace), bytes});
  });
}

}  // namespace
}  // namespace ragdot::c_abi

namespace c_abi = ragdot::c_abi;

int ragdot_plan_gmm(const ragdot_gmm_args* like, const ragdot_options* options, ragdot_plan** plan) {
  return c_abi::plan<ragdot::GmmArgs>("ragdot_plan_gmm", like, options, plan);
}

int ragdot_plan_tgmm(const ragdot_tgmm_args* like, const ragdot_options* options, ragdot_plan** plan) {
  return c_abi::plan<ragdot::TgmmArgs>("ragdot_plan_tgmm", like, options, plan);
}

void ragdot_plan_free(ragdot_plan* plan) { delete plan; }

size_t ragdot_plan_workspace_bytes(const ragdot_plan* plan) { return plan == nullptr ? 0 : plan->plan.workspace_bytes(); }

const char* ragdot_plan_describe(const ragdot_plan* plan) { return plan == nullptr ? "" : plan->description.c_str(); }

const char* ragdot_plan_kernel(const ragdot_plan* plan) { return plan == nullptr ? "" : plan->kernel.c_str(); }

ragdot_tiling ragdot_plan_tiling(const ragdot_plan* plan) {
  if (plan == nullptr) return {0, 0, 0};
  const ragdot::Tiling tiling = plan->plan.effective_tiling();
  return {tiling.tm, tiling.tk, tiling.tn};
}

int ragdot_run_gmm(const ragdot_plan* plan, const ragdot_gmm_args* args, void* workspace, size_t workspace_bytes) {
  return c_abi::run_plan<ragdot::GmmArgs>("ragdot_run_gmm", plan, args, workspace, workspace_bytes);
}

int ragdot_run_tgmm(const ragdot_plan* plan, const ragdot_tgmm_args* args, void* workspace, size_t workspace_bytes) {
  return c_abi::run_plan<ragdot::TgmmArgs>("ragdot_run_tgmm", plan, args, workspace, workspace_bytes);
}
