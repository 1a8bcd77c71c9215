// A call prepared ahead: choose once, run many times without allocation.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "ragdot/gmm.hpp"
#include "ragdot/tgmm.hpp"

namespace ragdot {

/// What was chosen for a problem: kernel, tiles, threads, workspace. A value; copies share it; immutable and thread-safe.
/// An empty one answers 0 and "".
class Plan {
 public:
  struct Choice;

  Plan() = default;
  explicit Plan(std::shared_ptr<const Choice> choice) : choice_(std::move(choice)) {}

  [[nodiscard]] bool present() const { return choice_ != nullptr; }
  [[nodiscard]] const Choice* choice() const { return choice_.get(); }
  /// Bytes that run() needs as workspace; 64 bytes of slack for its alignment are included.
  [[nodiscard]] std::size_t workspace_bytes() const;
  /// Lines for people: problem, kernel and the refusals of the others, asked and effective tile, threads, workspace.
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] std::string kernel() const;
  [[nodiscard]] Tiling effective_tiling() const;

 private:
  std::shared_ptr<const Choice> choice_;
};

/// Plans for calls like `like`: its shapes, formats, grids and choices count, its pointers and group numbers are not read.
/// lhs.rows is the largest M that run() will take; groups.count is G.
[[nodiscard]] Result<Plan> make_plan(const GmmArgs& like, const Options& options = {});
[[nodiscard]] Result<Plan> make_plan(const TgmmArgs& like, const Options& options = {});

/// Checks the arguments against the plan, then computes; allocates nothing. `workspace`: plan.workspace_bytes() or more, used
/// by one run at a time, memory of its own. Strictness, threads and executor are those of the plan's
/// options; the executor has to live as long as the plan.
[[nodiscard]] Status run(const Plan& plan, const GmmArgs& args, std::span<std::byte> workspace);
[[nodiscard]] Status run(const Plan& plan, const TgmmArgs& args, std::span<std::byte> workspace);

}  // namespace ragdot
