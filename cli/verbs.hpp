// The verbs of the command; each adds itself to the parser and leaves its exit code behind when it ran.
#pragma once

#include <CLI/CLI.hpp>

namespace ragdot::cli {

void add_info(CLI::App& app, int& exit_code);
void add_verify(CLI::App& app, int& exit_code);
void add_run(CLI::App& app, int& exit_code);
void add_case(CLI::App& app, int& exit_code);
void add_check(CLI::App& app, int& exit_code);
void add_quantize(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);

}  // namespace ragdot::cli
