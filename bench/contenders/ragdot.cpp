// The library as a user who cares for speed calls it: planned, weights packed, own workspace.
#include <fmt/format.h>

#include "bench/contenders/contender.hpp"
#include "bench/limits.hpp"

namespace ragdot::bench {
namespace {

class Ragdot final : public Contender {
 public:
  explicit Ragdot(std::shared_ptr<const testing::Case> c) : case_(std::move(c)), out_(case_->initial_out) {}

  Status prepare(const testing::Problem& how, const Weights& weights) {
    Options options;
    options.kernel = how.kernel;
    options.tiling = how.tile;
    options.threads = how.threads;
    for (std::int64_t i = 0; case_->is_gmm() && i < weights.copies; ++i) {
      auto packed = pack_rhs(case_->gmm_args(out_.data()).rhs, options);
      if (!packed.ok()) return packed.status();
      packed_.push_back(packed.value());
    }
    auto plan = case_->is_gmm() ? make_plan(gmm_args(), options) : make_plan(case_->tgmm_args(out_.data()), options);
    if (!plan.ok()) return plan.status();
    plan_ = plan.value();
    workspace_.resize(plan_.workspace_bytes());
    return {};
  }

  Status run() override {
    if (!case_->is_gmm()) return ragdot::run(plan_, case_->tgmm_args(out_.data()), workspace_);
    next_ = (next_ + 1) % packed_.size();
    return ragdot::run(plan_, gmm_args(), workspace_);
  }

  [[nodiscard]] const testing::Bytes& out() const override { return out_; }
  [[nodiscard]] std::string kernel() const override { return plan_.kernel(); }
  [[nodiscard]] std::string tile() const override {
    const Tiling t = plan_.effective_tiling();
    return fmt::format("{}x{}x{}", t.tm, t.tk, t.tn);
  }
  [[nodiscard]] std::string peak() const override {
    return peak_of(plan_.kernel(), case_->problem.lhs.format == Format::i8 ? Integers::yes : Integers::no);
  }

 private:
  [[nodiscard]] GmmArgs gmm_args() {
    GmmArgs args = case_->gmm_args(out_.data());
    args.rhs = {};
    args.packed_rhs = packed_[next_];
    return args;
  }

  std::shared_ptr<const testing::Case> case_;
  testing::Bytes out_;
  std::vector<PackedRhs> packed_;
  std::size_t next_ = 0;
  Plan plan_;
  testing::Bytes workspace_;
};

}  // namespace

MadeContender make_ragdot(const testing::Problem& how, std::shared_ptr<const testing::Case> c, const Weights& weights) {
  auto made = std::make_unique<Ragdot>(std::move(c));
  if (Status s = made->prepare(how, weights); !s.ok()) return s;
  return std::unique_ptr<Contender>(std::move(made));
}

}  // namespace ragdot::bench
