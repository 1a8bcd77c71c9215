// Counts rows of local groups and the bytes of the operands as stored.
#include "bench/work.hpp"

#include <algorithm>

namespace ragdot::bench {
namespace {

double bytes_of(const testing::StoredOperand& operand) {
  return static_cast<double>(operand.values.size()) + static_cast<double>(operand.scales.size());
}

}  // namespace

Work work_of(Stage stage, const testing::Case& c) {
  const testing::Problem& p = c.problem;
  if (stage != Stage::product) {
    const double copies = stage == Stage::quantize_both ? 2 : 1;
    return {0, 2 * static_cast<double>(c.lhs.original.size()) + copies * bytes_of(c.lhs)};
  }
  const auto begin = c.sizes.begin() + p.first;
  const auto end = begin + c.local();
  std::int64_t rows = 0;
  std::for_each(begin, end, [&](std::int64_t size) { rows += size; });
  const auto used = static_cast<double>(std::count_if(begin, end, [](std::int64_t size) { return size > 0; }));
  const double part = p.m == 0 ? 0 : static_cast<double>(rows) / static_cast<double>(p.m);
  const double groups_part = c.local() == 0 ? 0 : used / static_cast<double>(c.local());
  Work work;
  work.operations = 2.0 * static_cast<double>(rows) * static_cast<double>(p.k) * static_cast<double>(p.n);
  work.bytes = bytes_of(c.lhs) * part + bytes_of(c.rhs) * (c.is_gmm() ? groups_part : part) +
               static_cast<double>(c.initial_out.size()) * (p.out_mode == OutMode::accumulate ? 2 : 1);
  return work;
}

}  // namespace ragdot::bench
