// ragdot run: computes one case file and writes its answer.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/case_answer.hpp"
#include "cli/case_file.hpp"
#include "cli/exit_codes.hpp"
#include "cli/output_file.hpp"
#include "cli/print.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"

namespace ragdot::cli {
namespace {

struct RunWords {
  std::string input;
  std::string output;
  std::string kernel;
  std::string tile;
  int threads = 0;
  int repeat = 1;
  bool overwrite = false;
  JsonOption json;
};

/// Words of the command line come before those of the case.
Status apply(const RunWords& words, testing::Problem& problem) {
  if (!words.kernel.empty()) {
    if (Status s = check_kernel_name("run", words.kernel); !s.ok()) return s;
    problem.kernel = words.kernel;
  }
  if (words.threads > 0) problem.threads = words.threads;
  if (words.tile.empty()) return {};
  const auto parsed = testing::parse_problem(fmt::format("gmm tile={}", words.tile), testing::Shapes::optional);
  if (!parsed.ok()) return parsed.status();
  if (words.tile.find_first_of(" \t\n") != std::string::npos)
    return {Code::invalid_argument, fmt::format("run: --tile {} is more than a tile; give TMxTKxTN", words.tile)};
  problem.tile = parsed.value().tile;
  return {};
}

Status write_answer(OutputFile file, const CaseFile& c, const Answer& answer) {
  const testing::Problem& p = c.problem();
  const TensorInfo out{"out", dtype_of(p.out), c.out_shape(), static_cast<std::int64_t>(answer.out.size())};
  const std::map<std::string, std::string> metadata = {
      {"problem", testing::to_string(p)},
      {"kernel", answer.kernel},
      {"tile", fmt::format("{}x{}x{}", answer.tile.tm, answer.tile.tk, answer.tile.tn)}};
  auto writer = SafetensorsWriter::create(std::move(file), {out}, metadata);
  if (!writer.ok()) return writer.status();
  if (Status s = writer.value().write(answer.out.data(), out.bytes); !s.ok()) return s;
  return writer.value().finish();
}

int run_command(const RunWords& words) {
  if (Status s = words.json.check({words.input, words.output}); !s.ok()) return refuse(s);
  if (Status s = check_outputs({words.output}, {words.input}); !s.ok()) return refuse(s);
  auto file = CaseFile::open(words.input);
  if (!file.ok()) return refuse(file.status());
  CaseFile& c = file.value();
  if (Status s = apply(words, c.problem()); !s.ok()) return refuse(s);
  // Before the work, which must not be for nothing.
  auto out = OutputFile::create(words.output, words.overwrite ? OutputFile::Existing::replace : OutputFile::Existing::refuse);
  if (!out.ok()) return refuse(out.status());
  Answer answer;
  if (Status s = compute(c, words.repeat, answer); !s.ok())
    return refuse({s.code(), fmt::format("{}: {}", words.input, s.message())});
  if (Status s = write_answer(std::move(out.value()), c, answer); !s.ok()) return refuse(s);
  std::sort(answer.seconds.begin(), answer.seconds.end());
  const double median = answer.seconds[answer.seconds.size() / 2];
  const std::string tile = fmt::format("{}x{}x{}", answer.tile.tm, answer.tile.tk, answer.tile.tn);
  if (!words.json.on_stdout()) {
    put("{}\nkernel {}, tile {}, {:.3f} ms (median of {})\nwrote {}\n", testing::to_string(c.problem()), answer.kernel, tile,
        median * 1e3, answer.seconds.size(), words.output);
  }
  const Json json = {{"command", "run"},
                     {"version", version()},
                     {"machine", machine_json()},
                     {"problem", testing::to_string(c.problem())},
                     {"kernel", answer.kernel},
                     {"tile", tile},
                     {"median_s", median},
                     {"min_s", answer.seconds.front()},
                     {"max_s", answer.seconds.back()},
                     {"runs", answer.seconds.size()},
                     {"output", words.output}};
  return words.json.write(json) ? kOk : kUsage;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<RunWords>();
  CLI::App* verb = app.add_subcommand("run", "compute one case from a safetensors file");
  verb->add_option("case", words->input, "tensors lhs, rhs, group_sizes, ... and the metadata entry problem")
      ->required()
      ->type_name("CASE.safetensors");
  verb->add_option("-o,--output", words->output, "where the answer goes")
      ->required()
      ->check(not_empty("the name of a file"))
      ->type_name("OUT.safetensors");
  verb->add_option("--kernel", words->kernel, "force a kernel by name")->type_name("NAME");
  verb->add_option("--tile", words->tile, "auto or TMxTKxTN")->type_name("TILE");
  verb->add_option("--threads", words->threads, "how many threads")->check(whole_from(0));
  verb->add_option("--repeat", words->repeat, "run it N times and report the median time")->check(whole_from(1));
  verb->add_flag("--overwrite", words->overwrite, "replace OUT where it exists");
  words->json.add_to(*verb);
  verb->footer(
      "Examples:\n"
      "  ragdot run case.safetensors -o answer.safetensors\n"
      "  ragdot run case.safetensors -o answer.safetensors --overwrite --kernel portable --tile 128x512x128 --repeat 9\n"
      "docs/cli.md says what a case file holds.");
  verb->callback([words, &exit_code] { exit_code = run_command(*words); });
}

}  // namespace ragdot::cli
