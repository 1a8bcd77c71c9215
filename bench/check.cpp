// Two checks: sampled rows against the oracle, and all outputs against the library's with a bound from |lhs| . |rhs|.
#include "bench/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "testing/expected.hpp"
#include "testing/random.hpp"

namespace ragdot::bench {
namespace {

using testing::Case;
using testing::OutRow;

constexpr double kSampledMultiplyAdds = 1e8;
constexpr std::int64_t kLeastRows = 8;

std::int64_t deepest(const Case& c) {
  if (c.is_gmm()) return c.problem.op == testing::Op::dlhs ? c.problem.n : c.problem.k;
  return c.sizes.empty() ? 0 : *std::max_element(c.sizes.begin(), c.sizes.end());
}

/// The operand with its signs cleared; `values` holds it.
Operand absolute(const Operand& operand, std::int64_t elements, std::vector<std::uint16_t>& values) {
  const auto* from = static_cast<const std::uint16_t*>(operand.values.data);
  values.assign(from, from + elements);
  for (std::uint16_t& value : values) value &= 0x7fffU;
  Operand positive = operand;
  positive.values.data = values.data();
  return positive;
}

/// S = |lhs| . |rhs| of every output, and the library's own product.
Status products(const Case& c, std::vector<float>& abs_sums, testing::Bytes& own) {
  if (Status s = testing::run(c, {}, own); !s.ok()) return s;
  abs_sums.resize(static_cast<std::size_t>(c.out_batch() * c.out_rows() * c.out_cols()));
  std::vector<std::uint16_t> lhs;
  std::vector<std::uint16_t> rhs;
  const auto positive = [&](auto args) {
    args.lhs = absolute(args.lhs, c.lhs.rows * c.lhs.cols, lhs);
    args.rhs = absolute(args.rhs, c.rhs.batch * c.rhs.rows * c.rhs.cols, rhs);
    args.out.format = Format::f32;
    return args;
  };
  return c.is_gmm() ? gmm(positive(c.gmm_args(abs_sums.data()))) : tgmm(positive(c.tgmm_args(abs_sums.data())));
}

}  // namespace

std::vector<OutRow> sampled_rows(const Case& c) {
  const std::int64_t rows = c.out_batch() * c.out_rows();
  if (rows == 0) return {};
  const std::int64_t depth = c.is_gmm() ? deepest(c) : c.problem.m / std::max<std::int64_t>(c.problem.g, 1) + 1;
  const auto row_cost = static_cast<double>(std::max<std::int64_t>(depth * c.out_cols(), 1));
  const auto affordable = static_cast<std::int64_t>(std::min(kSampledMultiplyAdds / row_cost, 1e6));
  const auto most = static_cast<std::size_t>(std::min(rows, std::max(kLeastRows, affordable)));
  std::set<std::int64_t> picked = {0, rows - 1};
  for (std::size_t g = 0; c.is_gmm() && g < c.sizes.size() && picked.size() + 2 < most; ++g) {
    picked.insert(std::min(c.starts[g], rows - 1));
    picked.insert(std::max<std::int64_t>(c.starts[g] + c.sizes[g] - 1, 0));
  }
  testing::Random random(c.problem.seed + 7);
  while (picked.size() < most) picked.insert(random.below(rows));
  std::vector<OutRow> chosen;
  chosen.reserve(picked.size());
  for (const std::int64_t row : picked) chosen.push_back({row / c.out_rows(), row % c.out_rows()});
  return chosen;
}

std::string refusal_by_oracle(const Case& c, const testing::Bytes& out) {
  const testing::Comparison found = testing::compare_with_oracle(c, out, sampled_rows(c));
  if (found.wrong == 0) return "";
  return fmt::format("{} of {} outputs looked at are outside the error bound; first {}", found.wrong, found.checked,
                     found.first_bad);
}

std::string refusal_by_library(const Case& c, const testing::Bytes& out) {
  constexpr double kUnit = 0x1p-24;
  std::vector<float> abs_sums;
  testing::Bytes own;
  if (Status s = products(c, abs_sums, own); !s.ok()) return s.message();
  const std::int64_t depth = deepest(c);
  const double any_order = static_cast<double>(depth) * kUnit / (1 - static_cast<double>(depth) * kUnit);
  const double half_step = c.problem.out == Format::f32 ? 0 : c.problem.out == Format::bf16 ? 0x1p-8 : 0x1p-11;
  std::int64_t wrong = 0;
  std::string first;
  for (std::size_t i = 0; i < abs_sums.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const double ours = testing::output_at(c.problem.out, own.data(), index);
    const double theirs = testing::output_at(c.problem.out, out.data(), index);
    const auto sum = static_cast<double>(abs_sums[i]) * (1 + 0x1p-10);  // it was itself rounded
    const double bound = error_bound({sum, 1, depth, 0}) + any_order * sum + half_step * (std::abs(ours) + std::abs(theirs));
    if (std::abs(ours - theirs) <= bound || ours == theirs) continue;
    if (wrong++ == 0) {
      const std::int64_t row = index / c.out_cols();
      first = fmt::format("(matrix {}, row {}, col {}): {:.9g}, the library has {:.9g}, bound {:.3g}", row / c.out_rows(),
                          row % c.out_rows(), index % c.out_cols(), theirs, ours, bound);
    }
  }
  if (wrong == 0) return "";
  return fmt::format("{} of {} outputs are outside the bound; first {}", wrong, abs_sums.size(), first);
}

}  // namespace ragdot::bench
