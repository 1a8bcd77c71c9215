// Any numbers in a call: the checks survive them (sanitizers watch), and what they let through keeps what the drivers rely on.
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "api/bad_calls.hpp"
#include "api/validate.hpp"

namespace ragdot::api {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

/// Breaks up to three fields of a call.
class Breaker {
 public:
  explicit Breaker(unsigned seed) : random_(seed) {}

  template <class Args>
  void operator()(Args& args, Options& options) {
    for (int i = upto(3); i > 0; --i) {
      switch (upto(6)) {
        case 0: operand(args.lhs); break;
        case 1: operand(args.rhs); break;
        case 2: view(args.out); break;
        case 3: groups(args.groups); break;
        case 4: args.first_group = number(); break;
        case 5: options.tiling = Tiling{number(), number(), number()}; break;
        default: args.out_mode = static_cast<OutMode>(upto(3) - 1);
      }
    }
  }

 private:
  int upto(int last) { return std::uniform_int_distribution<int>(0, last)(random_); }

  std::int64_t number() {
    static constexpr std::int64_t kNumbers[] = {kMin, -1, 0, 1, 2, 3, 4, 6, 8, 9, 1LL << 31, 1LL << 61, kMax - 1, kMax};
    return kNumbers[upto(std::size(kNumbers) - 1)];
  }

  template <class AnyView>
  void view(AnyView& v) {
    std::int64_t* const fields[] = {&v.batch, &v.rows, &v.cols, &v.batch_stride, &v.row_stride, &v.col_stride};
    const int field = upto(7);
    if (field < 6) {
      *fields[field] = number();
    } else {
      v.format = static_cast<Format>(upto(10) - 1);
    }
  }

  void operand(Operand& o) {
    switch (upto(4)) {
      case 0: o.scales.block_rows = number(); break;
      case 1: o.scales.block_cols = number(); break;
      case 2: o.scales.origin = static_cast<ScaleOrigin>(upto(3) - 1); break;
      case 3: view(o.scales.view); break;
      default: view(o.values);
    }
  }

  void groups(Groups& g) {
    switch (upto(2)) {
      case 0: g.kind = static_cast<Groups::Kind>(upto(5) - 1); break;
      case 1: g.index = static_cast<Groups::Index>(upto(3) - 1); break;
      default: g.count = number() % 9;  // the numbers of eight groups are there
    }
  }

  std::mt19937 random_;
};

template <class Call>
int accepted_calls() {
  int accepted = 0;
  for (unsigned seed = 0; seed < 20000; ++seed) {
    Call c;
    Breaker breaker(seed);
    breaker(c.args, c.options);
    if (!check_shapes(c.args, c.options).ok()) continue;
    if (c.args.groups.count > 8 || c.args.groups.index == Groups::Index::i64) continue;
    c.args.groups.sizes = c.memory.sizes.data();
    if (c.args.groups.kind == Groups::Kind::offsets) c.args.groups.count = std::min<std::int64_t>(c.args.groups.count, 7);
    std::array<RowRange, 8> ranges;
    const std::span<RowRange> groups(ranges.data(), static_cast<std::size_t>(c.args.groups.count));
    if (!read_groups("call", c.args.groups, c.args.lhs.values.rows, groups).ok()) continue;
    if (!check_memory(c.args).ok() || !check_scales(c.args, groups, Strictness::ieee).ok()) continue;
    ++accepted;
    EXPECT_LE(c.args.first_group + std::max<std::int64_t>(c.args.out.batch - 1, 0), c.args.groups.count);
    EXPECT_EQ(c.args.out.cols, c.args.rhs.values.cols);
  }
  return accepted;
}

TEST(Checks, SurviveAnyNumbers) {
  EXPECT_GT(accepted_calls<GmmCall>(), 1000);
  EXPECT_GT(accepted_calls<TgmmCall>(), 1000);
}

}  // namespace
}  // namespace ragdot::api
