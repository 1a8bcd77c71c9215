// ragdot bench: contenders side by side on the same data, checked before they are timed, against the machine's limits.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <thread>

#include "bench/passes.hpp"
#include "bench/presets.hpp"
#include "cli/bench_chart.hpp"
#include "cli/bench_compare.hpp"
#include "cli/bench_report.hpp"
#include "cli/exit_codes.hpp"
#include "cli/print.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "testing/presets.hpp"

namespace ragdot::cli {
namespace {

using bench::Row;

struct BenchWords {
  std::vector<std::string> problem;
  std::string preset;
  bench::Choices choices;
  std::string onednn = "on";
  bool tilings = false;
  bool chart = false;
  double seconds = 0;
  std::int64_t starts = 0;
  double pause = 0;
  std::vector<std::string> compare;
  double threshold = 5;
  JsonOption json;
};

Result<bench::Agenda> agenda_of(const BenchWords& words) {
  if (words.preset.empty() == words.problem.empty())
    return Status(Code::invalid_argument, "bench: give either a problem or --preset NAME; see ragdot bench --help");
  bench::Choices choices = words.choices;
  choices.rivals = words.onednn == "off" ? bench::Rivals::without : bench::Rivals::with;
  choices.tilings = words.tilings ? bench::Tilings::swept : bench::Tilings::automatic;
  if (!words.preset.empty()) return bench::preset(words.preset, choices);
  const auto problem = testing::parse_problem(fmt::format("{}", fmt::join(words.problem, " ")));
  if (!problem.ok()) return problem.status();
  return bench::agenda_of(problem.value(), choices);
}

/// The recipes that the words name: those of --recipes, else that of the problem.
std::vector<std::string> named_recipes(const BenchWords& words, const bench::Agenda& agenda) {
  if (!words.choices.recipes.empty() || !words.preset.empty()) return words.choices.recipes;
  return {agenda.comparisons.front().entries.front().recipe};
}

std::string command_line_of(const BenchWords& words) {
  std::string line = "ragdot bench";
  if (!words.preset.empty()) line += " --preset " + words.preset;
  for (const std::string& word : words.problem) line += " " + word;
  if (!words.choices.kernels.empty()) line += fmt::format(" --kernel {}", fmt::join(words.choices.kernels, ","));
  if (!words.choices.threads.empty()) line += fmt::format(" --threads {}", fmt::join(words.choices.threads, ","));
  if (!words.choices.recipes.empty()) line += fmt::format(" --recipes {}", fmt::join(words.choices.recipes, ","));
  if (words.tilings) line += " --tilings";
  if (words.onednn == "off") line += " --onednn off";
  if (words.seconds > 0) line += fmt::format(" --seconds {}", words.seconds);
  if (words.starts > 0) line += fmt::format(" --starts {}", words.starts);
  if (words.pause > 0) line += fmt::format(" --pause {}", words.pause);
  return line;
}

std::string bar(double part) {
  constexpr int kWidth = 20;
  std::string text;
  for (int i = 0; i < kWidth; ++i) text += i < part * kWidth ? "█" : "░";
  return text;
}

/// Every limit three times, for the machine's line; comparisons sample those that bound them again and again.
void sample_machine(bench::Meter& meter, BenchReport& report, Progress& progress) {
  const std::vector<std::string> limits = bench::all_limits();
  for (int i = 0; i < 3; ++i) {
    for (const std::string& limit : limits) {
      progress.show(fmt::format("limits of this machine: {}", limit));
      meter.sample(limit, report.threads, report.limits);
    }
  }
  progress.clear();
}

void print_comparison(const std::vector<Row>& rows, const bench::Ratios& ratios, bool with_chart) {
  print_rows(rows);
  print_ratios(ratios);
  if (with_chart) put_text(chart_of(rows));
  put("\n");
  flush();
}

/// Says so where other programs are likely to take part of the processors.
double load_average() {
  double load = 0;
  if (getloadavg(&load, 1) != 1) return 0;
  const unsigned processors = std::max(1U, std::thread::hardware_concurrency());
  if (load > 0.5 * processors) {
    complain(
        fmt::format("this machine is busy (load average {:.1f}, {} processors): these times say little; run it again when it "
                    "is quiet",
                    load, processors));
  }
  return load;
}

/// Rows of a kernel that no list has would say so one by one, behind minutes of measurement.
Status check_kernels(const bench::Agenda& agenda) {
  for (const bench::Comparison& c : agenda.comparisons) {
    for (const bench::Entry& entry : c.entries) {
      const std::string& kernel = entry.problem.kernel;
      if (kernel.empty()) continue;
      if (Status s = check_kernel_name("bench", kernel); !s.ok()) return s;
    }
  }
  return {};
}

int bench_command(const BenchWords& words) {
  if (!words.compare.empty() && words.json.given())
    return refuse({Code::invalid_argument, "bench: --json is for what a run measures; leave it out beside --compare"});
  if (!words.compare.empty()) return compare_files(words.compare[0], words.compare[1], words.threshold);
  if (Status s = words.json.check({}); !s.ok()) return refuse(s);
  const auto agenda = agenda_of(words);
  if (!agenda.ok()) return refuse(agenda.status());
  if (Status s = check_kernels(agenda.value()); !s.ok()) return refuse(s);
  const bool quiet = words.json.on_stdout();
  const bool with_chart = words.chart || isatty(STDOUT_FILENO) != 0;
  Progress progress;
  bench::Meter meter;
  BenchReport report;
  report.command_line = command_line_of(words);
  report.preset = words.preset;
  report.kernels = words.choices.kernels;
  report.threads = words.choices.threads.empty()
                       ? default_executor().concurrency()
                       : *std::max_element(words.choices.threads.begin(), words.choices.threads.end());
  report.load_average = load_average();
  report.buffer_bytes = meter.buffer_bytes();
  sample_machine(meter, report, progress);
  if (!quiet) print_machine(report);
  const auto& comparisons = agenda.value().comparisons;
  bench::Settings settings;
  settings.starts = agenda.value().starts;
  if (words.starts > 0) settings.starts = words.starts;
  settings.between_passes = [&] {
    if (words.pause > 0) progress.show(fmt::format("idle for {} s (--pause)", words.pause));
    std::this_thread::sleep_for(std::chrono::duration<double>(words.pause));
  };
  const double seconds = words.seconds > 0 ? words.seconds : agenda.value().seconds;
  settings.budget.seconds = seconds / static_cast<double>(settings.starts);
  const auto show = [&](double part, const std::string& what) { progress.show(fmt::format("{} {}", bar(part), what)); };
  const auto finished = [&](std::size_t index, const std::vector<Row>& rows) {
    progress.clear();
    const bench::Ratios ratios = bench::ratios_of(rows);
    if (!quiet) print_comparison(rows, ratios, with_chart);
    report.comparisons.push_back({comparisons[index].title, rows, ratios});
  };
  bench::run_passes(comparisons, settings, bench::usual_memory_bytes(), meter, report.limits, show, finished);
  if (!words.json.write(json_of(report))) return kUsage;
  return exit_code_of(report.rows(), named_recipes(words, agenda.value()));
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<BenchWords>();
  CLI::App* verb = app.add_subcommand("bench", "time contenders side by side, checked first, against the machine's limits");
  verb->add_option("problem", words->problem, "OP key=value ...")->type_name("PROBLEM");
  verb->add_option("--preset", words->preset, fmt::format("one of {}", fmt::join(testing::preset_names(), ", ")))
      ->type_name("NAME");
  verb->add_option("--kernel", words->choices.kernels, "kernels to compare")->delimiter(',')->type_name("NAME,...");
  verb->add_option("--threads", words->choices.threads, "thread counts to compare")
      ->delimiter(',')
      ->check(whole_from(1))
      ->type_name("N,...");
  verb->add_option("--recipes", words->choices.recipes, "bf16, channelwise, blockwise, blockwise_e8m0, mx, i8")
      ->delimiter(',')
      ->type_name("NAME,...");
  verb->add_option("--onednn", words->onednn, "oneDNN beside the library: on or off")
      ->check(CLI::IsMember({"on", "off"}))
      ->type_name("on|off");
  verb->add_option("--seconds", words->seconds, "time for the rounds of each comparison (5; presets have their own, 1 to 7)")
      ->check(above_zero());
  verb->add_option("--starts", words->starts, "times that each comparison is started, over the whole run (5; preset moe 3)")
      ->check(CLI::Range(2, 1000))
      ->type_name("N");
  verb->add_option("--pause", words->pause, "seconds between the starts, so that the spread covers a machine that drifts (0)")
      ->check(CLI::Range(0.0, 86400.0))
      ->type_name("S");
  verb->add_flag("--tilings", words->tilings, "sweep tilings, best first");
  verb->add_flag("--chart", words->chart, "bars, also where stdout is no terminal");
  verb->add_option("--compare", words->compare, "what became slower or faster between two result files")
      ->expected(2)
      ->type_name("OLD.json NEW.json")
      ->excludes("--preset")
      ->excludes("problem");
  verb->add_option("--threshold", words->threshold, "percent that --compare takes for a regression")
      ->check(from_zero())
      ->needs("--compare");
  words->json.add_to(*verb);
  verb->footer(
      "Examples:\n"
      "  ragdot bench --preset seed\n"
      "  ragdot bench gmm g=8 m=2048 k=2048 n=512 lhs=e4m3:1x128 rhs=e4m3:128x128 --recipes blockwise,bf16\n"
      "  ragdot bench --preset seed --recipes blockwise --tilings --json tilings.json\n"
      "  ragdot bench --compare old.json new.json --threshold 5\n"
      "Exit code 3: the problem, or a recipe of --recipes, could not be timed.\n"
      "docs/bench.md says what is measured and what the columns mean.");
  verb->callback([words, &exit_code] { exit_code = bench_command(*words); });
}

}  // namespace ragdot::cli
