// A case called in one of the many ways that must not change a bit: other memory, group metadata, plans, packed weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "testing/case.hpp"
#include "testing/relay.hpp"

namespace ragdot::testing {

enum class Entry : std::int32_t { one_shot, plan };
enum class Weights : std::int32_t { plain, packed };
enum class Workers : std::int32_t { usual, threads };  // the default executor, or std::threads

/// How a call is made.
struct Call {
  Layout lhs, rhs, lhs_scales, rhs_scales, bias, out;
  Groups::Kind groups = Groups::Kind::sizes;
  Groups::Index index = Groups::Index::i64;
  Entry entry = Entry::one_shot;
  Weights weights = Weights::plain;  // packed: gmm only
  Workers workers = Workers::usual;

  bool operator==(const Call&) const = default;
};

/// The call that testing::run makes of a problem.
[[nodiscard]] Call plain_call(const Problem& problem);

/// Words for people: what differs from a plain call.
[[nodiscard]] std::string to_string(const Call& call);

/// Operands and groups of a case, laid out once. Refers to the case.
class LaidCase {
 public:
  LaidCase(const Case& c, const Call& call);

  /// Whether a kernel takes the call; data is not read.
  [[nodiscard]] Status planned(const Options& options) const;
  /// Result bytes as testing::run gives them. A write between the elements of out is a failure too.
  [[nodiscard]] Status run(Options options, Bytes& out) const;

 private:
  [[nodiscard]] Groups groups() const;
  [[nodiscard]] GmmArgs gmm_args(const View& out) const;
  [[nodiscard]] TgmmArgs tgmm_args(const View& out) const;
  [[nodiscard]] Status compute(const Options& options, const View& out) const;

  const Case& case_;
  Call call_;
  Operand lhs_;
  Operand rhs_;
  ConstView bias_;
  std::vector<Bytes> memory_;
  std::vector<std::int64_t> numbers_;  // of the groups: sizes, ends, offsets or starts
  std::vector<std::int32_t> numbers32_;
  std::vector<std::int32_t> sizes32_;
};

}  // namespace ragdot::testing
