// Weights packed once, multiplied many times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "ragdot/execution.hpp"
#include "ragdot/status.hpp"
#include "ragdot/view.hpp"

namespace ragdot {

/// A gmm rhs in blocks of columns, which every kernel reads in one run. Opaque and self-describing: a call that it does not fit
/// refuses it and says why. Copies share the memory; immutable, so any number of threads may use it. FP8 stays FP8; columns are
/// filled up to a multiple of 32; holds no reference to its source. An empty one answers 0 and "".
class PackedRhs {
 public:
  struct Contents;

  PackedRhs() = default;
  explicit PackedRhs(std::shared_ptr<const Contents> contents) : contents_(std::move(contents)) {}

  [[nodiscard]] bool present() const { return contents_ != nullptr; }
  [[nodiscard]] const Contents* contents() const { return contents_.get(); }
  /// Resident bytes, scales included.
  [[nodiscard]] std::size_t size_bytes() const;
  /// One line: formats, [L, K, N], scale grid, bytes.
  [[nodiscard]] std::string describe() const;

 private:
  std::shared_ptr<const Contents> contents_;
};

/// Packs rhs [L, K, N], rows or columns contiguous, with scales or without, on the threads of `options`; its tiling, kernel and
/// strictness have no effect, since the copy serves every kernel.
[[nodiscard]] Result<PackedRhs> pack_rhs(const Operand& rhs, const Options& options = {});

}  // namespace ragdot
