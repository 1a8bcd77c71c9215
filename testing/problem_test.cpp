// Problem strings: what is read is what is written, and every wrong word gets a sentence.
#include "testing/problem.hpp"

#include <gtest/gtest.h>

#include "testing/case.hpp"
#include "testing/sizes.hpp"

namespace ragdot::testing {
namespace {

TEST(ProblemString, DefaultsAndRoundTrip) {
  for (const char* text : {
           "gmm g=8 m=2048 k=2048 n=512 lhs=bf16 rhs=bf16",
           "gmm g=8 m=2048 k=2048 n=512 lhs=e4m3:1x128 rhs=e4m3:128x128 lscale=e8m0 origin=per_group out=f32 order=nk "
           "dist=zipf:1.1",
           "tgmm g=3 m=10 k=4 n=5 lhs=e4m3:128x1 rhs=e5m2:*x1 rscale=bf16 dist=sizes:4,0,6 first=1 local=2 accumulate=1",
           "dlhs g=1 m=1 k=1 n=1 lhs=i8:1x* rhs=i8:*x* rows_outside=leave act=gelu_erf bias=1 recipe=pow2 tile=1x2x3 "
           "kernel=portable "
           "threads=2 seed=7 data=outlier",
           "tgmm g=2 m=9 k=3 n=4 lhs=bf16 rhs=bf16 dist=sizes:2,3 starts=1,6 data=edges",
       }) {
    const auto problem = parse_problem(text);
    ASSERT_TRUE(problem.ok()) << problem.status().message();
    EXPECT_EQ(to_string(problem.value()), text);
  }
  const auto p = parse_problem("tgmm n=5 k=4 m=10 g=3 scale=e8m0 lhs=e4m3:32x1 rhs=e4m3:32x1");
  ASSERT_TRUE(p.ok());
  EXPECT_EQ(p.value().out, Format::f32);
  EXPECT_EQ(p.value().lhs.scale, Format::e8m0);
  EXPECT_EQ(p.value().rhs.scale, Format::e8m0);
}

TEST(ProblemString, ScalesBelongToBlocks) {
  const auto p = parse_problem("gmm g=1 m=1 k=1 n=1 lhs=e4m3:1x32 rhs=bf16 scale=e8m0");
  ASSERT_TRUE(p.ok());
  EXPECT_EQ(p.value().lhs.scale, Format::e8m0);
  const auto again = parse_problem(to_string(p.value()));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.value().lhs, p.value().lhs);
  EXPECT_EQ(again.value().rhs, p.value().rhs);
}

TEST(ProblemString, OneHotNamesAGroup) {
  const auto p = parse_problem("gmm g=3 m=5 k=1 n=1 dist=onehot:2");
  ASSERT_TRUE(p.ok());
  EXPECT_EQ(group_sizes(p.value()), (std::vector<std::int64_t>{0, 0, 5}));
}

TEST(ProblemString, Refusals) {
  const std::pair<const char*, const char*> table[] = {
      {"", "problem: it is empty; start with gmm, dlhs or tgmm"},
      {"gm g=1", "problem: OP=gm is unknown; did you mean gmm? Known: gmm, dlhs, tgmm"},
      {"gmm g=1 m=1 k=1", "problem: n is missing; every problem names g, m, k and n"},
      {"gmm g=1 m=1 k=1 n=1 kernel=portble",
       "problem: kernel=portble is unknown; did you mean portable? Known: amx, avx512bf16, avx512, avx2, portable"},
      {"gmm g=1 m=1 k=1 n=1 ordr=nk", "problem: key ordr is unknown; did you mean order?"},
      {"gmm g=1 m=1 k=1 n=1 lhs=e4m4", "problem: lhs=e4m4 is unknown; did you mean e4m3? Known: f32, bf16, e4m3, e5m2, i8"},
      {"gmm g=1 m=1 k=1 n=1 lhs=e4m3:128",
       "problem: lhs=e4m3:128 has no block ROWSxCOLS behind the colon; give numbers from 1 on, such as 1x128, or *"},
      {"gmm g=1 m=1 k=1 n=1 lhs=e4m3:0x1",
       "problem: lhs=e4m3:0x1 has no block ROWSxCOLS behind the colon; give numbers from 1 on, such as 1x128, or *"},
      {"gmm g=-1 m=1 k=1 n=1", "problem: g=-1 is no number from 0 on"},
      {"gmm g=1 m=99999999999999999999 k=1 n=1", "problem: m=99999999999999999999 is too large"},
      {"gmm g=1 g=2", "problem: g is given twice"},
      {"gmm g=2 m=9 k=1 n=1 dist=sizes:4", "problem: dist names 1 sizes of 4 rows; g=2 m=9 needs 2 sizes of at most 9 rows"},
      {"gmm g=2 m=9 k=1 n=1 first=2 local=1", "problem: first=2 local=1 reach beyond g=2"},
      {"gmm g=2 m=9 k=1 n=1 first=9223372036854775807 local=2", "problem: first=9223372036854775807 local=2 reach beyond g=2"},
      {"gmm g=2 m=9 k=1 n=1 dist=sizes:9223372036854775807,2",
       "problem: dist names 2 sizes of 9223372036854775807 rows; g=2 m=9 needs 2 sizes of at most 9 rows"},
      {"gmm g=2 m=9 k=1 n=1 dist=zipf:nan",
       "problem: dist=zipf:nan has no exponent; give a number from 0 on, such as zipf:1.1"},
      {"gmm g=2 m=9 k=1 n=1 dist=zipf", "problem: dist=zipf has no exponent; give a number from 0 on, such as zipf:1.1"},
      {"gmm g=2 m=9 k=1 n=1 dist=zipf:inf",
       "problem: dist=zipf:inf has no exponent; give a number from 0 on, such as zipf:1.1"},
      {"gmm g=2 m=9 k=1 n=1 dist=empty:200",
       "problem: dist=empty:200 has no percentage; give a number from 0 to 100, such as empty:10"},
      {"gmm g=2 m=9 k=1 n=1 dist=onehot:0.5",
       "problem: dist=onehot:0.5 names no group; give the index of one, such as onehot:0"},
      {"gmm g=2 m=9 k=1 n=1 dist=onehot:5", "problem: dist=onehot:5 names no group of g=2; give an index from 0 to 1"},
      {"gmm g=8 m=9223372036854775807 k=9223372036854775807 n=4",
       "problem: g=8 m=9223372036854775807 k=9223372036854775807 n=4 make matrices of 2^60 elements or more; give smaller "
       "sizes"},
      {"gmm g=9223372036854775807 m=1 k=0 n=0",
       "problem: g=9223372036854775807 m=1 k=0 n=0 make matrices of 2^60 elements or more; give smaller sizes"},
      {"tgmm g=2 m=4 k=4 n=4 bias=1", "problem: bias=1 is for gmm and dlhs; tgmm has no bias, leave it out"},
      {"tgmm g=2 m=4 k=4 n=4 act=relu", "problem: act=relu is for gmm and dlhs; tgmm has no act, leave it out"},
      {"tgmm order=nk g=2 m=4 k=4 n=4", "problem: order=nk is for gmm and dlhs; tgmm has no order, leave it out"},
      {"tgmm g=2 m=4 k=4 n=4 rows_outside=leave",
       "problem: rows_outside=leave is for gmm and dlhs; tgmm has no rows_outside, leave it out"},
      {"gmm g=2 m=9 k=1 n=1 tile=3x4", "problem: tile=3x4 is neither auto nor TMxTKxTN"},
      {"gmm g=2 m=9 k=1 n=1 starts=1,2", "problem: starts names 2 groups; it needs dist=sizes:... of as many"},
      {"gmm g=2 m=9 k=1 n=1 dist=sizes:4,3 starts=0,3",
       "problem: group 1 starts at row 3; the one before ends at 4, start there or later"},
      {"gmm g=2 m=9 k=1 n=1 dist=sizes:4,3 starts=0,7",
       "problem: the last group ends at row 10; m=9 needs to be at least that"},
      {"gmm nk", "problem: nk is not KEY=VALUE"},
  };
  for (const auto& [text, sentence] : table) EXPECT_EQ(parse_problem(text).status().message(), sentence) << text;
  EXPECT_TRUE(parse_problem("gmm lhs=bf16", Shapes::optional).ok());
}

/// What a plan calls its problem may be given to the command.
TEST(ProblemString, OfAPlanIsAProblemString) {
  const auto text_of = [](const std::string& words) {
    const auto problem = parse_problem(words);
    EXPECT_TRUE(problem.ok()) << problem.status().message();
    if (!problem.ok()) return std::string();
    const auto plan = plan_of(problem.value());
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return plan.ok() ? plan.value().describe().substr(0, plan.value().describe().find(": kernel")) : "";
  };
  for (const char* words :
       {"gmm g=5 m=150 k=100 n=40", "dlhs g=2 m=30 k=20 n=40 lhs=e4m3:1x16 rhs=e5m2:8x8 rscale=bf16 order=nk",
        "gmm g=5 m=150 k=100 n=40 lhs=e4m3:7x128 rhs=e4m3:128x128 origin=per_group first=1 local=3 rows_outside=leave out=f32",
        "gmm g=2 m=30 k=64 n=40 lhs=e4m3:1x32 rhs=e4m3:32x1 scale=e8m0 recipe=mx bias=1 act=silu accumulate=1",
        "tgmm g=3 m=90 k=20 n=40 lhs=e4m3:128x1 rhs=e4m3:128x1 origin=per_group",
        "tgmm g=3 m=90 k=20 n=40 lhs=i8:*x1 rhs=i8:*x1"}) {
    const std::string text = text_of(words);
    EXPECT_EQ(text_of(text), text) << words;
  }
}

}  // namespace
}  // namespace ragdot::testing
