// ragdot check: answers of this library, of kernels with other orders, and wrong ones.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using ::testing::HasSubstr;

class CheckVerb : public Files {
 protected:
  /// The answer of `ragdot run` to the file "case", as `change` leaves its bytes.
  template <class Change>
  void answer(Change change, const char* name = "out") {
    fs::remove(path("answer"));
    fs::remove(path("run"));
    ASSERT_EQ(command({"run", path("case"), "-o", path("run")}), kOk);
    const auto file = SafetensorsFile::open(path("run"));
    ASSERT_TRUE(file.ok());
    const TensorInfo& out = *file.value().find("out");
    std::string bytes(reinterpret_cast<const char*>(file.value().data(out)), static_cast<std::size_t>(out.bytes));
    TensorInfo info = out;
    info.name = name;
    change(bytes);
    ASSERT_TRUE(write_file(path("answer"), {{info, bytes}}, {}).ok());
  }
  int check(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"check", path("case"), path("answer"), "--json", path("j")});
    return command(more);
  }
  [[nodiscard]] nlohmann::json report() const { return nlohmann::json::parse(load("j")); }
};

void leave(std::string& /*bytes*/) {}

template <class Change>
auto one(std::size_t index, Change change) {
  return [index, change](std::string& bytes) {
    float x = 0;
    std::memcpy(&x, bytes.data() + 4 * index, 4);
    x = change(x);
    std::memcpy(bytes.data() + 4 * index, &x, 4);
  };
}

TEST_F(CheckVerb, TakesAnswersOfThisLibrary) {
  const char* const problems[] = {
      "gmm g=3 m=40 k=70 n=50 lhs=e4m3:1x32 rhs=e4m3:32x16 dist=sizes:15,0,20 out=f32 bias=1 act=silu seed=5",
      "gmm g=2 m=24 k=33 n=20 lhs=bf16 rhs=bf16 data=edges out=f16",
      "dlhs g=2 m=30 k=20 n=40 lhs=bf16 rhs=e5m2:8x8 rscale=bf16 order=nk data=spread rows_outside=leave first=1",
      "tgmm g=3 m=50 k=20 n=30 lhs=e4m3:16x1 rhs=e4m3:16x1 scale=e8m0 recipe=pow2 origin=per_group dist=zipf:1 accumulate=1",
      "tgmm g=2 m=0 k=20 n=30 lhs=bf16 rhs=bf16",
      "gmm g=0 m=5 k=20 n=30 lhs=bf16 rhs=bf16",
  };
  for (const char* problem : problems) {
    fs::remove(path("case"));
    ASSERT_EQ(command({"case", problem, "-o", path("case")}), kOk) << problem;
    answer(leave);
    EXPECT_EQ(check({"--roundings", "100000000000"}), kOk) << problem;
    EXPECT_EQ(check({"--roundings", "0"}), kOk) << problem;
    EXPECT_EQ(report()["same_bits"], report()["outputs"]) << problem;
    EXPECT_EQ(report()["outputs_checked"], report()["outputs"]) << problem;
    EXPECT_LE(report()["worst_over_bound"], 1.0) << problem;
  }
}

TEST_F(CheckVerb, SaysWhereAnAnswerIsWrong) {
  ASSERT_EQ(command({"case", "gmm g=2 m=40 k=70 n=50 lhs=bf16 rhs=bf16 dist=sizes:15,20 out=f32", "-o", path("case")}), kOk);
  const std::size_t place = 17 * 50 + 3;
  answer(one(place, [](float x) { return x * 1.01F; }));
  EXPECT_EQ(check(), kCheckFailed);
  EXPECT_THAT(report()["failure"].get<std::string>(), HasSubstr("(group 1, row 17, col 3): exact "));
  EXPECT_EQ(report()["wrong"], 1);
  EXPECT_EQ(report()["same_bits"], 40 * 50 - 1);
  EXPECT_GT(report()["worst_over_allowed"], 1.0);
  EXPECT_EQ(check({"--of-sum", "0.5"}), kOk);
  answer(one(place, [](float) { return std::nanf(""); }));
  EXPECT_EQ(check({"--of-sum", "0.5"}), kCheckFailed);
  EXPECT_TRUE(report()["worst_over_allowed"].is_null()) << "NaN is off by more than any number";
  answer(one(37 * 50, [](float) { return 1.0F; }));
  EXPECT_EQ(check(), kCheckFailed);
  EXPECT_THAT(report()["failure"].get<std::string>(), HasSubstr("(group -1, row 37, col 0): exact 0, got 1"));
}

TEST_F(CheckVerb, OfATgmmGroupsAreMatrices) {
  ASSERT_EQ(
      command({"case", "tgmm g=3 m=30 k=8 n=5 lhs=bf16 rhs=bf16 dist=sizes:7,0,20 first=1 accumulate=1", "-o", path("case")}),
      kOk);
  answer(one(8 * 5 + 5 + 2, [](float x) { return x + 5.0F; }));
  EXPECT_EQ(check(), kCheckFailed);
  EXPECT_THAT(report()["failure"].get<std::string>(), HasSubstr("(group 2, row 1, col 2): exact "));
}

/// One f32 chain over 4096 terms: within what its roundings may do, beyond what this library's order may.
TEST_F(CheckVerb, HasRoomForOtherOrders) {
  constexpr std::size_t kDepth = 4096;
  std::vector<float> lhs(kDepth, 0x1p-13F);
  std::vector<float> rhs(kDepth, 0x1p-12F);
  lhs[0] = rhs[0] = 1;
  const std::int32_t size = 1;
  const std::string sizes(reinterpret_cast<const char*>(&size), 4);
  ASSERT_TRUE(write_file(path("case"),
                         {tensor("lhs", "F32", {1, kDepth}, bytes_of(lhs)), tensor("rhs", "F32", {1, kDepth, 1}, bytes_of(rhs)),
                          tensor("group_sizes", "I32", {1}, sizes)},
                         {{"problem", "gmm lhs=f32 rhs=f32 out=f32"}})
                  .ok());
  answer(one(0, [&](float) {
    float sum = 0;
    for (std::size_t i = 0; i < kDepth; ++i) sum += lhs[i] * rhs[i];
    return sum;
  }));
  EXPECT_EQ(check(), kOk);
  EXPECT_GT(report()["worst_over_bound"], 10.0);
  EXPECT_LT(report()["worst_over_allowed"], 1.0);
  EXPECT_EQ(check({"--roundings", "100"}), kCheckFailed);
  EXPECT_EQ(check({"--roundings", "100000000000"}), kOk) << "more than there is a bound for";
}

TEST_F(CheckVerb, RefusesWhatIsNoAnswer) {
  ASSERT_EQ(command({"case", "gmm g=1 m=4 k=8 n=6 lhs=bf16 rhs=bf16 out=f32", "-o", path("case")}), kOk);
  answer(leave, "result");
  EXPECT_EQ(command_says({"check", path("case"), path("answer")}, "it has no tensor out, which the answer is"), kUsage);
  fs::remove(path("answer"));
  ASSERT_TRUE(write_file(path("answer"), {tensor("out", "F32", {6, 4}, std::string(96, '\0'))}, {}).ok());
  EXPECT_EQ(command_says({"check", path("case"), path("answer")}, "tensor out is F32 [6, 4]; the case has F32 [4, 6]"), kUsage);
  fs::remove(path("answer"));
  ASSERT_TRUE(write_file(path("answer"), {tensor("out", "BF16", {4, 6}, std::string(48, '\0'))}, {}).ok());
  EXPECT_EQ(command_says({"check", path("case"), path("answer")}, "tensor out is BF16 [4, 6]; the case has F32 [4, 6]"),
            kUsage);
  EXPECT_EQ(command_says({"check", path("case"), path("absent")}, "absent"), kUsage);
  EXPECT_EQ(command({"check", path("case"), path("answer"), "--roundings", "-1"}), kUsage);
  EXPECT_EQ(command({"check", path("case"), path("answer"), "--json", path("case")}), kUsage);
}

}  // namespace
}  // namespace ragdot::cli
