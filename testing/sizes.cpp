// The distributions: even, multinomial, zipf, one-hot, some groups empty, given.
#include "testing/sizes.hpp"

#include <cmath>
#include <numeric>

#include "testing/random.hpp"

namespace ragdot::testing {
namespace {

/// m rows, each to group i with a probability that is proportional to weights[i].
std::vector<std::int64_t> deal(std::int64_t m, const std::vector<double>& weights, Random& random) {
  std::vector<double> ends(weights.size());
  std::partial_sum(weights.begin(), weights.end(), ends.begin());
  std::vector<std::int64_t> sizes(weights.size());
  for (std::int64_t row = 0; row < m; ++row) {
    const double x = random.unit() * ends.back();
    std::size_t g = 0;
    while (g + 1 < ends.size() && ends[g] <= x) ++g;
    ++sizes[g];
  }
  return sizes;
}

std::vector<std::int64_t> even(std::int64_t m, std::int64_t groups) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(groups), m / groups);
  for (std::int64_t g = 0; g < m % groups; ++g) ++sizes[static_cast<std::size_t>(g)];
  return sizes;
}

}  // namespace

std::vector<std::int64_t> group_sizes(const Problem& p) {
  using Kind = Distribution::Kind;
  if (p.dist.kind == Kind::sizes) return p.dist.sizes;
  if (p.g == 0) return {};
  Random random(p.seed * 977 + 5);
  std::vector<double> weights(static_cast<std::size_t>(p.g), 1.0);
  switch (p.dist.kind) {
    case Kind::even: return even(p.m, p.g);
    case Kind::multinomial: break;
    case Kind::zipf:
      for (std::size_t g = 0; g < weights.size(); ++g) weights[g] = 1 / std::pow(static_cast<double>(g + 1), p.dist.parameter);
      for (std::size_t g = weights.size(); g-- > 1;)
        std::swap(weights[g], weights[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(g) + 1))]);
      break;
    case Kind::onehot: {
      std::vector<std::int64_t> sizes(weights.size());
      sizes[static_cast<std::size_t>(p.dist.parameter)] = p.m;
      return sizes;
    }
    case Kind::empty:
      for (double& w : weights) w = random.unit() * 100 < p.dist.parameter ? 0.0 : 1.0;
      if (std::accumulate(weights.begin(), weights.end(), 0.0) == 0) weights[0] = 1;
      break;
    case Kind::sizes: break;
  }
  return deal(p.m, weights, random);
}

}  // namespace ragdot::testing
