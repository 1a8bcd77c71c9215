// The right answers of a small case, computed once and compared with any number of results.
#pragma once

#include <vector>

#include "reference/oracle.hpp"
#include "testing/bytes.hpp"
#include "testing/case.hpp"
#include "testing/compare.hpp"

namespace ragdot::testing {

/// Of every output: the exact value with its bound, and what the reduction order gives. About 10 ns for each multiply-add.
/// Refers to the case.
class Answers {
 public:
  explicit Answers(const Case& c);

  /// Every output lies within the error bound of the exact result.
  [[nodiscard]] Comparison compare_with_bound(const Bytes& out) const;
  /// Every output is the reduction order's, followed by bias, activation, accumulation and rounding, bit by bit. Behind an
  /// activation other than relu an output may be as far off as the activation's own error.
  [[nodiscard]] Comparison compare_with_order(const Bytes& out) const;
  /// The order decides every bit of out.
  [[nodiscard]] bool has_bits() const;

 private:
  const Case& case_;
  std::vector<reference::Exact> exact_;
  std::vector<float> ordered_;  // before bias and activation
  Bytes bits_;                  // of out, where has_bits()
};

}  // namespace ragdot::testing
