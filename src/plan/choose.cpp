// Picks the kernel for a problem, or says kernel by kernel why there is none.
#include <fmt/format.h>

#include <cstdio>
#include <mutex>

#include "format/fault.hpp"
#include "format/never_destroyed.hpp"
#include "plan/backend.hpp"
#include "plan/environment.hpp"
#include "plan/out_of_memory.hpp"
#include "plan/threads.hpp"

namespace ragdot::plan {
namespace {

std::mutex forced_mutex;
/// Guarded by forced_mutex.
std::string& forced_name() {
  static format::NeverDestroyed<std::string> name;
  return *name;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : between) + word;
  return all;
}

}  // namespace

Forced forced_kernel(const Options& options) {
  if (!options.kernel.empty()) return {std::string(options.kernel), "the call", "name none"};
  {
    const std::scoped_lock lock(forced_mutex);
    if (!forced_name().empty()) return {forced_name(), "force_kernel", "force none"};
  }
  const std::string& kernel = environment().kernel;
  if (kernel.empty()) return {};
  return {kernel, "RAGDOT_KERNEL", "unset it"};
}

std::string unknown_kernel(const Forced& forced, const std::string& names) {
  return fmt::format("kernel \"{}\", which {} asks for, is unknown; take one of {}", forced.kernel, forced.by, names);
}

Result<Plan> choose(const Problem& problem, const Options& options, const Forced& forced) {
  auto choice = std::make_shared<Plan::Choice>();
  choice->problem = problem;
  choice->asked = options.tiling;
  choice->strictness = options.strictness;
  choice->executor = &executor_of(options);
  choice->threads = threads_of(options);
  const bool free = forced.kernel.empty();
  bool known = free;
  std::string refusal;  // of the last that is named
  std::vector<std::string> names;
  for (const Backend* backend : backends()) {
    const std::vector<KernelInfo> kernels = backend->kernels();
    for (std::size_t i = 0; i < kernels.size(); ++i) {
      const bool named = free || kernels[i].name == forced.kernel || fault::on(fault::Id::forced_kernel_ignored);
      known = known || named;
      names.push_back(kernels[i].name);
      std::string reason = !named               ? fmt::format("{} is forced", forced.kernel)
                           : !kernels[i].usable ? kernels[i].reason
                                                : backend->refusal(i, problem);
      if (reason.empty() && free) reason = backend->yields(i, problem);
      if (named) refusal = reason;
      if (reason.empty()) {
        choice->backend = backend;
        choice->kernel_index = i;
        choice->kernel = kernels[i].name;
        backend->size(*choice);
        Plan plan(choice);
        if (environment().verbose) std::fprintf(stderr, "ragdot: %s\n", plan.describe().c_str());
        return plan;
      }
      choice->refusals.push_back(kernels[i].name + ": " + reason);
    }
  }
  if (!known) return Status(Code::unsupported, unknown_kernel(forced, joined(names, ", ")));
  if (!free) {
    return Status(Code::unsupported,
                  fmt::format("kernel {}, which {} asks for, does not take {}: {}; {}, for the fastest that does",
                              forced.kernel, forced.by, describe(problem), refusal, forced.instead));
  }
  return Status(Code::unsupported, fmt::format("no kernel takes {}: {}", describe(problem), joined(choice->refusals, "; ")));
}

std::string mismatch(const Problem& planned, const Problem& call) {
  if (call.m > planned.m && !fault::on(fault::Id::plan_takes_more_rows)) {
    return fmt::format("the call has {} rows and the plan was made for at most {}; make a plan for the largest M", call.m,
                       planned.m);
  }
  Problem same = call;
  same.m = planned.m;
  same.weights = planned.weights;
  same.out_by_columns = planned.out_by_columns;
  if (same == planned) return "";
  return fmt::format("the call is {} and the plan was made for {}; make a plan for each problem", describe(call),
                     describe(planned));
}

}  // namespace ragdot::plan

namespace ragdot {

std::vector<KernelInfo> list_kernels() {
  std::vector<KernelInfo> all;
  for (const plan::Backend* backend : plan::backends()) {
    for (KernelInfo& kernel : backend->kernels()) all.push_back(std::move(kernel));
  }
  return all;
}

Status force_kernel(std::string_view name) {
  return plan::catching("force_kernel", "the kernel's name could not be kept; free memory", [&]() -> Status {
    std::string known;
    std::string reason;
    bool found = name.empty();
    for (const KernelInfo& kernel : list_kernels()) {
      if (kernel.usable) known += (known.empty() ? "" : ", ") + kernel.name;
      if (kernel.name == name) reason = kernel.usable ? "" : ": " + kernel.reason;
      found = found || (kernel.name == name && kernel.usable);
    }
    if (!found) {
      return {Code::unsupported, fmt::format("force_kernel: \"{}\" is not usable here{}; take one of {}", name, reason, known)};
    }
    const std::scoped_lock lock(plan::forced_mutex);
    plan::forced_name() = name;
    return {};
  });
}

const char* version() { return RAGDOT_VERSION; }

std::size_t Plan::workspace_bytes() const {
  return present() ? choice_->workspace_bytes + choice_->table_bytes() + kWorkspaceAlignment : 0;
}
std::string Plan::kernel() const { return present() ? choice_->kernel : ""; }
Tiling Plan::effective_tiling() const { return present() ? choice_->effective : Tiling{}; }

std::string Plan::describe() const {
  if (!present()) return "";
  const Choice& c = *choice_;
  const auto text = [](const Tiling& t) { return fmt::format("{}x{}x{}", t.tm, t.tk, t.tn); };
  std::string lines =
      fmt::format("{}: kernel {}, tile {} (asked: {}), {} threads, workspace {} bytes", plan::describe(c.problem), c.kernel,
                  text(c.effective), c.asked ? text(*c.asked) : "auto", c.threads, workspace_bytes());
  for (const std::string& refusal : c.refusals) lines += "\n  not " + refusal;
  return lines;
}

}  // namespace ragdot
