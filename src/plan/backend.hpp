// What a backend offers to the plan, and the plan it is asked to carry out.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plan/pages.hpp"
#include "plan/problem.hpp"
#include "ragdot/kernels.hpp"
#include "ragdot/plan.hpp"
#include "schedule/rows.hpp"

namespace ragdot::plan {
class Backend;
}

namespace ragdot {

inline constexpr std::size_t kWorkspaceAlignment = 64;

/// What Plan holds.
struct Plan::Choice {
  plan::Problem problem;
  const plan::Backend* backend = nullptr;
  std::size_t kernel_index = 0;  // in the backend's list
  std::string kernel;
  std::vector<std::string> refusals;  // "name: reason" of every kernel before the chosen one
  std::optional<Tiling> asked;
  Tiling effective;
  int threads = 1;
  Executor* executor = nullptr;
  Strictness strictness = Strictness::ieee;
  std::size_t workspace_bytes = 0;  // of the backend, aligned to 64

  /// The table of groups comes first in the caller's workspace, the backend's part behind it.
  [[nodiscard]] std::size_t table_bytes() const {
    return (static_cast<std::size_t>(problem.groups) * sizeof(RowRange) + kWorkspaceAlignment - 1) / kWorkspaceAlignment *
           kWorkspaceAlignment;
  }
};

/// What PackedRhs holds: a copy of the operand in its backend's layout.
struct PackedRhs::Contents {
  std::vector<std::byte, plan::LargePageAllocator<std::byte>> values;
  std::vector<std::byte> scales;
  Operand operand;  // into the two buffers; its values have the layout that the backend gave them, not strides
};

}  // namespace ragdot

namespace ragdot::plan {

/// A family of kernels for one kind of machine.
class Backend {
 public:
  virtual ~Backend() = default;

  /// Its kernels, best first.
  [[nodiscard]] virtual std::vector<KernelInfo> kernels() const = 0;
  /// Why kernel `index` does not take this problem; empty when it does.
  [[nodiscard]] virtual std::string refusal(std::size_t index, const Problem& problem) const = 0;
  /// Why kernel `index` leaves this problem to a later one that is faster at it; empty when it does not.
  [[nodiscard]] virtual std::string yields(std::size_t index, const Problem& problem) const = 0;
  /// Fills effective tiling and workspace size of a choice whose other fields are set.
  virtual void size(Plan::Choice& choice) const = 0;
  /// Computes a checked call without packed_rhs. `groups` holds all G of them; `workspace` is aligned to 64 bytes.
  virtual void run(const Plan::Choice& choice, const GmmArgs& args, std::span<const RowRange> groups,
                   std::byte* workspace) const = 0;
  virtual void run(const Plan::Choice& choice, const TgmmArgs& args, std::span<const RowRange> groups,
                   std::byte* workspace) const = 0;
  /// Copies checked weights into the layout of all its kernels, on the threads of the choice. May throw std::bad_alloc.
  [[nodiscard]] virtual std::shared_ptr<const PackedRhs::Contents> pack(const Plan::Choice& choice,
                                                                        const Operand& rhs) const = 0;
  /// The values alone, whose columns are whole blocks, to memory for them.
  virtual void pack_values(const Plan::Choice& choice, const ConstView& rhs, std::byte* to) const = 0;
};

/// The backends of this build, best first.
[[nodiscard]] std::span<const Backend* const> backends();

/// The kernel that is forced for every call of the process ("" is none), and who forced it.
struct Forced {
  std::string kernel;
  const char* by = "";
  const char* instead = "";  // what to do to have none
};
[[nodiscard]] Forced forced_kernel(const Options& options);

/// The sentence for a forced kernel that no list has; `names` are those to take.
[[nodiscard]] std::string unknown_kernel(const Forced& forced, const std::string& names);

/// Picks the first kernel that is usable, allowed by `forced` (none: any that does not yield) and takes the problem.
[[nodiscard]] Result<Plan> choose(const Problem& problem, const Options& options, const Forced& forced);

/// Empty when a call fits a plan, else the sentence that says where it does not.
[[nodiscard]] std::string mismatch(const Problem& planned, const Problem& call);

}  // namespace ragdot::plan
