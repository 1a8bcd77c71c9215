// The loops around a micro-kernel: items over threads, reduction tiles in an item, pieces in a reduction tile.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/kernel.hpp"
#include "cpu/workspace.hpp"
#include "plan/backend.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {

/// A checked call, ready to compute. Lives on the caller's stack until all threads are done.
struct Call {
  const Kernel* kernel = nullptr;
  plan::Op op = plan::Op::gmm;
  Tiling tile;
  std::int64_t depth = 0;  // gmm's K; tgmm reduces each group's rows
  Operand lhs;
  Operand rhs;
  RhsLayout rhs_layout = RhsLayout::strided;
  View out;
  ConstView bias;
  Activation activation = Activation::none;
  OutMode out_mode = OutMode::overwrite;
  std::span<const schedule::Span> spans;
  std::int64_t items = 0;
  std::int64_t threads = 1;  // that take them
  WorkspaceLayout layout;
  std::byte* workspace = nullptr;
  std::atomic<std::int64_t> next_item{0};

  [[nodiscard]] std::int64_t out_rows_per_span() const { return op == plan::Op::gmm ? -1 : out.rows; }
};

/// Computes all items on threads of `executor`, as many as there are scratch areas.
void drive(Call& call, Executor& executor);

}  // namespace ragdot::cpu
