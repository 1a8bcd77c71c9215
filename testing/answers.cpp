// Every output at once, in the order's own arithmetic and in exact numbers.
#include "testing/answers.hpp"

#include "testing/expected.hpp"

namespace ragdot::testing {
namespace {

/// Calls f(row, its first output's index) for each row of out that has outputs.
template <class F>
void for_rows(const Case& c, F f) {
  for (std::int64_t b = 0; b < c.out_batch() && c.out_cols() > 0; ++b) {
    for (std::int64_t r = 0; r < c.out_rows(); ++r) f(OutRow{b, r}, (b * c.out_rows() + r) * c.out_cols());
  }
}

}  // namespace

Answers::Answers(const Case& c) : case_(c) {
  const auto oracle = reference_of<reference::Oracle>(c);
  const auto order = reference_of<reference::Ordered>(c);
  exact_.resize(static_cast<std::size_t>(c.out_batch() * c.out_rows() * c.out_cols()));
  ordered_.resize(exact_.size());
  if (has_bits()) bits_ = c.initial_out;
  for_rows(c, [&](const OutRow& row, std::int64_t first) {
    oracle.row(row.batch, row.row, &exact_[static_cast<std::size_t>(first)]);
    const std::int64_t group = local_group_of(c, row);
    for (std::int64_t i = first; i < first + c.out_cols(); ++i) {
      const float x = group < 0 ? 0.0F : order.at(row.batch, row.row, i - first);
      ordered_[static_cast<std::size_t>(i)] = x;
      note_overflow(exact_[static_cast<std::size_t>(i)], x);
      if (!has_bits() || (group < 0 && !zeroes_outside(c))) continue;
      store_output(c.problem.out, static_cast<double>(finished(c, group, i, x)), bits_.data(), i);
    }
  });
}

bool Answers::has_bits() const { return has_order(case_); }

Comparison Answers::compare_with_bound(const Bytes& out) const {
  Comparison found;
  for_rows(case_, [&](const OutRow& row, std::int64_t first) {
    compare_row(case_, row, &exact_[static_cast<std::size_t>(first)], out, found);
  });
  return found;
}

Comparison Answers::compare_with_order(const Bytes& out) const {
  if (has_bits()) return compare_bits(case_, bits_, out);
  Comparison found;
  std::vector<reference::Exact> ordered(static_cast<std::size_t>(case_.out_cols()));
  for_rows(case_, [&](const OutRow& row, std::int64_t first) {
    for (std::size_t i = 0; i < ordered.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(first) + i;
      ordered[i] = {.value = static_cast<double>(ordered_[at]), .local = exact_[at].local};
    }
    compare_row(case_, row, ordered.data(), out, found);
  });
  return found;
}

}  // namespace ragdot::testing
