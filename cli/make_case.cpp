// ragdot case: writes the operands that a problem string stands for into a case file, for other programs to compute.
#include <fmt/format.h>

#include <memory>

#include "cli/exit_codes.hpp"
#include "cli/output_file.hpp"
#include "cli/report.hpp"
#include "cli/safetensors.hpp"
#include "cli/verbs.hpp"
#include "testing/case.hpp"

namespace ragdot::cli {
namespace {

using testing::Case;

struct CaseWords {
  std::vector<std::string> problem;
  std::string output;
  bool overwrite = false;
};

struct Part {
  TensorInfo info;
  const void* data = nullptr;
};

Part part(const char* name, const char* dtype, std::vector<std::int64_t> shape, const void* data, std::int64_t element) {
  std::int64_t bytes = element;
  for (const std::int64_t dim : shape) bytes *= dim;
  return {{name, dtype, std::move(shape), bytes}, data};
}

/// A view as it is stored: lhs and tgmm's rhs are matrices, weights are [L, rows, cols].
Part part(const char* name, const ConstView& view, std::size_t rank) {
  std::vector<std::int64_t> shape = {view.rows, view.cols};
  if (rank == 3) shape.insert(shape.begin(), view.batch);
  return part(name, dtype_of(view.format), std::move(shape), view.data, element_bytes(view.format));
}

std::vector<Part> parts_of(const Case& c) {
  const testing::Problem& p = c.problem;
  const std::size_t rhs_rank = c.is_gmm() ? 3 : 2;
  std::vector<Part> parts = {part("lhs", c.lhs.operand.values, 2), part("rhs", c.rhs.operand.values, rhs_rank)};
  if (p.lhs.scaled) parts.push_back(part("lhs_scale", c.lhs.operand.scales.view, 2));
  if (p.rhs.scaled) parts.push_back(part("rhs_scale", c.rhs.operand.scales.view, rhs_rank));
  parts.push_back(part("group_sizes", "I64", {p.g}, c.sizes.data(), 8));
  if (!p.starts.empty()) parts.push_back(part("group_starts", "I64", {p.g}, c.starts.data(), 8));
  if (p.bias) parts.push_back(part("bias", "F32", {c.local(), c.out_cols()}, c.bias.data(), 4));
  if (p.out_mode == OutMode::accumulate || p.rows_outside == RowsOutside::leave) {
    std::vector<std::int64_t> shape = {c.out_rows(), c.out_cols()};
    if (!c.is_gmm()) shape.insert(shape.begin(), c.local());
    parts.push_back(part("out", dtype_of(p.out), std::move(shape), c.initial_out.data(), element_bytes(p.out)));
  }
  return parts;
}

Status write_case(OutputFile file, const Case& c) {
  testing::Problem named = c.problem;
  named.dist = {};  // the tensors say what these four said
  named.starts = {};
  named.seed = testing::Problem().seed;
  named.data = testing::Problem().data;
  const std::vector<Part> parts = parts_of(c);
  std::vector<TensorInfo> infos;
  for (const Part& p : parts) infos.push_back(p.info);
  auto writer = SafetensorsWriter::create(std::move(file), infos, {{"problem", to_string(named)}});
  if (!writer.ok()) return writer.status();
  for (const Part& p : parts) {
    if (Status s = writer.value().write(p.data, p.info.bytes); !s.ok()) return s;
  }
  return writer.value().finish();
}

int case_command(const CaseWords& words) {
  const auto problem = testing::parse_problem(fmt::to_string(fmt::join(words.problem, " ")));
  if (!problem.ok()) return refuse(problem.status());
  if (const Result<Plan> plan = testing::plan_of(problem.value()); !plan.ok()) return refuse(plan.status());
  // Before the work, which must not be for nothing.
  auto file = OutputFile::create(words.output, words.overwrite ? OutputFile::Existing::replace : OutputFile::Existing::refuse);
  if (!file.ok()) return refuse(file.status());
  const Case c(problem.value());
  if (!c.status.ok()) return refuse(c.status);
  if (Status s = write_case(std::move(file.value()), c); !s.ok()) return refuse(s);
  return kOk;
}

}  // namespace

void add_case(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<CaseWords>();
  CLI::App* verb = app.add_subcommand("case", "write the operands of a problem into a case file");
  verb->add_option("problem", words->problem, "OP key=value ...")->required()->type_name("PROBLEM");
  verb->add_option("-o,--output", words->output, "where the case goes")
      ->required()
      ->check(not_empty("the name of a file"))
      ->type_name("CASE.safetensors");
  verb->add_flag("--overwrite", words->overwrite, "replace CASE where it exists");
  verb->footer(
      "Example:\n"
      "  ragdot case gmm g=8 m=2048 k=2048 n=512 dist=zipf:1.1 lhs=e4m3:1x128 rhs=e4m3:128x128 -o case.safetensors\n"
      "ragdot run computes it, and so can any program that reads safetensors: docs/cli.md says what the file holds.");
  verb->callback([words, &exit_code] { exit_code = case_command(*words); });
}

}  // namespace ragdot::cli
