// Packs weights that a gmm would take.
#include <fmt/format.h>

#include "api/door.hpp"
#include "api/overlap.hpp"
#include "api/validate.hpp"
#include "api/validate_operand.hpp"
#include "api/validate_view.hpp"
#include "plan/backend.hpp"
#include "ragdot/pack.hpp"

namespace ragdot {
namespace {

Status check_values(const char* op, const ConstView& rhs) {
  if (!api::check_pair(op, rhs.format, rhs.format).ok()) {
    return {Code::unsupported,
            fmt::format("{}: rhs is {}; give bf16, e4m3, e5m2, f32 or i8, which gmm takes", op, name(rhs.format))};
  }
  if (rhs.batch >= api::kGroupsEnd) {
    return {Code::invalid_argument, fmt::format("{}: rhs has {} matrices; give fewer than 2^50", op, rhs.batch)};
  }
  return api::check_data({op, "rhs"}, rhs, api::Rank::batch);
}

Status check(const Operand& rhs, const Options& options) {
  const api::NamedOperand named{"pack_rhs", "rhs", "rhs scales", rhs, api::Rank::batch};
  if (Status s = api::check_execution("pack_rhs", options); !s.ok()) return s;
  if (Status s = api::check_operand(named, api::RowAxis::plain); !s.ok()) return s;
  if (Status s = check_values("pack_rhs", rhs.values); !s.ok()) return s;
  return api::check_data({"pack_rhs", "rhs scales"}, rhs.scales.view, api::Rank::batch);
}

/// Of pack_values, whose rhs has its scales elsewhere.
Status check(const ConstView& rhs, std::span<std::byte> to, const Options& options) {
  const api::Subject subject{"pack_values", "rhs"};
  if (Status s = api::check_execution("pack_values", options); !s.ok()) return s;
  if (Status s = api::check_view(subject, rhs, api::Rank::batch); !s.ok()) return s;
  if (Status s = api::check_contiguous(subject, rhs, api::Rank::batch); !s.ok()) return s;
  if (Status s = check_values("pack_values", rhs); !s.ok()) return s;
  const auto refused = [&](const std::string& why) {
    return Status(Code::invalid_argument, fmt::format("pack_values: rhs {}{}", api::shape_text(rhs, api::Rank::batch), why));
  };
  if (rhs.cols % kPackedCols != 0) return refused(fmt::format("; N must be a multiple of {}, pack_rhs takes any", kPackedCols));
  const ConstView written = matrices(static_cast<const void*>(to.data()), rhs.format, rhs.batch, rhs.rows, rhs.cols);
  const auto bytes = static_cast<std::size_t>(rhs.batch * rhs.rows * rhs.cols * element_bytes(rhs.format));
  if (to.size() != bytes) return refused(fmt::format(" of {} takes {} bytes, not {}", name(rhs.format), bytes, to.size()));
  if (Status s = api::check_data({"pack_values", "to"}, written, api::Rank::batch); !s.ok()) return s;
  return api::overlaps(written, rhs) ? refused(" overlaps to; give to memory of its own") : Status();
}

/// A gmm of no rows with these weights, for the plan that says what packs them.
GmmArgs empty_call(const Operand& rhs) {
  const Format format = rhs.values.format;
  GmmArgs args;
  args.lhs = matrix(static_cast<const void*>(nullptr), format, 0, rhs.values.rows);
  args.rhs = rhs;
  args.groups.count = rhs.values.batch;
  args.out = matrix(static_cast<void*>(nullptr), Format::f32, 0, rhs.values.cols);
  return args;
}

Result<Plan> plan_of(const Operand& rhs, const Options& options) {
  return plan::choose(plan::problem_of(empty_call(rhs)), options, {});  // of any kernel
}

}  // namespace

std::size_t PackedRhs::size_bytes() const { return present() ? contents_->values.size() + contents_->scales.size() : 0; }

std::string PackedRhs::describe() const {
  if (!present()) return "";
  const Operand& rhs = contents_->operand;
  const std::string scales = rhs.scales.present()
                                 ? fmt::format(", scales {} [{}, {}, {}]", name(rhs.scales.view.format), rhs.scales.view.batch,
                                               rhs.scales.view.rows, rhs.scales.view.cols)
                                 : "";
  return fmt::format("packed rhs {} [{}, {}, {}]{}, {} bytes", name(rhs.values.format), rhs.values.batch, rhs.values.rows,
                     rhs.values.cols, scales, size_bytes());
}

Result<PackedRhs> pack_rhs(const Operand& rhs, const Options& options) {
  constexpr char kNoCopy[] = "there is no memory for the packed copy, or the executor had none; pack fewer matrices";
  return api::door("pack_rhs", kNoCopy, [&]() -> Result<PackedRhs> {
    if (Status s = check(rhs, options); !s.ok()) return s;
    const Result<Plan> plan = plan_of(rhs, options);
    if (!plan.ok()) return plan.status();
    const Plan::Choice& choice = *plan.value().choice();
    return PackedRhs(choice.backend->pack(choice, rhs));
  });
}

Status pack_values(const ConstView& rhs, std::span<std::byte> to, const Options& options) {
  return api::door("pack_values", api::kNoTasks, [&]() -> Status {
    if (Status s = check(rhs, to, options); !s.ok()) return s;
    const Result<Plan> plan = plan_of({rhs, {}}, options);
    if (!plan.ok()) return plan.status();
    const Plan::Choice& choice = *plan.value().choice();
    if (!to.empty()) choice.backend->pack_values(choice, rhs, to.data());
    return {};
  });
}

}  // namespace ragdot
