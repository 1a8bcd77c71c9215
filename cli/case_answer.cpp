// One plan, run as often as is asked for.
#include "cli/case_answer.hpp"

#include <algorithm>
#include <chrono>

#include "testing/case.hpp"

namespace ragdot::cli {
namespace {

template <class Args>
Status compute(const Args& args, const Options& options, const CaseFile& c, int repeat, Answer& answer) {
  const Result<Plan> plan = make_plan(args, options);
  if (!plan.ok()) return plan.status();
  answer.kernel = plan.value().kernel();
  answer.tile = plan.value().effective_tiling();
  testing::Bytes workspace(plan.value().workspace_bytes());
  const testing::Bytes initial = c.initial_out();
  for (int i = 0; i < repeat; ++i) {
    std::copy(initial.begin(), initial.end(), answer.out.begin());
    const auto start = std::chrono::steady_clock::now();
    if (Status s = run(plan.value(), args, workspace); !s.ok()) return s;
    answer.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return {};
}

}  // namespace

Status compute(const CaseFile& c, int repeat, Answer& answer) {
  const testing::Problem& p = c.problem();
  const Options options = testing::options_of(p);
  answer.out = c.initial_out();
  return c.is_gmm() ? compute(c.gmm_args(answer.out.data()), options, c, repeat, answer)
                    : compute(c.tgmm_args(answer.out.data()), options, c, repeat, answer);
}

}  // namespace ragdot::cli
