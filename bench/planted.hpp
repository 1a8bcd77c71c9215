// For tests: contenders with a planted fault, a region of the product that is wrong or time that is lost.
#pragma once

#include <utility>

#include "bench/comparison.hpp"

namespace ragdot::bench {

/// Passes everything on to another contender.
class Planted : public Contender {
 public:
  explicit Planted(std::unique_ptr<Contender> inner) : inner_(std::move(inner)), out_(inner_->out()) {}

  Status run() override {
    ++runs_;
    Status status = inner_->run();
    out_ = inner_->out();
    spoil(out_);
    return status;
  }
  void leave() override { inner_->leave(); }
  [[nodiscard]] const testing::Bytes& out() const override { return out_; }
  [[nodiscard]] std::string kernel() const override { return inner_->kernel(); }
  [[nodiscard]] std::string peak() const override { return inner_->peak(); }

 protected:
  virtual void spoil(testing::Bytes& out) = 0;
  [[nodiscard]] int runs() const { return runs_; }

 private:
  std::unique_ptr<Contender> inner_;
  testing::Bytes out_;
  int runs_ = 0;
};

/// From call `first_bad` on (1 is the check) it flips the lowest bit of the sign's byte of outputs [begin, end) of `bytes`
/// each.
class WrongRegion final : public Planted {
 public:
  struct Region {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t bytes = 2;
    int first_bad = 1;
  };
  WrongRegion(std::unique_ptr<Contender> inner, const Region& region) : Planted(std::move(inner)), region_(region) {}

 protected:
  void spoil(testing::Bytes& out) override {
    for (std::size_t i = region_.begin; runs() >= region_.first_bad && i < region_.end; ++i)
      out[(i + 1) * region_.bytes - 1] ^= std::byte{1};
  }

 private:
  Region region_;
};

/// Spends a tenth of each call's time once more.
class TenthSlower final : public Contender {
 public:
  explicit TenthSlower(std::unique_ptr<Contender> inner) : inner_(std::move(inner)) {}

  Status run() override {
    const double start = steady_seconds();
    Status status = inner_->run();
    const double end = steady_seconds() + 0.1 * (steady_seconds() - start);
    while (steady_seconds() < end) {
    }
    return status;
  }
  [[nodiscard]] const testing::Bytes& out() const override { return inner_->out(); }
  [[nodiscard]] std::string kernel() const override { return inner_->kernel(); }
  [[nodiscard]] std::string peak() const override { return inner_->peak(); }

 private:
  std::unique_ptr<Contender> inner_;
};

}  // namespace ragdot::bench
