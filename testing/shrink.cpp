// Greedy: each simplification that still fails is kept, pass after pass, until none does.
#include <algorithm>
#include <functional>
#include <numeric>

#include "testing/campaign.hpp"
#include "testing/examine.hpp"
#include "testing/sizes.hpp"
#include "testing/verify.hpp"

namespace ragdot::testing {
namespace {

using Change = std::function<void(Problem&)>;

std::int64_t halved(std::int64_t size) { return size / 2; }
std::int64_t lessened(std::int64_t size) { return std::max<std::int64_t>(size - 1, 0); }

/// Rows dealt by hand, so that a group can be changed alone.
void deal_by_hand(Problem& p) {
  p.dist.sizes = group_sizes(p);
  p.dist.kind = p.g == 0 ? Distribution::Kind::even : Distribution::Kind::sizes;
}

/// Nothing where an earlier change has left out the group.
void change_group(Problem& p, std::size_t g, std::int64_t (*changed)(std::int64_t)) {
  if (g >= p.dist.sizes.size()) return;
  const std::int64_t size = changed(p.dist.sizes[g]);
  p.m += size - p.dist.sizes[g];
  for (std::size_t later = g + 1; later < p.starts.size(); ++later) p.starts[later] += size - p.dist.sizes[g];
  p.dist.sizes[g] = size;
}

void drop_group(Problem& p, std::size_t g) {
  if (g >= p.dist.sizes.size()) return;
  change_group(p, g, [](std::int64_t) { return std::int64_t{0}; });
  --p.g;
  p.dist.sizes.erase(p.dist.sizes.begin() + static_cast<std::ptrdiff_t>(g));
  if (!p.starts.empty()) p.starts.erase(p.starts.begin() + static_cast<std::ptrdiff_t>(g));
  deal_by_hand(p);
}

/// All simplifications of a problem whose rows are dealt by hand, the boldest first.
std::vector<Change> simplifications(const Problem& p) {
  std::vector<Change> all = {
      [](Problem& q) { q.first = 0, q.local.reset(); },
      [](Problem& q) { q.starts.clear(); },
      [](Problem& q) { q.m = std::accumulate(q.dist.sizes.begin(), q.dist.sizes.end(), std::int64_t{0}), q.starts.clear(); },
      [](Problem& q) { q.act = Activation::none; },
      [](Problem& q) { q.bias = false; },
      [](Problem& q) { q.out_mode = OutMode::overwrite; },
      [](Problem& q) { q.out = Format::f32; },
      [](Problem& q) { q.rows_outside = RowsOutside::zero; },
      [](Problem& q) { q.tile.reset(); },
      [](Problem& q) { q.threads = 1; },
      [](Problem& q) { q.lhs.scaled = false; },
      [](Problem& q) { q.rhs.scaled = false; },
      [](Problem& q) { q.origin = ScaleOrigin::global; },
      [](Problem& q) { q.data = Family::integers; },
      [](Problem& q) { q.data = Family::gaussian; },
      [](Problem& q) { q.recipe = Recipe::pow2; },
      [](Problem& q) { q.order = Order::kn; },
  };
  for (OperandSpec Problem::* operand : {&Problem::lhs, &Problem::rhs}) {
    all.emplace_back([operand](Problem& q) { (q.*operand).block_rows = kWholeAxis; });
    all.emplace_back([operand](Problem& q) { (q.*operand).block_cols = kWholeAxis; });
    all.emplace_back([operand](Problem& q) { (q.*operand).scale = Format::f32; });
  }
  for (std::size_t g = 0; g < p.dist.sizes.size() && p.first == 0 && !p.local; ++g) {
    all.emplace_back([g](Problem& q) { drop_group(q, g); });
  }
  for (std::size_t g = 0; g < p.dist.sizes.size(); ++g) {
    all.emplace_back([g](Problem& q) { change_group(q, g, halved); });
    all.emplace_back([g](Problem& q) { change_group(q, g, lessened); });
  }
  for (std::int64_t Problem::* axis : {&Problem::k, &Problem::n}) {
    all.emplace_back([axis](Problem& q) { q.*axis = halved(q.*axis); });
    all.emplace_back([axis](Problem& q) { q.*axis = lessened(q.*axis); });
  }
  return all;
}

}  // namespace

std::string shrunk(const CampaignFailure& failure, const Spoil& spoil) {
  constexpr int kTries = 2000;
  int tries = 0;
  const auto fails = [&](const Problem& p) {
    ++tries;
    const Examined examined = examine({p, plain_call(p)}, {failure.kernel}, spoil);
    return !examined.failure.empty() && !examined.refused;
  };
  Problem p = failure.random.problem;
  if (failure.kernel.empty() || !fails(p)) return "";
  deal_by_hand(p);
  for (bool smaller = true; smaller && tries < kTries;) {
    smaller = false;
    const std::vector<Change> changes = simplifications(p);
    for (const Change& change : changes) {
      Problem q = p;
      change(q);
      if (to_string(q) == to_string(p) || !fails(q)) continue;
      p = q;
      smaller = true;
    }
  }
  VerifyOptions options;
  options.compute = [&](const Case& c, const Options& o, Bytes& out) {
    Status status = run(c, o, out);
    if (spoil) spoil(c, o.kernel, out);
    return status;
  };
  return verify(p, options).ok ? "" : to_string(p);
}

}  // namespace ragdot::testing
