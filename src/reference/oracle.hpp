// The exact meaning of gmm and tgmm, output by output, in double: what every kernel is held against. Shares no code with them.
#pragma once

#include <cstdint>
#include <memory>

#include "ragdot/gmm.hpp"
#include "ragdot/tgmm.hpp"

namespace ragdot::reference {

/// One output before bias, activation, accumulation and rounding.
struct Exact {
  double value = 0;        // NaN or +-Inf where the inputs say so (computed from the inputs as sets)
  double abs_sum = 0;      // S of the error bound
  double bound = 0;        // E of the error bound: |f32 result - value| <= bound
  bool overflows = false;  // some partial sum, scale product or block sum may pass the largest f32: the bound says nothing
  bool local = true;       // gmm: the row belongs to a local group
};

/// Decodes the operands of a legal call once (they are read at construction only), then answers for any output.
/// args.out is never read; its shape is. `matrix` is 0 for gmm, the local group for tgmm.
class Oracle {
 public:
  explicit Oracle(const GmmArgs& args);
  explicit Oracle(const TgmmArgs& args);
  ~Oracle();
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;

  [[nodiscard]] Exact at(std::int64_t matrix, std::int64_t row, std::int64_t col) const;
  /// at(matrix, row, c) for all columns c of a row, faster: out has the number of columns.
  void row(std::int64_t matrix, std::int64_t row, Exact* out) const;

 private:
  struct Decoded;
  std::unique_ptr<Decoded> decoded_;
};

/// The reduction order, step by step in scalar code: the f32 bits every kernel must give, before bias and activation (zero is
/// +0, NaN is 7FC00000).
class Ordered {
 public:
  explicit Ordered(const GmmArgs& args);
  explicit Ordered(const TgmmArgs& args);
  ~Ordered();
  Ordered(const Ordered&) = delete;
  Ordered& operator=(const Ordered&) = delete;

  [[nodiscard]] float at(std::int64_t matrix, std::int64_t row, std::int64_t col) const;

 private:
  struct Decoded;
  std::unique_ptr<Decoded> decoded_;
};

/// Groups as starts and ends, read without any check: for legal calls only.
void read_ranges(const Groups& groups, std::int64_t* begins, std::int64_t* ends);

}  // namespace ragdot::reference
