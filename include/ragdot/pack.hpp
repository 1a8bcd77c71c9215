// Weights packed once, multiplied many times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
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

/// Columns of a packed block.
inline constexpr std::int64_t kPackedCols = 32;

/// Writes what pack_rhs keeps into memory of the caller's own, so that a file, a tensor or other processes can hold it: the
/// values of rhs [L, K, N], N a multiple of 32, as [L][N / 32][K][32] elements without gaps, which `to` has exactly the bytes
/// of. A gmm takes them as rhs with rhs_layout packed, its scales as they were. Refuses what pack_rhs does; `to` may not
/// overlap rhs.
[[nodiscard]] Status pack_values(const ConstView& rhs, std::span<std::byte> to, const Options& options = {});

}  // namespace ragdot
