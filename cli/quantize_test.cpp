// Which tensors of a checkpoint become bytes, and what is said of those that are damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using QuantizeVerb = Files;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST_F(QuantizeVerb, LeavesConvolutionsAlone) {
  const auto stacked = [](const char* name) { return tensor(name, "F32", {2, 3, 4}, bytes_of(some_weights(24))); };
  ASSERT_TRUE(write_file(path("in"),
                         {stacked("linear_attn.conv1d.weight"), stacked("mlp.experts.gate_up_proj"),
                          stacked("block_sparse_moe.input_linear.weight"), stacked("patch.weight")},
                         {})
                  .ok());
  const auto quantised = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"quantize", path("in"), "-o", path("out"), "--overwrite", "--json", path("q.json")});
    EXPECT_EQ(command(words), kOk);
    std::vector<std::string> names;
    const auto report = nlohmann::json::parse(load("q.json"));
    for (const auto& t : report["tensors"]) {
      if (t["quantised"].get<bool>()) names.push_back(t["name"]);
    }
    return names;
  };
  EXPECT_THAT(quantised({}), ::testing::ElementsAre("mlp.experts.gate_up_proj", "block_sparse_moe.input_linear.weight"));
  EXPECT_THAT(quantised({"--match", "conv1d"}), ::testing::ElementsAre("linear_attn.conv1d.weight"));
}

TEST_F(QuantizeVerb, SaysWhatIsDamaged) {
  std::vector<float> some = some_weights(6);
  some[1] = kNan;
  some[4] = -kInf;
  ASSERT_TRUE(write_file(path("in"),
                         {tensor("a.weight", "F32", {2, 3}, bytes_of(some)),
                          tensor("b.weight", "F32", {2, 3}, bytes_of(std::vector<float>(6, kNan))),
                          tensor("c.weight", "F32", {2, 3}, bytes_of(some_weights(6)))},
                         {})
                  .ok());
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(command_says({"quantize", path("in"), "-o", path("out")},
                         "a.weight holds 1 NaN and 1 Inf: NaN stays NaN, Inf saturates; --strict refuses such weights"),
            kOk);
  const std::string table = ::testing::internal::GetCapturedStdout();
  EXPECT_NE(table.find("a.weight (weight matrix, 1 NaN and 1 Inf)"), std::string::npos) << table;
  EXPECT_NE(table.find("quantised          -  [2, 3]             b.weight (weight matrix, 6 NaN and 0 Inf)"), std::string::npos)
      << table;
  EXPECT_NE(table.find("c.weight (weight matrix)"), std::string::npos) << table;
  ASSERT_EQ(command({"quantize", path("in"), "-o", path("out"), "--overwrite", "--json", path("q.json")}), kOk);
  const auto tensors = nlohmann::json::parse(load("q.json"))["tensors"];
  EXPECT_EQ(tensors[0]["nan"], 1);
  EXPECT_EQ(tensors[0]["inf"], 1);
  EXPECT_TRUE(tensors[1]["relative_error"].is_null());
  EXPECT_EQ(tensors[2]["nan"], 0);
}

TEST_F(QuantizeVerb, StrictRefusesWhatIsDamaged) {
  ASSERT_TRUE(write_file(path("in"), {tensor("a.weight", "F32", {1, 2}, bytes_of({1, kInf}))}, {}).ok());
  EXPECT_EQ(command_says({"quantize", path("in"), "-o", path("out"), "--strict"},
                         "quantize: a.weight holds 0 NaN and 1 Inf; mend the checkpoint, or leave out --strict"),
            kUsage);
  EXPECT_FALSE(fs::exists(path("out")));
  ASSERT_TRUE(write_file(path("whole"), {tensor("a.weight", "F32", {1, 2}, bytes_of({1, 2}))}, {}).ok());
  EXPECT_EQ(command({"quantize", path("whole"), "-o", path("out"), "--strict"}), kOk);
}

TEST_F(QuantizeVerb, RefusesWordsInItsOwn) {
  ASSERT_TRUE(write_file(path("in"), {tensor("a.weight", "F32", {1, 2}, bytes_of({1, 2}))}, {}).ok());
  const auto says = [&](const std::vector<std::string>& more, const std::string& sentence) {
    std::vector<std::string> words = {"quantize", path("in"), "-o", path("out")};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(command_says(words, sentence), kUsage);
  };
  says({"--match", "zzz"}, "quantize: --match zzz finds no f32, bf16 or f16 matrix among the 1 tensors of " + path("in"));
  says({"--block", "0x1"}, "quantize: --block 0x1 is no ROWSxCOLS; give numbers from 1 on");
  says({"--format", "zzz"}, "--format: zzz not in {e4m3,e5m2,i8}");
  says({"--scale", "e8m0"}, "quantize: --recipe absmax has scales that --scale e8m0 cannot hold");
  says({"--recipe", "mx", "--format", "i8"}, "quantize: --recipe mx is for e4m3 and e5m2");
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace ragdot::cli
