// Checks row by row on all cores; the first bad output is the lowest in order, however the rows were dealt.
#include "testing/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <thread>

#include "reference/fused.hpp"
#include "testing/expected.hpp"
#include "testing/random.hpp"

namespace ragdot::testing {
namespace {

constexpr std::int64_t kEnoughOutputs = 65536;
constexpr double kCheckAllBelow = 5e9;  // multiply-adds of the whole operation
constexpr double kCheckAtMost = 8e9;    // multiply-adds of the rows that are checked

std::int64_t depth_of(const Case& c) {
  if (c.problem.op == Op::tgmm) return c.problem.m / std::max<std::int64_t>(c.problem.g, 1) + 1;
  return c.problem.op == Op::dlhs ? c.problem.n : c.problem.k;
}

/// Group that `row` of a gmm's out belongs to, -1 for none.
std::int64_t group_of(const Case& c, std::int64_t row) {
  for (std::size_t g = 0; g < c.sizes.size(); ++g) {
    if (row >= c.starts[g] && row < c.starts[g] + c.sizes[g]) return static_cast<std::int64_t>(g);
  }
  return -1;
}

std::string text_of(const Place& p) { return fmt::format("(group {}, row {}, col {})", p.group, p.row, p.col); }

Place place_of(const Case& c, std::int64_t b, std::int64_t r, std::int64_t col) {
  return {c.is_gmm() ? group_of(c, r) : b + c.problem.first, r, col};
}

void note_bad(Comparison& found, const std::string& sentence) {
  if (found.wrong++ == 0) found.first_bad = sentence;
}

/// A row that belongs to no local group.
void check_outside(const Case& c, const OutRow& row, const Bytes& out, Comparison& found) {
  const auto bytes = static_cast<std::size_t>(c.out_cols() * element_bytes(c.problem.out));
  const std::size_t at = static_cast<std::size_t>(row.row) * bytes;
  const bool zero = zeroes_outside(c);
  const Bytes zeros(bytes);
  found.checked += c.out_cols();
  if (std::memcmp(out.data() + at, zero ? zeros.data() : c.initial_out.data() + at, bytes) == 0) return;
  note_bad(found, fmt::format("{}: a row of no local group is not {}", text_of(place_of(c, 0, row.row, 0)),
                              zero ? "zero" : "left alone"));
}

void compare_output(const Place& place, double got, const reference::Exact& exact, const Finish& finish, Comparison& found) {
  ++found.checked;
  if (exact.overflows) return;  // the bound says nothing there; the bitwise checks speak
  if (!std::isfinite(exact.value)) {
    const bool same = std::isnan(exact.value) ? std::isnan(got) : finish.activation != Activation::none || got == exact.value;
    if (!same) note_bad(found, fmt::format("{}: exact {}, got {}", text_of(place), exact.value, got));
    return;
  }
  const Expected e = expected_output(exact, finish);
  const double rounding =
      finish.out == Format::f32 ? 0 : std::max(std::abs(e.value - rounded_to(finish.out, e.value)), 0x1p-9 * std::abs(e.value));
  if (std::isnan(got))
    found.worst = std::numeric_limits<double>::infinity();
  else if (e.bound > 0 && std::isfinite(e.high) && std::isfinite(e.low))
    found.worst = std::max(found.worst, std::abs(got - e.value) / (e.bound + rounding));
  if (got >= e.low && got <= e.high) return;
  note_bad(found, fmt::format("{}: exact {:.9g}, got {:.9g}, bound {:.3g}", text_of(place), e.value, got, e.bound));
}

}  // namespace

Comparison merged(std::int64_t count, const std::function<Comparison(std::int64_t)>& f) {
  std::vector<Comparison> parts(static_cast<std::size_t>(count));
  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    for (std::int64_t i = 0; (i = next.fetch_add(1)) < count;) parts[static_cast<std::size_t>(i)] = f(i);
  };
  std::vector<std::thread> threads;
  for (unsigned t = 1; t < std::max(1U, std::thread::hardware_concurrency()); ++t) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
  Comparison all;
  for (const Comparison& part : parts) {
    all.checked += part.checked;
    all.wrong += part.wrong;
    all.worst = std::max(all.worst, part.worst);
    if (all.first_bad.empty()) all.first_bad = part.first_bad;
  }
  return all;
}

void compare_outputs(Place place, std::int64_t index, std::span<const reference::Exact> exact, Finish finish, const float* bias,
                     const std::byte* before, const std::byte* out, Comparison& found) {
  for (std::size_t col = 0; col < exact.size(); ++col, ++index) {
    place.col = static_cast<std::int64_t>(col);
    if (finish.has_bias) finish.bias = static_cast<double>(bias[col]);
    if (finish.accumulates) finish.before = output_at(Format::f32, before, index);
    compare_output(place, output_at(finish.out, out, index), exact[col], finish, found);
  }
}

std::int64_t local_group_of(const Case& c, const OutRow& row) {
  if (!c.is_gmm()) return row.batch;
  const std::int64_t group = group_of(c, row.row) - c.problem.first;
  return group < c.local() ? std::max<std::int64_t>(group, -1) : -1;
}

bool zeroes_outside(const Case& c) {
  return c.problem.rows_outside == RowsOutside::zero && c.problem.out_mode == OutMode::overwrite;
}

void compare_row(const Case& c, const OutRow& row, const reference::Exact* exact, const Bytes& out, Comparison& found) {
  const std::int64_t cols = c.out_cols();
  const std::int64_t group = local_group_of(c, row);
  if (cols > 0 && group < 0) {
    check_outside(c, row, out, found);
    return;
  }
  const Finish finish{c.problem.out, c.problem.act, c.problem.bias, 0, c.problem.out_mode == OutMode::accumulate, 0};
  compare_outputs(place_of(c, row.batch, row.row, 0), (row.batch * c.out_rows() + row.row) * cols,
                  {exact, static_cast<std::size_t>(cols)}, finish, finish.has_bias ? c.bias.data() + group * cols : nullptr,
                  c.initial_out.data(), out.data(), found);
}

std::vector<OutRow> rows_to_check(const OutShape& shape, std::uint64_t seed) {
  if (shape.cols == 0) return {};
  const double row_cost = static_cast<double>(std::max<std::int64_t>(shape.depth, 1)) * static_cast<double>(shape.cols);
  const std::int64_t rows = shape.batch * shape.rows;
  std::vector<OutRow> chosen;
  if (static_cast<double>(rows) * row_cost <= kCheckAllBelow) {
    for (std::int64_t i = 0; i < rows; ++i) chosen.push_back({i / shape.rows, i % shape.rows});
    return chosen;
  }
  std::set<std::int64_t> picked;
  const auto pick = [&](std::int64_t b, std::int64_t r) {
    if (r >= 0 && r < shape.rows && static_cast<double>(picked.size() + 1) * row_cost <= kCheckAtMost)
      picked.insert(b * shape.rows + r);
  };
  const auto pick_edge = [&](std::int64_t b, std::int64_t edge) {
    pick(b, edge - 1);
    pick(b, edge);
  };
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (const std::int64_t edge : {std::int64_t{0}, std::int64_t{32}, std::int64_t{128}, std::int64_t{256}, shape.rows})
      pick_edge(b, edge);
  }
  for (const std::int64_t edge : shape.edges) pick_edge(0, edge);
  Random random(seed + 99);
  const std::int64_t enough = kEnoughOutputs / shape.cols + 1;
  for (std::int64_t i = 0; i < enough; ++i) {
    const std::int64_t row = random.below(rows);
    pick(row / shape.rows, row % shape.rows);
  }
  for (const std::int64_t i : picked) chosen.push_back({i / shape.rows, i % shape.rows});
  return chosen;
}

std::vector<OutRow> rows_to_check(const Case& c) {
  OutShape shape{c.out_batch(), c.out_rows(), c.out_cols(), depth_of(c), {}};
  for (std::size_t g = 0; c.is_gmm() && g < c.sizes.size(); ++g) {
    shape.edges.push_back(c.starts[g]);
    shape.edges.push_back(c.starts[g] + c.sizes[g]);
  }
  return rows_to_check(shape, c.problem.seed);
}

Comparison compare_with_oracle(const Case& c, const Bytes& out, const std::vector<OutRow>& rows) {
  const auto oracle = reference_of<reference::Oracle>(c);
  const auto ordered = reference_of<reference::Ordered>(c);
  return merged(static_cast<std::int64_t>(rows.size()), [&](std::int64_t i) {
    Comparison found;
    std::vector<reference::Exact> exact;
    const OutRow& row = rows[static_cast<std::size_t>(i)];
    if (local_group_of(c, row) >= 0) exact = exact_row(oracle, ordered, row, c.out_cols());
    compare_row(c, row, exact.data(), out, found);
    return found;
  });
}

void note_overflow(reference::Exact& exact, float product) {
  exact.overflows = exact.overflows || (!std::isfinite(exact.value) && !std::isfinite(product));
}

std::vector<reference::Exact> exact_row(const reference::Oracle& oracle, const reference::Ordered& ordered, const OutRow& row,
                                        std::int64_t cols) {
  std::vector<reference::Exact> exact(static_cast<std::size_t>(cols));
  oracle.row(row.batch, row.row, exact.data());
  for (std::int64_t col = 0; col < cols; ++col) {
    reference::Exact& e = exact[static_cast<std::size_t>(col)];
    if (!std::isfinite(e.value)) note_overflow(e, ordered.at(row.batch, row.row, col));
  }
  return exact;
}

bool has_order(const Case& c) { return c.problem.act == Activation::none || c.problem.act == Activation::relu; }

bool is_bare(const Case& c) {
  return c.problem.act == Activation::none && !c.problem.bias && c.problem.out_mode == OutMode::overwrite;
}

// By the same scalar arithmetic as the order's, so that it decides every bit as well.
float finished(const Case& c, std::int64_t group, std::int64_t index, float product) {
  float x = product;
  if (c.problem.bias && group >= 0)
    x = reference::fused(1, x, c.bias[static_cast<std::size_t>(group * c.out_cols() + index % c.out_cols())]);
  if (c.problem.act == Activation::relu) x = x > 0 || std::isnan(x) ? x : 0.0F;
  if (c.problem.out_mode == OutMode::overwrite) return x;
  const auto before = static_cast<float>(output_at(c.problem.out, c.initial_out.data(), index));
  // An empty group of tgmm adds nothing to its matrix, not even zero.
  if (!c.is_gmm() && c.sizes[static_cast<std::size_t>(c.problem.first + group)] == 0) return before;
  return reference::fused(1, before, x);
}

Comparison compare_with_order(const Case& c, const Bytes& out, std::int64_t samples) {
  const auto ordered = reference_of<reference::Ordered>(c);
  const std::int64_t outputs = c.out_batch() * c.out_rows() * c.out_cols();
  const std::int64_t parts = std::min(samples, outputs);
  return merged(parts, [&](std::int64_t i) {
    Comparison found;
    // One of each part of out, so that none is taken twice; the first parts are one longer where they cannot be equal.
    const std::int64_t length = outputs / parts;
    const std::int64_t longer = outputs % parts;
    Random random(c.problem.seed * 31 + static_cast<std::uint64_t>(i));
    const std::int64_t index = i * length + std::min(i, longer) + random.below(length + (i < longer ? 1 : 0));
    const std::int64_t col = index % c.out_cols();
    const std::int64_t row = index / c.out_cols() % c.out_rows();
    const std::int64_t batch = index / c.out_cols() / c.out_rows();
    const std::int64_t group = local_group_of(c, {batch, row});
    if (group < 0) return found;  // no product there
    const float product = finished(c, group, index, ordered.at(batch, row, col));
    const double expected = rounded_to(c.problem.out, static_cast<double>(product));
    const double got = output_at(c.problem.out, out.data(), index);
    found.checked = 1;
    const bool same =
        (std::isnan(expected) && std::isnan(got)) || (expected == got && std::signbit(expected) == std::signbit(got));
    if (!same)
      note_bad(found, fmt::format("{}: the reduction order gives {:.9g}, got {:.9g}", text_of(place_of(c, batch, row, col)),
                                  expected, got));
    return found;
  });
}

Comparison compare_bits(const Case& c, const Bytes& expected, const Bytes& got) {
  Comparison found;
  const std::int64_t bytes = element_bytes(c.problem.out);
  found.checked = static_cast<std::int64_t>(expected.size()) / bytes;
  if (expected == got) return found;
  for (std::int64_t i = 0; i < found.checked; ++i) {
    if (std::memcmp(expected.data() + i * bytes, got.data() + i * bytes, static_cast<std::size_t>(bytes)) == 0) continue;
    const std::int64_t row = i / c.out_cols() % c.out_rows();
    note_bad(found,
             fmt::format("{}: {:.9g} and {:.9g}", text_of(place_of(c, i / c.out_cols() / c.out_rows(), row, i % c.out_cols())),
                         output_at(c.problem.out, expected.data(), i), output_at(c.problem.out, got.data(), i)));
  }
  return found;
}

double cosine(const Case& c, const Bytes& out, const std::vector<float>& other, const std::vector<OutRow>& rows) {
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (const OutRow& row : rows) {
    for (std::int64_t col = 0; col < c.out_cols(); ++col) {
      const std::int64_t i = (row.batch * c.out_rows() + row.row) * c.out_cols() + col;
      const double a = output_at(c.problem.out, out.data(), i);
      const auto b = static_cast<double>(other[static_cast<std::size_t>(i)]);
      ab += a * b;
      aa += a * a;
      bb += b * b;
    }
  }
  return aa == 0 || bb == 0 ? 1 : ab / std::sqrt(aa * bb);
}

}  // namespace ragdot::testing
