// The whole check of one problem: every usable kernel, several tilings and thread counts, against the oracle, the reduction
// order and each other.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "testing/case.hpp"

namespace ragdot::testing {

struct VerifyOptions {
  std::vector<Tiling> tilings;  // besides the automatic one; empty: a usual and an odd one
  /// Computes the case; the library unless a test puts something else here.
  std::function<Status(const Case&, const Options&, Bytes&)> compute = run;
};

struct VerifyReport {
  std::string problem;
  std::string kernel;  // the first one run; all are compared
  bool ok = false;
  std::string failure;      // one sentence; empty when ok
  Code refusal = Code::ok;  // not ok: the library does not take the problem, failure says why
  std::int64_t outputs_checked = 0;
  std::int64_t outputs = 0;
  std::int64_t order_checked = 0;  // of them, against the reduction order bit by bit
  double worst_over_bound = 0;
  std::int64_t differing_bits = 0;  // outputs that differ between kernels, tilings or thread counts
  double cosine_to_bf16 = 1;        // to the product of the unquantised bf16 operands
  bool has_cosine = false;
  std::int64_t tilings = 0;
  std::vector<std::string> kernels;
  std::vector<double> tiling_cosines;  // of every tiling, in order
};

[[nodiscard]] VerifyReport verify(const Problem& problem, const VerifyOptions& options = {});

}  // namespace ragdot::testing
