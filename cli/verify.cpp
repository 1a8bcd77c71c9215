// ragdot verify: a problem or a preset against the oracle, the reduction order, and all ways of running it against each other.
#include "testing/verify.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "cli/exit_codes.hpp"
#include "cli/print.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "cli/verify_random.hpp"
#include "ragdot/kernels.hpp"
#include "testing/presets.hpp"

namespace ragdot::cli {
namespace {

using testing::VerifyReport;

struct VerifyWords {
  std::vector<std::string> problem;
  std::string preset;
  testing::CampaignOptions random;
  CLI::Option* random_option = nullptr;
  std::vector<CLI::Option*> only_random;  // options that mean nothing elsewhere
  JsonOption json;
};

Json json_of(const VerifyReport& r, double seconds) {
  Json json = {{"problem", r.problem},
               {"kernel", r.kernel},
               {"ok", r.ok},
               {"refused", r.refusal != Code::ok},
               {"outputs_checked", r.outputs_checked},
               {"worst_over_bound", r.worst_over_bound},
               {"differing_bits", r.differing_bits},
               {"cosine_to_bf16", r.has_cosine ? Json(r.cosine_to_bf16) : Json()},
               {"tilings", r.tilings},
               {"outputs", r.outputs},
               {"order_checked", r.order_checked},
               {"kernels", r.kernels},
               {"seconds", seconds}};
  if (!r.ok) json["failure"] = r.failure;
  return json;
}

void print_header() {
  put("{:<4} {:>9} {:>8} {:>11} {:>9} {:>8} {:>7}  problem\n", "", "checked", "worst/E", "cosine", "diff bits", "tilings",
      "time");
}

void print_row(const VerifyReport& r, double seconds) {
  if (r.refusal != Code::ok) {
    put("REFUSED {}\n     {}\n", r.problem, r.failure);
    flush();
    return;
  }
  put("{:<4} {:>9} {:>8.4f} {:>11} {:>9} {:>8} {:>6.1f}s  {}\n", r.ok ? "ok" : "FAIL", r.outputs_checked, r.worst_over_bound,
      r.has_cosine ? fmt::format("{:.7f}", r.cosine_to_bf16) : "-", r.differing_bits, r.tilings, seconds, r.problem);
  for (const double cosine : r.tiling_cosines) {
    if (fmt::format("{:.7f}", cosine) != fmt::format("{:.7f}", r.cosine_to_bf16))
      put("     a tiling's cosine is {:.7f}\n", cosine);
  }
  if (!r.ok) put("     {}\n     replay: ragdot verify {}\n", r.failure, r.problem);
  flush();
}

/// The problems that were asked for, or the exit code of a refusal.
Result<std::vector<testing::Problem>> problems_of(const VerifyWords& words) {
  std::vector<testing::Problem> problems;
  if (words.preset.empty() == words.problem.empty()) {
    return Status(Code::invalid_argument, "verify: give either a problem or --preset NAME; see ragdot verify --help");
  }
  if (words.preset.empty()) {
    const auto problem = testing::parse_problem(fmt::format("{}", fmt::join(words.problem, " ")));
    if (!problem.ok()) return problem.status();
    problems.push_back(problem.value());
    return problems;
  }
  const auto preset = testing::preset(words.preset);
  if (!preset.ok()) return preset.status();
  for (const testing::Preset& p : preset.value()) problems.push_back(p.problem);
  return problems;
}

int code_of(const VerifyReport& r) {
  if (r.ok) return kOk;
  return r.refusal == Code::ok ? kCheckFailed : exit_code_of(r.refusal);
}

/// The campaign, when its words make sense.
int random_command(const VerifyWords& words) {
  const testing::CampaignOptions& o = words.random;
  if (!words.problem.empty() || !words.preset.empty()) {
    complain("verify: --random makes its own problems; leave out PROBLEM and --preset");
    return kUsage;
  }
  if (!o.kernel.empty()) {
    if (Status s = check_kernel_name("verify", o.kernel); !s.ok()) return refuse(s);
    for (const KernelInfo& kernel : list_kernels()) {
      if (kernel.name != o.kernel || kernel.usable) continue;
      complain(fmt::format("verify: kernel {} is not usable on this machine: {}", kernel.name, kernel.reason));
      return kNotPossible;
    }
  }
  return verify_random(o, words.json);
}

int verify_command(const VerifyWords& words) {
  if (Status s = words.json.check({}); !s.ok()) return refuse(s);
  if (words.random_option->count() > 0) return random_command(words);
  for (const CLI::Option* option : words.only_random) {
    if (option->count() == 0) continue;
    complain(fmt::format("verify: {} belongs to --random N; give that too", option->get_name()));
    return kUsage;
  }
  const auto problems = problems_of(words);
  if (!problems.ok()) return refuse(problems.status());
  testing::VerifyOptions options;
  options.tilings = testing::preset_tilings(words.preset);
  const bool quiet = words.json.on_stdout();
  if (!quiet) print_header();
  Json cases = Json::array();
  int code = kOk;
  double total = 0;
  Progress progress;
  for (std::size_t i = 0; i < problems.value().size(); ++i) {
    const testing::Problem& problem = problems.value()[i];
    progress.show(fmt::format("[{}/{}] {}", i + 1, problems.value().size(), to_string(problem)));
    const auto start = std::chrono::steady_clock::now();
    const VerifyReport report = testing::verify(problem, options);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    progress.clear();
    total += seconds;
    if (code == kOk || code_of(report) == kCheckFailed) code = code_of(report);
    if (!quiet) print_row(report, seconds);
    cases.push_back(json_of(report, seconds));
  }
  if (!quiet) put("{} problems, {} in {:.1f} s\n", cases.size(), code == kOk ? "all ok" : "NOT ok", total);
  const Json json = {
      {"command", "verify"}, {"version", version()}, {"machine", machine_json()}, {"ok", code == kOk}, {"cases", cases}};
  return words.json.write(json) ? code : kUsage;
}

}  // namespace

void add_verify(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<VerifyWords>();
  CLI::App* verb =
      app.add_subcommand("verify", "check results against the oracle, bit by bit across kernels, tilings and threads");
  verb->add_option("problem", words->problem, "OP key=value ...")->type_name("PROBLEM");
  verb->add_option("--preset", words->preset, fmt::format("one of {}", fmt::join(testing::preset_names(), ", ")))
      ->type_name("NAME");
  words->random_option = verb->add_option("--random", words->random.cases, "N random calls on every usable kernel")
                             ->check(whole_from(1))
                             ->type_name("N");
  words->only_random = {verb->add_option("--seconds", words->random.seconds, "with --random: no case begins after S seconds")
                            ->check(from_zero())
                            ->type_name("S"),
                        verb->add_option("--seed", words->random.seed, "with --random: another list of cases (1)")
                            ->check(whole_64_bits())
                            ->type_name("X"),
                        verb->add_option("--first", words->random.first, "with --random: index of the first case (0)")
                            ->check(whole_64_bits())
                            ->type_name("I"),
                        verb->add_option("--kernel", words->random.kernel, "with --random: this kernel alone")->type_name("K")};
  words->json.add_to(*verb);
  verb->footer(
      "Examples:\n"
      "  ragdot verify --preset smoke\n"
      "  ragdot verify tgmm g=4 m=1000 k=256 n=384 lhs=e4m3:128x1 rhs=e4m3:128x1 dist=zipf:1.1\n"
      "  ragdot verify --preset seed --json seed.json\n"
      "  ragdot verify --random 10000 --seconds 60 --seed 7\n"
      "worst/E is the largest error over its bound (at most 1); cosine is to the product of the unquantised bf16 operands.");
  verb->callback([words, &exit_code] { exit_code = verify_command(*words); });
}

}  // namespace ragdot::cli
