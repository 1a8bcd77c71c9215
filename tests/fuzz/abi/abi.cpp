// Fuzzes the C interface: every function with arguments that are broken in up to three places. No call crashes or reaches
// beyond its views; a refused one leaves every byte as it was and says why; one with memory that is not there is refused.
#include <cstdlib>

#include "tests/fuzz/abi/harness.hpp"

namespace ragdot::fuzz {
namespace {

constexpr void (*kFunctions[])(Harness&) = {fuzz_gmm,
                                            fuzz_tgmm,
                                            fuzz_plan_gmm,
                                            fuzz_plan_tgmm,
                                            fuzz_run_gmm,
                                            fuzz_run_tgmm,
                                            fuzz_packed,
                                            fuzz_quantize,
                                            fuzz_quantize_both,
                                            fuzz_requantize,
                                            fuzz_dequantize,
                                            fuzz_to_e8m0,
                                            fuzz_kernels,
                                            fuzz_error_bound,
                                            fuzz_gmm_exact_and_bound,
                                            fuzz_tgmm_exact_and_bound,
                                            fuzz_openmp};

/// What handles that are null answer.
void ask_nothing() {
  ragdot_plan_free(nullptr);
  ragdot_packed_free(nullptr);
  const ragdot_tiling tiling = ragdot_plan_tiling(nullptr);
  if (ragdot_plan_workspace_bytes(nullptr) != 0 || *ragdot_plan_describe(nullptr) != '\0' ||
      *ragdot_plan_kernel(nullptr) != '\0' || tiling.tm != 0 || ragdot_packed_size_bytes(nullptr) != 0 ||
      *ragdot_packed_describe(nullptr) != '\0' || *ragdot_version() == '\0') {
    fail("a null handle has an answer");
  }
}

}  // namespace
}  // namespace ragdot::fuzz

int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  setenv("RAGDOT_EXECUTOR", "threads", 1);  // oneTBB is not instrumented
  ragdot::fuzz::ask_nothing();
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ragdot::fuzz;
  static Arena arena;
  Input input(data, size);
  const auto& function = input.pick(kFunctions);
  Harness harness(input, arena);
  function(harness);
  return 0;
}
