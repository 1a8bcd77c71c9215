// Segments of i8 that are longer than int32 sums are exact: every kernel that takes i8 gives the reduction order's bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "reference/oracle.hpp"
#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

constexpr std::int64_t kMost = 131071;  // products of -128 by -128 that an int32 holds

/// Every product 2^14: int32 sums of more than kMost would wrap.
void fill_with_least(DenseOperand& o) { std::fill(o.values.begin(), o.values.end(), std::byte{0x80}); }

template <class Args>
void expect_order(const Sample& s, const Args& args, const std::string& what) {
  const std::vector<std::byte> out = compute(s);
  const reference::Ordered ordered(args);
  std::size_t wrong = 0;
  std::size_t at = 0;
  for (std::int64_t b = 0; b < s.out_batch(); ++b) {
    for (std::int64_t r = 0; r < s.out_rows(); ++r) {
      for (std::int64_t c = 0; c < s.out_cols(); ++c, at += sizeof(float)) {
        const float expected = ordered.at(b, r, c);
        if (std::memcmp(&expected, out.data() + at, sizeof expected) != 0 && wrong++ == 0)
          ADD_FAILURE() << what << ": (" << b << ", " << r << ", " << c << ") is not " << expected;
      }
    }
  }
  EXPECT_EQ(wrong, 0U) << what;
}

void expect_order(const Sample& s, const std::string& what) {
  const View view = matrices(static_cast<void*>(nullptr), Format::f32, s.out_batch(), s.out_rows(), s.out_cols());
  s.is_gmm ? expect_order(s, s.gmm_args(s.lhs.operand(), s.rhs.operand(), view), what)
           : expect_order(s, s.tgmm_args(s.lhs.operand(), s.rhs.operand(), view), what);
}

TEST(LongSums, OfGmm) {
  const std::vector<Grids> grids = {
      {"uncut", Format::i8, Format::i8},
      {"by row and column", Format::i8, Format::i8, Format::f32, 1, kWholeAxis, Format::f32, kWholeAxis, 1},
      {"long and short segments", Format::i8, Format::i8, Format::f32, 1, 140000, Format::bf16, 150000, 3},
      {"one element too long", Format::i8, Format::i8, Format::e8m0, 1, kMost + 1, Format::f32, kWholeAxis, 40},
      {"as long as can be", Format::i8, Format::i8, Format::f32, 1, kMost, Format::f32, kMost, 1},
  };
  for (const Grids& g : grids) {
    Sample s = make_gmm(g, touching({3}, 3, 270000, 34), Data::all_codes, 3);
    expect_order(s, g.name);
    if (g.lhs_scale == Format::f32) continue;
    fill_with_least(s.lhs);
    fill_with_least(s.rhs);
    expect_order(s, g.name + ", extremes");
  }
}

TEST(LongSums, OfTgmm) {
  const std::vector<std::int64_t> sizes = {140000, 20, 0, kMost, kMost + 1};
  const std::int64_t rows = 140000 + 20 + 2 * kMost + 1;
  for (const bool per_group : {false, true}) {
    const ScaleOrigin origin = per_group ? ScaleOrigin::per_group : ScaleOrigin::global;
    const std::int64_t block = per_group ? 135000 : kWholeAxis;
    Sample s = make_tgmm({"", Format::i8, Format::i8, Format::f32, block, 1, Format::f32, 200000, 1, origin},
                         touching(sizes, rows, 5, 34), Data::all_codes, 5);
    expect_order(s, "random");
    fill_with_least(s.lhs);
    fill_with_least(s.rhs);
    expect_order(s, "extremes");
  }
}

/// One kernel would do for the bits; being slow it would not do for int8 training.
TEST(LongSums, AreTakenByEveryKernelOfI8) {
  const Sample s = make_gmm({"", Format::i8, Format::i8}, touching({1}, 1, 200000, 1), Data::all_codes, 1);
  const Sample few = make_gmm({"", Format::i8, Format::i8}, touching({1}, 1, 20, 1), Data::all_codes, 1);
  EXPECT_EQ(kernels_for(s, s.lhs.operand(), s.rhs.operand()), kernels_for(few, few.lhs.operand(), few.rhs.operand()));
}

/// Two blocks of rows, two strips of columns, behind a bias and an activation. The portable kernel holds such sums itself.
TEST(LongSums, GoToOutAsOthersDo) {
  const Grids grids = {"", Format::i8, Format::i8, Format::f32, 1, kWholeAxis, Format::f32, kWholeAxis, 1};
  Sample s = make_gmm(grids, touching({257}, 257, kMost + 1, 33), Data::all_codes, 9);
  s.bias.assign(33, 1.5F);
  s.activation = Activation::relu;
  s.out_format = Format::bf16;
  EXPECT_FALSE(compute(s).empty());
}

}  // namespace
}  // namespace ragdot::suites
