// The ragdot command: one verb for each thing a user wants to know or have done.
#include <CLI/CLI.hpp>
#include <exception>

#include "cli/exit_codes.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "ragdot/kernels.hpp"

namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  ragdot info --plan gmm g=8 m=2048 k=2048 n=512\n"
    "  ragdot verify --preset seed\n"
    "  ragdot verify gmm g=8 m=2048 k=2048 n=512 lhs=e4m3:1x128 rhs=e4m3:128x128\n"
    "  ragdot run case.safetensors -o answer.safetensors\n"
    "  ragdot quantize model.safetensors -o model_fp8.safetensors\n"
    "  ragdot bench --preset seed --json seed.json\n"
    "Exit codes: 0 ok, 1 a check failed, 2 usage, 3 not possible on this machine.\n"
    "Every problem is one string; docs/cli.md lists its keys.";

int run(int argc, char** argv) {
  CLI::App app("Grouped matrix multiplication with block-scaled FP8.", "ragdot");
  app.set_version_flag("--version", ragdot::version());
  app.footer(kFooter);
  app.require_subcommand(1);
  int exit_code = ragdot::cli::kOk;
  ragdot::cli::add_info(app, exit_code);
  ragdot::cli::add_verify(app, exit_code);
  ragdot::cli::add_run(app, exit_code);
  ragdot::cli::add_case(app, exit_code);
  ragdot::cli::add_quantize(app, exit_code);
  ragdot::cli::add_bench(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? ragdot::cli::kOk : ragdot::cli::kUsage;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    ragdot::cli::complain("not enough memory for this; take a smaller problem or file");
    return ragdot::cli::kNotPossible;
  } catch (const std::exception& error) {
    ragdot::cli::complain(error.what());
    return ragdot::cli::kUsage;
  }
}
