// Parses the words, runs the verb, and looks whether what it printed went out.
#include "cli/command.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <stdexcept>

#include "cli/exit_codes.hpp"
#include "cli/print.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "ragdot/kernels.hpp"
#include "testing/words.hpp"

namespace ragdot::cli {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  ragdot info --plan gmm g=8 m=2048 k=2048 n=512\n"
    "  ragdot verify --preset seed\n"
    "  ragdot verify gmm g=8 m=2048 k=2048 n=512 lhs=e4m3:1x128 rhs=e4m3:128x128\n"
    "  ragdot run case.safetensors -o answer.safetensors\n"
    "  ragdot check case.safetensors mine.safetensors\n"
    "  ragdot quantize model.safetensors -o model_fp8.safetensors\n"
    "  ragdot bench --preset seed --json seed.json\n"
    "Exit codes: 0 ok, 1 a check failed, 2 usage, 3 not offered or not possible on this machine.\n"
    "Every problem is one string; docs/cli.md lists its keys.";

/// The parser would say that a verb is missing. Options before the verb take no words, so the first word names it.
Status check_verb(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  if (std::find(names.begin(), names.end(), word) != names.end()) return {};
  std::vector<const char*> known;
  for (const std::string& name : names) known.push_back(name.c_str());
  return {Code::invalid_argument, fmt::format("verb {} is unknown; did you mean {}? Known: {}", word,
                                              testing::nearest(word, known), fmt::join(names, ", "))};
}

int parse_and_run(int argc, const char* const* argv) {
  CLI::App app("Grouped matrix multiplication with block-scaled FP8.", "ragdot");
  app.set_version_flag("--version", version());
  app.footer(kFooter);
  app.require_subcommand(1);
  int exit_code = kOk;
  add_info(app, exit_code);
  add_verify(app, exit_code);
  add_run(app, exit_code);
  add_case(app, exit_code);
  add_check(app, exit_code);
  add_quantize(app, exit_code);
  add_bench(app, exit_code);
  if (argc > 1 && *argv[1] != '-') {
    if (Status s = check_verb(app, argv[1]); !s.ok()) return refuse(s);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = app.exit(error, out, err) == 0 ? kOk : kUsage;
    put_text(out.str());
    std::fputs(err.str().c_str(), stderr);
    return code;
  }
  return exit_code;
}

int too_large() {
  complain("not enough memory for this; take a smaller problem or file");
  return kNotPossible;
}

int guarded(int argc, const char* const* argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const std::bad_alloc&) {
    return too_large();
  } catch (const std::length_error&) {  // a container beyond every memory
    return too_large();
  } catch (const std::exception& error) {
    complain(error.what());
    return kUsage;
  }
}

}  // namespace

int command(int argc, const char* const* argv) {
  const int code = guarded(argc, argv);
  flush();
  const int error = stdout_error();
  if (error == 0 || error == EPIPE) return code;  // EPIPE: the reader has seen enough
  complain(fmt::format("stdout cannot be written: {}; redirect it to a file that can be", std::strerror(error)));
  return code == kOk ? kUsage : code;
}

}  // namespace ragdot::cli
