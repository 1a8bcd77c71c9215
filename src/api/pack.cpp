// Packs weights that a gmm would take.
#include <fmt/format.h>

#include "api/door.hpp"
#include "api/validate.hpp"
#include "api/validate_operand.hpp"
#include "api/validate_view.hpp"
#include "plan/backend.hpp"
#include "ragdot/pack.hpp"

namespace ragdot {
namespace {

Status check(const Operand& rhs, const Options& options) {
  const api::NamedOperand named{"pack_rhs", "rhs", "rhs scales", rhs, api::Rank::batch};
  if (Status s = api::check_execution("pack_rhs", options); !s.ok()) return s;
  if (Status s = api::check_operand(named, api::RowAxis::plain); !s.ok()) return s;
  if (!api::check_pair("pack_rhs", rhs.values.format, rhs.values.format).ok()) {
    return {Code::unsupported,
            fmt::format("pack_rhs: rhs is {}; give bf16, e4m3, e5m2, f32 or i8, which gmm takes", name(rhs.values.format))};
  }
  if (rhs.values.batch >= api::kGroupsEnd) {
    return {Code::invalid_argument, fmt::format("pack_rhs: rhs has {} matrices; give fewer than 2^50", rhs.values.batch)};
  }
  if (Status s = api::check_data({"pack_rhs", "rhs"}, rhs.values, api::Rank::batch); !s.ok()) return s;
  return api::check_data({"pack_rhs", "rhs scales"}, rhs.scales.view, api::Rank::batch);
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
  constexpr char kNoCopy[] = "the packed copy could not be allocated; pack fewer matrices";
  return api::door("pack_rhs", kNoCopy, [&]() -> Result<PackedRhs> {
    if (Status s = check(rhs, options); !s.ok()) return s;
    const Result<Plan> plan = plan::choose(plan::problem_of(empty_call(rhs)), options, {});  // of any kernel
    if (!plan.ok()) return plan.status();
    const Plan::Choice& choice = *plan.value().choice();
    return PackedRhs(choice.backend->pack(choice, rhs));
  });
}

}  // namespace ragdot
