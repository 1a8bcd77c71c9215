// One row of out at a time. What two comparisons share of a row, the exact result, is computed once.
#include "testing/judge.hpp"

#include <algorithm>
#include <limits>
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

/// The outputs of one call: what its out held, and what another program says of it.
struct Outputs {
  const View& out;
  const std::byte* before;
  const std::byte* got;

  [[nodiscard]] std::int64_t index(const OutRow& at) const { return (at.batch * out.rows + at.row) * out.cols; }
};

/// What is found in one row.
struct RowFound {
  Comparison allowed;
  double worst_of_e = 0;
};

/// A row of a product, whose exact results are compared twice: with E, and with what is allowed.
RowFound compare_product(const Outputs& o, const Place& place, const OutRow& at, std::vector<reference::Exact> exact,
                         const Finish& finish, const float* bias, double share) {
  RowFound found;
  Comparison bound;
  compare_outputs(place, o.index(at), exact, finish, bias, o.before, o.got, bound);
  for (reference::Exact& e : exact) e.bound += e.abs_sum == 0 ? 0 : share * e.abs_sum;  // the share may be Inf
  compare_outputs(place, o.index(at), exact, finish, bias, o.before, o.got, found.allowed);
  found.worst_of_e = bound.worst;
  return found;
}

/// A row of no local group is zero, or as it was.
RowFound compare_outside(const Outputs& o, const Place& place, const OutRow& at, bool zero) {
  std::vector<reference::Exact> exact(static_cast<std::size_t>(o.out.cols));
  for (std::size_t i = 0; !zero && i < exact.size(); ++i) {
    exact[i].value = output_at(o.out.format, o.before, o.index(at) + static_cast<std::int64_t>(i));
  }
  RowFound found;
  compare_outputs(place, o.index(at), exact, {o.out.format}, nullptr, nullptr, o.got, found.allowed);
  return found;
}

/// f finds what is in a row.
template <class F>
Judgement judged(const std::vector<OutRow>& rows, F f) {
  std::vector<double> worst(rows.size());
  Judgement all;
  all.allowed = merged(static_cast<std::int64_t>(rows.size()), [&](std::int64_t i) {
    RowFound found = f(rows[static_cast<std::size_t>(i)]);
    worst[static_cast<std::size_t>(i)] = found.worst_of_e;
    return found.allowed;
  });
  for (const double each : worst) all.worst_of_e = std::max(all.worst_of_e, each);
  return all;
}

}  // namespace

Judgement judge(const GmmArgs& args, const std::byte* before, const std::byte* out, const Allowance& allowance) {
  const Ranges groups(args.groups);
  const std::int64_t depth = args.lhs.values.cols;
  OutShape shape{1, args.out.rows, args.out.cols, depth, {}};
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
  const Outputs outputs{args.out, before, out};
  const bool accumulates = args.out_mode == OutMode::accumulate;
  const auto* bias = static_cast<const float*>(args.bias.data);
  const Finish finish{args.out.format, args.activation, bias != nullptr, 0, accumulates, 0};
  return judged(rows_to_check(shape, 1), [&](const OutRow& at) {
    const Place place{group_of[static_cast<std::size_t>(at.row)], at.row, 0};
    const std::int64_t local = place.group - args.first_group;
    if (place.group < 0 || local < 0 || local >= args.rhs.values.batch) {
      return compare_outside(outputs, place, at, args.rows_outside == RowsOutside::zero && !accumulates);
    }
    return compare_product(outputs, place, at, exact_row(oracle, ordered, at, args.out.cols), finish,
                           bias == nullptr ? nullptr : bias + local * args.out.cols, share);
  });
}

Judgement judge(const TgmmArgs& args, const std::byte* before, const std::byte* out, const Allowance& allowance) {
  const Ranges groups(args.groups);
  std::int64_t deepest = 0;
  for (std::int64_t g = 0; g < args.groups.count; ++g) deepest = std::max(deepest, groups.size(g));
  const OutShape shape{args.out.batch, args.out.rows, args.out.cols, deepest, {}};
  const reference::Oracle oracle(args);
  const reference::Ordered ordered(args);
  const Outputs outputs{args.out, before, out};
  const Finish finish{args.out.format, Activation::none, false, 0, args.out_mode == OutMode::accumulate, 0};
  return judged(rows_to_check(shape, 1), [&](const OutRow& at) {
    const Place place{at.batch + args.first_group, at.row, 0};
    return compare_product(outputs, place, at, exact_row(oracle, ordered, at, args.out.cols), finish, nullptr,
                           share_of_sum(allowance, groups.size(place.group)));
  });
}

}  // namespace ragdot::testing
