// Properties are read off the case, not off the generator, so that what is counted is what ran.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "testing/random_case.hpp"
#include "testing/sizes.hpp"
#include "testing/words.hpp"

namespace ragdot::testing {
namespace {

using Value = std::string;

Value yes_if(bool condition) { return condition ? "yes" : "no"; }

Value block_of(std::int64_t block) {
  if (block == kWholeAxis) return "*";
  if (block == 1) return "1";
  return block % 32 == 0 ? "32 i" : "other";
}

Value grid_of(const OperandSpec& o) { return fmt::format("{} x {}", block_of(o.block_rows), block_of(o.block_cols)); }

Value extent_of(std::int64_t extent) {
  if (extent <= 1) return std::to_string(extent);
  if (extent < 32) return "2..31";
  if (extent < 100) return "32..99";
  return extent <= 300 ? "100..300" : extent <= 3000 ? "301..3000" : "above 3000";
}

/// The elements of the reduction axis that share a scale which cuts it.
std::int64_t cut_by(const Problem& p, Side side) {
  const OperandSpec& o = side == Side::lhs ? p.lhs : p.rhs;
  const bool cuts = o.scaled && (o.scale != Format::e8m0 || o.format == Format::i8);
  return cuts ? o.*reduction_block(p, side) : kWholeAxis;
}

Value segments_of(const Problem& p) {
  const std::int64_t l = cut_by(p, Side::lhs);
  const std::int64_t r = cut_by(p, Side::rhs);
  if (l == kWholeAxis && r == kWholeAxis) return "uncut";
  if (l == kWholeAxis || r == kWholeAxis) return "cut by one operand";
  if (l == r) return "cut alike";
  return l % r == 0 || r % l == 0 ? "one divides the other" : "neither divides the other";
}

Value scale_of(const OperandSpec& o) { return o.scaled ? word_of(kScaleFormats, o.scale) : "none"; }

/// One for each word that holds.
void count_layout(const char* property, const Layout& l, Coverage& coverage) {
  auto& counts = coverage[property];
  if (l == Layout()) ++counts["dense"];
  if (l.transposed) ++counts["transposed"];
  if (l.interleaved) ++counts["interleaved"];
  if (l.gap > 0) ++counts["gaps"];
  if (l.padding > 0) ++counts["padded"];
  if (l.offset > 0) ++counts["offset"];
}

void count_groups(const Problem& p, Coverage& coverage) {
  const std::vector<std::int64_t> sizes = group_sizes(p);
  const auto empty = std::count(sizes.begin(), sizes.end(), 0);
  const auto rows = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  const auto count = [&](const char* property, const Value& value) { ++coverage[property][value]; };
  count("groups", p.g <= 1 ? std::to_string(p.g) : p.g <= 8 ? "2..8" : "9..40");
  count("empty groups", empty == 0 ? "none" : empty == p.g ? "all" : "some");
  count("dist", word_of(kDistributions, p.dist.kind));
  count("gaps", yes_if(!p.starts.empty()));
  count("rows of no group", yes_if(rows < p.m));
  count("local groups", !p.local ? "all" : *p.local == 0 ? "none" : p.first == 0 ? "first ones" : "from a later one");
}

}  // namespace

void count_properties(const RandomCase& random, Coverage& coverage) {
  const Problem& p = random.problem;
  const Call& c = random.call;
  const auto count = [&](const char* property, const Value& value) { ++coverage[property][value]; };
  count("op", p.op == Op::tgmm ? "tgmm" : fmt::format("{} {}", word_of(kOps, p.op), word_of(kOrders, p.order)));
  count("formats", fmt::format("{} x {}", word_of(kValueFormats, p.lhs.format), word_of(kValueFormats, p.rhs.format)));
  count("scales", fmt::format("{} x {}", scale_of(p.lhs), scale_of(p.rhs)));
  if (p.lhs.scaled) count("lhs grid", grid_of(p.lhs));
  if (p.rhs.scaled) count("rhs grid", grid_of(p.rhs));
  count("reduction axis", segments_of(p));
  if (p.lhs.scaled || p.rhs.scaled) count("origin", word_of(kOrigins, p.origin));
  count("m", extent_of(p.m));
  count("k", extent_of(p.k));
  count("n", extent_of(p.n));
  count_groups(p, coverage);
  count("out", word_of(kOutFormats, p.out));
  const std::int64_t elements = p.op == Op::tgmm ? p.local.value_or(p.g) * p.k * p.n : p.m * p.n;
  count("out of more than 4 MiB", yes_if(elements * element_bytes(p.out) > 4 << 20));
  count("accumulate", yes_if(p.out_mode == OutMode::accumulate));
  if (p.op != Op::tgmm) {
    count("rows_outside", word_of(kRowsOutside, p.rows_outside));
    count("act", word_of(kActivations, p.act));
    count("bias", yes_if(p.bias));
    count("weights", c.weights == Weights::packed ? "packed" : "plain");
  }
  count("data", word_of(kFamilies, p.data));
  count("recipe", word_of(kRecipes, p.recipe));
  count("tile", p.tile ? "given" : "auto");
  count("threads", std::to_string(p.threads));
  count("executor", c.workers == Workers::threads ? "std::threads" : "default");
  count("entry", c.entry == Entry::plan ? "plan" : "one shot");
  count("group metadata", word_of(kGroupKinds, c.groups));
  count("group index", c.index == Groups::Index::i32 ? "int32" : "int64");
  count_layout("lhs layout", c.lhs, coverage);
  count_layout("rhs layout", c.rhs, coverage);
  if (p.lhs.scaled) count_layout("lhs scales layout", c.lhs_scales, coverage);
  if (p.rhs.scaled) count_layout("rhs scales layout", c.rhs_scales, coverage);
  count_layout("out layout", c.out, coverage);
}

}  // namespace ragdot::testing
