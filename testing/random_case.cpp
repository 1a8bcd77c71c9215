// Draws one property after the other; sizes first, so that what follows can fit them.
#include "testing/random_case.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "testing/random.hpp"
#include "testing/words.hpp"

namespace ragdot::testing {
namespace {

constexpr std::int64_t kMultiplyAdds = 1 << 19;

class Draw : Random {
 public:
  /// Neighbours must not share their streams: both numbers pass the generator.
  Draw(std::uint64_t seed, std::uint64_t index) : Random(Random(seed).next() ^ Random(index).next()) {}

  template <class Table>
  auto word(const Table& table) {
    return table[static_cast<std::size_t>(below(std::ssize(table)))].second;
  }

  RandomCase draw();

 private:
  std::int64_t extent();
  std::int64_t block();
  void shape(Problem& p);
  void large(Problem& p);
  void groups(Problem& p);
  void operand(OperandSpec& o, Format format);
  void operands(Problem& p);
  void output(Problem& p);
  Layout layout(bool values);
  Call call(const Problem& p);
};

std::int64_t Draw::extent() {
  const std::int64_t roll = between(0, 99);
  if (roll < 2) return 0;
  if (roll < 7) return 1;
  if (roll < 45) return between(2, 40);
  if (roll < 85) return between(20, 100);
  return roll < 93 ? of<std::int64_t>({16, 32, 64, 96, 128, 160, 256}) : between(100, 300);
}

/// An out of more than 4 MiB, which is written past the caches, of short sums.
void Draw::large(Problem& p) {
  constexpr std::int64_t kElements = 2'200'000;  // of two bytes at least
  p.g = between(1, 6);
  std::int64_t& rows = p.op == Op::tgmm ? p.k : p.m;
  (p.op == Op::tgmm ? p.m : p.k) = between(1, 16);
  rows = between(100, 3000);
  p.n = kElements / (rows * (p.op == Op::tgmm ? p.g : 1)) + 1;
}

void Draw::shape(Problem& p) {
  if (one_in(1000)) return large(p);
  p.g = one_in(40) ? 0 : one_in(6) ? 1 : one_in(8) ? between(9, 40) : between(2, 8);
  p.m = extent();
  p.k = extent();
  p.n = extent();
  std::int64_t* const axes[] = {&p.m, &p.k, &p.n};
  if (one_in(25)) {
    for (std::int64_t* axis : axes) *axis = between(1, 12);
    *axes[between(0, 2)] = between(300, 1500);
  } else if (one_in(200)) {
    p.g = std::min<std::int64_t>(p.g, 3);
    for (std::int64_t* axis : axes) *axis = between(1, 4);
    *axes[between(0, 2)] = between(4000, 20000);
  }
  // Weights and slabs take memory for each group, rows or not.
  while ((p.m + p.g) * p.k * p.n > kMultiplyAdds) {
    std::int64_t* const longest = *std::max_element(std::begin(axes), std::end(axes), [](auto* a, auto* b) { return *a < *b; });
    *longest = *longest * 3 / 4;
  }
}

void Draw::groups(Problem& p) {
  using Kind = Distribution::Kind;
  p.dist.kind =
      of({Kind::even, Kind::multinomial, Kind::zipf, Kind::onehot, Kind::empty, Kind::sizes, Kind::sizes, Kind::sizes});
  if (p.g == 0) p.dist.kind = Kind::even;
  // Whole exponents: their powers are exact in any libm.
  if (p.dist.kind == Kind::zipf) p.dist.parameter = static_cast<double>(between(1, 2));
  if (p.dist.kind == Kind::onehot) p.dist.parameter = static_cast<double>(between(0, p.g - 1));
  if (p.dist.kind == Kind::empty) p.dist.parameter = static_cast<double>(between(10, 100));
  if (p.dist.kind == Kind::sizes) {
    const bool gaps = one_in(2);
    const bool only_first = one_in(3);
    std::int64_t left = p.m;
    for (std::int64_t g = 0; g < p.g; ++g) {
      const std::int64_t gap = gaps && (only_first ? g == 0 : one_in(2)) ? between(0, std::min<std::int64_t>(left, 7)) : 0;
      const std::int64_t size = one_in(4) ? 0 : one_in(6) ? 1 : one_in(4) ? between(0, left) : between(0, 2 * p.m / p.g + 1);
      if (gaps) p.starts.push_back(p.m - left + gap);
      left -= gap;
      p.dist.sizes.push_back(std::min(size, left));
      left -= p.dist.sizes.back();
    }
  }
  if (one_in(4)) {
    p.first = between(0, p.g);
    p.local = between(0, p.g - p.first);
  }
}

std::int64_t Draw::block() {
  const std::int64_t roll = between(0, 99);
  if (roll < 25) return 1;
  if (roll < 45) return kWholeAxis;
  if (roll < 70) return of<std::int64_t>({32, 64, 128, 128});
  return roll < 80 ? between(2, 16) : between(1, 100);
}

void Draw::operand(OperandSpec& o, Format format) {
  o.format = format;
  o.scaled = format != Format::f32 && format != Format::bf16 && !one_in(7);
  if (!o.scaled) return;
  o.block_rows = block();
  o.block_cols = block();
  o.scale = of({Format::f32, Format::f32, Format::bf16, Format::e8m0});
}

void Draw::operands(Problem& p) {
  if (one_in(5)) {
    const Format both = of({Format::f32, Format::i8, Format::i8});
    operand(p.lhs, both);
    operand(p.rhs, both);
  } else {
    operand(p.lhs, of({Format::bf16, Format::e4m3, Format::e4m3, Format::e5m2}));
    operand(p.rhs, of({Format::bf16, Format::e4m3, Format::e4m3, Format::e5m2}));
  }
  // Most users' grids agree along the reduction axis; drawn apart they rarely would.
  if (one_in(4)) p.rhs.*reduction_block(p, Side::rhs) = p.lhs.*reduction_block(p, Side::lhs);
  if (p.lhs.scaled || (p.op == Op::tgmm && p.rhs.scaled)) p.origin = word(kOrigins);
  p.data = word(kFamilies);
  const bool is_i8 = p.lhs.format == Format::i8;
  const bool powers = (p.lhs.scaled && p.lhs.scale == Format::e8m0) || (p.rhs.scaled && p.rhs.scale == Format::e8m0);
  p.recipe = of({powers ? Recipe::pow2 : Recipe::absmax, Recipe::pow2, is_i8 ? Recipe::pow2 : Recipe::mx});
}

void Draw::output(Problem& p) {
  p.out = of({Format::f32, Format::f32, Format::bf16, Format::f16});
  if (one_in(6)) {
    p.out_mode = OutMode::accumulate;
    p.out = Format::f32;
  }
  if (p.op == Op::tgmm) return;
  p.rows_outside = word(kRowsOutside);
  p.bias = one_in(4);
  if (one_in(3)) p.act = word(kActivations);
}

/// Lines of values are contiguous.
Layout Draw::layout(bool values) {
  Layout l;
  if (one_in(2)) return l;
  l.interleaved = one_in(4);
  if (!values && one_in(4)) l.gap = between(1, 5);
  l.transposed = one_in(3);
  if (one_in(2)) l.padding = between(1, 40);
  if (one_in(2)) l.offset = between(1, 64);
  return l;
}

/// Every group starts where the one before ends; the first one anywhere.
bool groups_touch(const Problem& p) {
  for (std::size_t g = 1; g < p.starts.size(); ++g) {
    if (p.starts[g] != p.starts[g - 1] + p.dist.sizes[g - 1]) return false;
  }
  return true;
}

Call Draw::call(const Problem& p) {
  Call c;
  for (Layout* l : {&c.lhs, &c.rhs}) *l = layout(true);
  for (Layout* l : {&c.lhs_scales, &c.rhs_scales, &c.bias, &c.out}) *l = layout(false);
  using Kind = Groups::Kind;
  c.groups = p.starts.empty()  ? of({Kind::sizes, Kind::ends, Kind::offsets, Kind::starts_and_sizes})
             : groups_touch(p) ? of({Kind::offsets, Kind::starts_and_sizes})
                               : Kind::starts_and_sizes;
  c.index = of({Groups::Index::i32, Groups::Index::i64});
  c.entry = of({Entry::one_shot, Entry::plan});
  if (p.op != Op::tgmm && one_in(3)) c.weights = Weights::packed;
  if (one_in(16)) c.workers = Workers::threads;
  return c;
}

RandomCase Draw::draw() {
  RandomCase r;
  Problem& p = r.problem;
  p.op = of({Op::gmm, Op::gmm, Op::dlhs, Op::tgmm, Op::tgmm});
  if (p.op != Op::tgmm) p.order = word(kOrders);
  shape(p);
  groups(p);
  operands(p);
  output(p);
  if (one_in(2)) p.tile = Tiling{between(1, 70), between(1, 150), between(1, 70)};
  if (p.tile && one_in(4))
    p.tile = Tiling{of<std::int64_t>({16, 32, 128}), of<std::int64_t>({32, 128, 2048}), of<std::int64_t>({16, 64, 128})};
  p.threads = of({1, 1, 2, 3, 5});
  p.seed = static_cast<std::uint64_t>(between(1, 1000000));
  r.call = call(p);
  return r;
}

}  // namespace

std::int64_t OperandSpec::* reduction_block(const Problem& p, Side side) {
  if (p.op == Op::tgmm) return &OperandSpec::block_rows;
  const bool by_columns = side == Side::lhs || (p.op == Op::gmm) == (p.order == Order::nk);
  return by_columns ? &OperandSpec::block_cols : &OperandSpec::block_rows;
}

RandomCase random_case(std::uint64_t seed, std::uint64_t index) { return Draw(seed, index).draw(); }

}  // namespace ragdot::testing
