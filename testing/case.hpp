// A problem made real: operands with their data, poison where nothing may be read, and a call ready to run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ragdot/ragdot.hpp"
#include "testing/bytes.hpp"
#include "testing/problem.hpp"

namespace ragdot::testing {

/// An operand as stored: rows and columns as its problem string counts them.
struct StoredOperand {
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<std::uint16_t> original;  // bf16, before quantisation; empty for families made of codes
  Bytes values;
  Bytes scales;
  Operand operand;  // as stored
  ConstView plain;  // the original, as stored; absent without one
};

/// Whether a case has data, or shapes alone: enough for make_plan, with null pointers for operands.
enum class Contents : std::int32_t { data, none };

/// Not copyable: the calls point into it.
struct Case {
  explicit Case(const Problem& problem, Contents contents = Contents::data);
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  Problem problem;
  Status status;  // of quantising the operands; nothing else is set when it is not ok
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> starts;  // first row of each group
  StoredOperand lhs;
  StoredOperand rhs;
  std::vector<float> bias;
  Bytes initial_out;  // what out holds before the call

  [[nodiscard]] bool is_gmm() const { return problem.op != Op::tgmm; }
  [[nodiscard]] std::int64_t local() const { return problem.local.value_or(problem.g - problem.first); }
  [[nodiscard]] Groups groups() const;
  /// Shape of out: [batch, rows, cols].
  [[nodiscard]] std::int64_t out_batch() const;
  [[nodiscard]] std::int64_t out_rows() const;
  [[nodiscard]] std::int64_t out_cols() const;
  /// The call on its own out.
  [[nodiscard]] GmmArgs gmm_args(void* out) const;
  [[nodiscard]] TgmmArgs tgmm_args(void* out) const;
  /// The same product of the unquantised operands with f32 out and neither bias nor activation; only where both have originals.
  [[nodiscard]] bool has_plain() const { return lhs.plain.present() && rhs.plain.present(); }
  [[nodiscard]] Status plain_product(std::vector<float>& out) const;
};

/// The kernel, tiling and threads that a problem names, which must outlive them.
[[nodiscard]] Options options_of(const Problem& problem);

/// The plan of a problem, made from its shapes alone.
[[nodiscard]] Result<Plan> plan_of(const Problem& problem);

/// Runs the case into `out`, which becomes a copy of initial_out first.
[[nodiscard]] Status run(const Case& c, const Options& options, Bytes& out);

}  // namespace ragdot::testing
