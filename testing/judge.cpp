// One row of out at a time. What two comparisons share of a row, the exact result, is computed once.
#include "testing/judge.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>
#include <vector>

#include "reference/oracle.hpp"

namespace ragdot::testing {
namespace {

constexpr double kUnit = 0x1p-24;

double share_of_sum(const Allowance& allowance, std::int64_t depth) {
  const double roundings = static_cast<double>(allowance.roundings < 0 ? depth : allowance.roundings) * kUnit;
  return (roundings < 1 ? roundings / (1 - roundings) : std::numeric_limits<double>::infinity()) + allowance.of_sum;
}

/// The rows of each group.
struct Ranges {
  std::vector<std::int64_t> begins;
  std::vector<std::int64_t> ends;

  explicit Ranges(const Groups& groups)
      : begins(static_cast<std::size_t>(groups.count)), ends(static_cast<std::size_t>(groups.count)) {
    reference::read_ranges(groups, begins.data(), ends.data());
  }
  [[nodiscard]] std::int64_t size(std::int64_t group) const {
    return ends[static_cast<std::size_t>(group)] - begins[static_cast<std::size_t>(group)];
  }
};

/// What the calls of both kinds have in common.
struct Call {
  const View& out;
  OutMode mode;
  const std::byte* before;
  const std::byte* got;

  [[nodiscard]] std::int64_t index(const OutRow& at) const { return (at.batch * out.rows + at.row) * out.cols; }
  [[nodiscard]] bool accumulates() const { return mode == OutMode::accumulate; }
};

/// Compares one row twice: with E, and with the allowance.
class Row {
 public:
  Row(const Call& call, const OutRow& at, std::int64_t group) : call_(call), at_(at), group_(group) {}

  template <class Reference, class Order>
  Comparison compare(const Reference& oracle, const Order& ordered, Finish finish, const float* bias, double share,
                     double& worst_of_e) const {
    std::vector<reference::Exact> exact(static_cast<std::size_t>(call_.out.cols));
    oracle.row(at_.batch, at_.row, exact.data());
    Comparison allowed;
    Comparison bound;
    for (std::int64_t col = 0; col < call_.out.cols; ++col) {
      reference::Exact& e = exact[static_cast<std::size_t>(col)];
      if (!std::isfinite(e.value)) note_overflow(e, ordered.at(at_.batch, at_.row, col));
      const std::int64_t index = call_.index(at_) + col;
      if (finish.has_bias) finish.bias = static_cast<double>(bias[col]);
      if (finish.accumulates) finish.before = output_at(Format::f32, call_.before, index);
      const double got = output_at(finish.out, call_.got, index);
      compare_output({group_, at_.row, col}, got, e, finish, bound);
      e.bound += share * e.abs_sum;
      compare_output({group_, at_.row, col}, got, e, finish, allowed);
    }
    worst_of_e = bound.worst;
    return allowed;
  }

  /// A row of no local group is zero, or as it was.
  [[nodiscard]] Comparison compare_outside(bool zero) const {
    Comparison found;
    const Format format = call_.out.format;
    for (std::int64_t col = 0; col < call_.out.cols; ++col) {
      const std::int64_t index = call_.index(at_) + col;
      reference::Exact exact;
      exact.value = zero ? 0 : output_at(format, call_.before, index);
      compare_output({group_, at_.row, col}, output_at(format, call_.got, index), exact, {format}, found);
    }
    return found;
  }

 private:
  const Call& call_;
  OutRow at_;
  std::int64_t group_;
};

/// f gives a row's comparison, and by its second argument the largest error over E.
template <class F>
Judgement judged(const std::vector<OutRow>& rows, F f) {
  Judgement found;
  std::mutex mutex;
  found.allowed = merged(static_cast<std::int64_t>(rows.size()), [&](std::int64_t i) {
    double worst = 0;
    Comparison row = f(rows[static_cast<std::size_t>(i)], worst);
    const std::scoped_lock lock(mutex);
    found.worst_of_e = std::max(found.worst_of_e, worst);
    return row;
  });
  return found;
}

}  // namespace

Judgement judge(const GmmArgs& args, const std::byte* before, const std::byte* out, const Allowance& allowance) {
  const Ranges groups(args.groups);
  const std::int64_t depth = args.lhs.values.cols;
  OutShape shape{1, args.out.rows, args.out.cols, depth, {0, 32, 128, 256, args.out.rows}};
  std::vector<std::int64_t> group_of(static_cast<std::size_t>(args.out.rows), -1);
  for (std::int64_t g = 0; g < args.groups.count; ++g) {
    if (groups.size(g) == 0) continue;  // it may begin anywhere
    const std::int64_t begin = groups.begins[static_cast<std::size_t>(g)];
    std::fill_n(group_of.begin() + begin, groups.size(g), g);
    shape.edges.push_back(begin);
    shape.edges.push_back(begin + groups.size(g));
  }
  const reference::Oracle oracle(args);
  const reference::Ordered ordered(args);
  const double share = share_of_sum(allowance, depth);
  const Call call{args.out, args.out_mode, before, out};
  const bool zero = args.rows_outside == RowsOutside::zero && !call.accumulates();
  const auto* bias = static_cast<const float*>(args.bias.data);
  return judged(rows_to_check(shape, 1), [&](const OutRow& at, double& worst) {
    const std::int64_t group = group_of[static_cast<std::size_t>(at.row)];
    const std::int64_t local = group - args.first_group;
    const Row row(call, at, group);
    if (group < 0 || local < 0 || local >= args.rhs.values.batch) return row.compare_outside(zero);
    const Finish finish{args.out.format, args.activation, bias != nullptr, 0, call.accumulates(), 0};
    return row.compare(oracle, ordered, finish, bias == nullptr ? nullptr : bias + local * args.out.cols, share, worst);
  });
}

Judgement judge(const TgmmArgs& args, const std::byte* before, const std::byte* out, const Allowance& allowance) {
  const Ranges groups(args.groups);
  std::int64_t deepest = 0;
  for (std::int64_t g = 0; g < args.groups.count; ++g) deepest = std::max(deepest, groups.size(g));
  const OutShape shape{args.out.batch, args.out.rows, args.out.cols, deepest, {0, 32, 128, 256, args.out.rows}};
  const reference::Oracle oracle(args);
  const reference::Ordered ordered(args);
  const Call call{args.out, args.out_mode, before, out};
  const Finish finish{args.out.format, Activation::none, false, 0, call.accumulates(), 0};
  return judged(rows_to_check(shape, 1), [&](const OutRow& at, double& worst) {
    const std::int64_t group = at.batch + args.first_group;
    return Row(call, at, group).compare(oracle, ordered, finish, nullptr, share_of_sum(allowance, groups.size(group)), worst);
  });
}

}  // namespace ragdot::testing
