// Fuzzes the reader of safetensors files and of the cases in them: a bad file is a sentence, a good one lies within its bytes,
// and what it holds is a call that the library computes or refuses.
#include "cli/safetensors.hpp"

#include <fmt/format.h>

#include <memory>
#include <vector>

#include "cli/case_file.hpp"
#include "ragdot/ragdot.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/serial_executor.hpp"

namespace ragdot::fuzz {
namespace {

using cli::CaseFile;
using cli::SafetensorsFile;
using cli::TensorInfo;

constexpr const char* kName = "input";
constexpr std::size_t kMostBytes = std::size_t{1} << 18;  // of out and of workspaces that are worth a run

void check_refusal(const Status& status) {
  if (status.message().rfind("input: ", 0) != 0) fail(fmt::format("refused without a sentence: {}", status.message()));
}

/// Every tensor is found by its name and lies behind the one before it, the last one at the end of the file.
void check_tensors(const SafetensorsFile& file, const std::byte* end) {
  const std::byte* at = nullptr;
  for (const TensorInfo& tensor : file.tensors()) {
    if (file.find(tensor.name) != &tensor) fail(fmt::format("tensor {} is not found", tensor.name));
    const std::byte* begin = file.data(tensor);
    if (tensor.bytes < 0 || (at != nullptr && begin != at)) fail(fmt::format("tensor {} is misplaced", tensor.name));
    at = begin + tensor.bytes;
  }
  if (at != nullptr && at != end) fail("the tensors do not end with the file");
}

template <class Args>
void run_case(const Args& args, const testing::Problem& problem) {
  SerialExecutor executor;
  Options options;
  options.kernel = problem.kernel;
  options.tiling = problem.tile;
  options.threads = 1;
  options.executor = &executor;
  const Result<Plan> plan = make_plan(args, options);
  if (!plan.ok() || plan.value().workspace_bytes() > kMostBytes) return;
  std::vector<std::byte> workspace(plan.value().workspace_bytes());
  if (const Status s = run(plan.value(), args, workspace); !s.ok() && s.message().empty()) fail("refused without a sentence");
}

void check_case(SafetensorsFile file) {
  const Result<CaseFile> read = CaseFile::read(std::move(file), kName);
  if (!read.ok()) return check_refusal(read.status());
  const CaseFile& c = read.value();
  if (c.out_bytes() > static_cast<std::int64_t>(kMostBytes)) return;
  testing::Bytes out = c.initial_out();
  c.is_gmm() ? run_case(c.gmm_args(out.data()), c.problem()) : run_case(c.tgmm_args(out.data()), c.problem());
}

}  // namespace
}  // namespace ragdot::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ragdot::fuzz;
  // A copy of exactly this size: what is read behind it is seen.
  const std::shared_ptr<std::byte[]> bytes(new std::byte[size]);
  if (size > 0) std::memcpy(bytes.get(), data, size);
  const std::shared_ptr<const std::byte> shared(bytes, bytes.get());
  auto file = SafetensorsFile::read(shared, static_cast<std::int64_t>(size), kName);
  if (!file.ok()) {
    check_refusal(file.status());
    return 0;
  }
  check_tensors(file.value(), bytes.get() + size);
  check_case(std::move(file.value()));
  return 0;
}
