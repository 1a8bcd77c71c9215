// Which tensors of a checkpoint become bytes, and what is said of those that are damaged.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using QuantizeVerb = Files;

class ChosenWeights : public Files {
 protected:
  /// Of the file "in".
  [[nodiscard]] std::vector<std::string> quantised_names(std::vector<std::string> words) const {
    words.insert(words.begin(), {"quantize", path("in"), "-o", path("out"), "--overwrite", "--json", path("q.json")});
    EXPECT_EQ(command(words), kOk);
    std::vector<std::string> names;
    const auto report = nlohmann::json::parse(load("q.json"));
    for (const auto& t : report["tensors"]) {
      if (t["quantised"].get<bool>()) names.push_back(t["name"]);
    }
    return names;
  }
};

Tensor weight(const std::string& name) { return tensor(name, "F32", {3, 4}, bytes_of(some_weights(12))); }

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST_F(ChosenWeights, AreNoConvolutions) {
  const auto stacked = [](const char* name) { return tensor(name, "F32", {2, 3, 4}, bytes_of(some_weights(24))); };
  ASSERT_TRUE(write_file(path("in"),
                         {stacked("linear_attn.conv1d.weight"), stacked("mlp.experts.gate_up_proj"),
                          stacked("block_sparse_moe.input_linear.weight"), stacked("patch.weight")},
                         {})
                  .ok());
  EXPECT_THAT(quantised_names({}), ::testing::ElementsAre("mlp.experts.gate_up_proj", "block_sparse_moe.input_linear.weight"));
  EXPECT_THAT(quantised_names({"--match", "conv1d"}), ::testing::ElementsAre("linear_attn.conv1d.weight"));
}

TEST_F(ChosenWeights, AreThoseOfLinearLayersByTheNamesOfCheckpoints) {
  std::vector<Tensor> tensors;
  const std::vector<std::string> chosen = {
      "l.mlp.gate_proj.weight",         "l.mlp.experts.0.w1.weight",      "l.mlp.shared_expert.up_proj.weight",
      "l.self_attn.o_proj.weight",      "l.self_attn.output_gate.weight", "l.ffn_gate.weight",
      "l.attention.output.dense.weight"};
  for (const std::string& name : chosen) tensors.push_back(weight(name));
  for (const char* name :
       {"l.mlp.gate.weight", "gate.weight", "l.block_sparse_moe.gate.weight", "l.mlp.shared_expert_gate.weight",
        "l.mlp.gate.wg.weight", "l.mlp.router.weight", "lm_head.weight", "l.61.shared_head.head.weight", "head.weight",
        "language_model.output.weight", "transformer.output_layer.weight", "output.weight", "score.weight",
        "l.61.eh_proj.weight", "embed_tokens.weight", "l.q_norm.weight"})
    tensors.push_back(weight(name));
  ASSERT_TRUE(write_file(path("in"), tensors, {}).ok());
  EXPECT_EQ(quantised_names({}), chosen);
  EXPECT_THAT(quantised_names({"--except", "experts|attn"}),
              ::testing::ElementsAre("l.mlp.gate_proj.weight", "l.mlp.shared_expert.up_proj.weight", "l.ffn_gate.weight",
                                     "l.attention.output.dense.weight"));
  EXPECT_THAT(quantised_names({"--match", "gate", "--except", "gate_proj|wg"}),
              ::testing::ElementsAre("l.self_attn.output_gate.weight", "l.ffn_gate.weight", "l.mlp.gate.weight", "gate.weight",
                                     "l.block_sparse_moe.gate.weight", "l.mlp.shared_expert_gate.weight"));
  EXPECT_EQ(command_says({"quantize", path("in"), "-o", path("x"), "--match", "wg", "--except", "gate"},
                         "--except gate leaves nothing of what --match wg finds"),
            kUsage);
  EXPECT_EQ(command_says({"quantize", path("in"), "-o", path("x"), "--except", "["}, "--except [ is no regular expression: "),
            kUsage);
}

TEST_F(QuantizeVerb, SaysInTheFileHowItsTensorsAreQuantised) {
  const auto said = [&](const char* name) {
    return nlohmann::json::parse(SafetensorsFile::open(path(name)).value().metadata().at("quantization"));
  };
  ASSERT_TRUE(write_file(path("in"), {weight("a.weight"), weight("b.weight"), weight("norm.weight")}, {}).ok());
  ASSERT_EQ(command({"quantize", path("in"), "-o", path("one"), "--match", "a.weight", "--block", "32x1"}), kOk);
  EXPECT_EQ(said("one")["block"], "32x1");
  ASSERT_EQ(command({"quantize", path("one"), "-o", path("two")}), kOk);
  ASSERT_EQ(said("two").size(), 2U);
  EXPECT_EQ(said("two")[0], said("one"));
  EXPECT_EQ(said("two")[1]["block"], "128x128");
  ASSERT_EQ(command({"quantize", path("two"), "-o", path("three"), "--block", "1x32"}), kOk);  // nothing is left to quantise
  EXPECT_EQ(said("three"), said("two"));
}

TEST_F(QuantizeVerb, CopiesDtypesThatItDoesNotRead) {
  const std::vector<Tensor> copied = {tensor("a", "C64", {1}, std::string(8, 'x')), tensor("b", "F4", {2, 3}, "abc"),
                                      tensor("c", "F6_E2M3", {4}, "abc"), tensor("d", "F8_E4M3FNUZ", {2}, "ab")};
  ASSERT_TRUE(write_file(path("in"), copied, {}).ok());
  ASSERT_EQ(command({"quantize", path("in"), "-o", path("out")}), kOk);
  EXPECT_EQ(load("out"), load("in"));
}

/// Those of stacked experts have three dimensions too: what is quantised already is copied whole.
TEST_F(QuantizeVerb, LeavesScalesAlone) {
  const auto stacked = [](const char* name) { return tensor(name, "F32", {2, 3, 4}, bytes_of(some_weights(24))); };
  ASSERT_TRUE(write_file(path("in"), {stacked("mlp.experts.down_proj"), stacked("mlp.experts.w13_weight_scale")}, {}).ok());
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("once")}), kOk);
  EXPECT_EQ(command({"quantize", path("once"), "-o", path("twice")}), kOk);
  const auto tensors = [&](const char* name) {
    const auto file = SafetensorsFile::open(path(name));
    std::map<std::string, std::string> found;
    for (const TensorInfo& t : file.value().tensors()) {
      found[t.name + t.dtype].assign(reinterpret_cast<const char*>(file.value().data(t)), static_cast<std::size_t>(t.bytes));
    }
    return found;
  };
  EXPECT_EQ(tensors("twice"), tensors("once"));
  EXPECT_EQ(tensors("once").size(), 3U);
  EXPECT_EQ(command_says({"quantize", path("once"), "-o", path("thrice"), "--match", "experts.*proj"},
                         "finds no f32, bf16 or f16 matrix among the 3 tensors"),
            kUsage);
}

TEST_F(QuantizeVerb, SaysWhenNothingLooksLikeWeights) {
  const std::string eight(8, '\0');
  ASSERT_TRUE(write_file(path("in"), {tensor("norm", "F32", {2}, eight), tensor("b.weight", "F64", {1, 1}, eight)}, {}).ok());
  EXPECT_EQ(command_says(
                {"quantize", path("in"), "-o", path("out")},
                "none of the 2 tensors of " + path("in") + " looks like weights, so all are copied; --match chooses by name"),
            kOk);
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

/// Two files and their index.
class ShardedCheckpoint : public Files {
 protected:
  void SetUp() override {
    Files::SetUp();
    fs::create_directories(path("model"));
    ASSERT_TRUE(write_file(path("model/1.safetensors"), {weight("a.weight"), weight("norm.bias")}, {}).ok());
    ASSERT_TRUE(write_file(path("model/2.safetensors"), {weight("b.weight")}, {{"format", "pt"}}).ok());
    store_index({{"a.weight", "1.safetensors"}, {"norm.bias", "1.safetensors"}, {"b.weight", "2.safetensors"}});
  }

  void store_index(const std::map<std::string, std::string>& file_of) {
    store("model/m.index.json",
          nlohmann::json({{"metadata", {{"total_size", 144}, {"kept", {1, 2}}}}, {"weight_map", file_of}}).dump());
  }
  [[nodiscard]] std::vector<std::string> words(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"quantize", path("model/m.index.json"), "-o", path("out")});
    return more;
  }
};

TEST_F(ShardedCheckpoint, IsQuantisedFileByFile) {
  ASSERT_EQ(command(words({"--json", path("q.json")})), kOk);
  for (const char* name : {"1.safetensors", "2.safetensors"}) {
    ASSERT_EQ(command({"quantize", path("model") + "/" + name, "-o", path("alone")}), kOk);
    EXPECT_EQ(load(std::string("out/") + name), load("alone"));
    fs::remove(path("alone"));
  }
  const auto index = nlohmann::json::parse(load("out/m.index.json"));
  EXPECT_EQ(index["weight_map"], nlohmann::json({{"a.weight", "1.safetensors"},
                                                 {"a.weight_scale_inv", "1.safetensors"},
                                                 {"b.weight", "2.safetensors"},
                                                 {"b.weight_scale_inv", "2.safetensors"},
                                                 {"norm.bias", "1.safetensors"}}));
  EXPECT_EQ(index["metadata"], nlohmann::json({{"total_size", 2 * (12 + 4) + 48}, {"kept", {1, 2}}}));
  const auto report = nlohmann::json::parse(load("q.json"));
  ASSERT_EQ(report["tensors"].size(), 3U);
  EXPECT_EQ(report["tensors"][2]["file"], path("out/2.safetensors"));
  EXPECT_EQ(command_says(words(), path("out/m.index.json") + ": exists; give another folder, or --overwrite"), kUsage);
  EXPECT_EQ(command(words({"--overwrite"})), kOk);
}

TEST_F(ShardedCheckpoint, ThatIsRefusedLeavesNoFiles) {
  const auto refused = [&](const std::vector<std::string>& called, const std::string& sentence) {
    EXPECT_EQ(command_says(called, sentence), kUsage);
    EXPECT_FALSE(fs::exists(path("out"))) << sentence;
  };
  refused(words({"--match", "zzz"}),
          "quantize: --match zzz finds no f32, bf16 or f16 matrix among the 3 tensors of " + path("model"));
  refused(words({"--json", path("model/2.safetensors")}), "--json " + path("model/2.safetensors") + " is the file");
  refused({"quantize", path("model/m.index.json"), "-o", path("model"), "--overwrite"},
          path("model") + ": is the folder of the input");
  store("file", "");
  refused({"quantize", path("model/m.index.json"), "-o", path("file")},
          path("file") + ": is no folder; the output of an index is one");
  const std::map<std::string, std::string> right = {
      {"a.weight", "1.safetensors"}, {"norm.bias", "1.safetensors"}, {"b.weight", "2.safetensors"}};
  const auto changed = [&](const char* tensor, const char* file) {
    auto map = right;
    map[tensor] = file;
    store_index(map);
  };
  changed("b.weight", "1.safetensors");
  refused(words(), "the index names 3 tensors and its files hold 2; give the index of these files");
  changed("c.weight", "2.safetensors");
  refused(words(), "the index names 4 tensors and its files hold 3; give the index of these files");
  changed("c.weight", "3.safetensors");
  refused(words(), path("model/3.safetensors"));
  for (const char* file : {"../model/2.safetensors", "/etc/passwd", "..", ""}) {
    changed("b.weight", file);
    refused(words(), fmt::format("the file of tensor b.weight is \"{}\"; it must lie beside the index", file));
  }
  changed("a.weight", "2.safetensors");
  refused(words(), "tensor a.weight lies in 1.safetensors, which the index does not say; give the index of these files");
  store_index({});
  refused(words(), "its \"weight_map\" is empty");
  for (const char* text : {"", "{", "[]", "{}", R"({"weight_map": 1})"}) {
    store("model/m.index.json", text);
    refused(words(), path("model/m.index.json") + ": is no index of a checkpoint: it is to be JSON");
  }
  store("model/m.index.json", R"({"metadata": {"a": )" + std::string(200000, '[') + std::string(200000, ']') +
                                  R"(}, "weight_map": {"a.weight": "1.safetensors"}})");
  refused(words(), path("model/m.index.json") + ": is no index of a checkpoint: it is to be JSON");
  store("model/m.index.json", R"({"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}})");
  refused(words(), path("model/m.index.json") + ": the name a stands twice in it");
  store("model/m.index.json", R"({"weight_map": {"a\u001b[31m": "1.safetensors"}})");
  refused(words(), path("model/m.index.json") + ": the name of a tensor has control characters");
  store("model/m.index.json", R"({"weight_map": {"a.weight": 1}})");
  refused(words(), "the file of tensor a.weight is no text");
  refused({"quantize", path("absent.json"), "-o", path("out")}, path("absent.json") + ": cannot be read");
}

TEST_F(ShardedCheckpoint, IsNotReplacedThroughLinks) {
  const std::string before = load("model/2.safetensors");
  fs::create_directories(path("out"));
  fs::create_symlink("../model/2.safetensors", path("out/1.safetensors"));
  EXPECT_EQ(command_says(words({"--overwrite"}), path("out/1.safetensors") + ": is the file " + path("model/2.safetensors")),
            kUsage);
  EXPECT_EQ(load("model/2.safetensors"), before);
}

TEST_F(ShardedCheckpoint, WithScalesInAnotherFileIsRefused) {
  ASSERT_TRUE(write_file(path("model/3.safetensors"), {tensor("a.weight_scale_inv", "F32", {1}, bytes_of({1}))}, {}).ok());
  store_index({{"a.weight", "1.safetensors"},
               {"norm.bias", "1.safetensors"},
               {"b.weight", "2.safetensors"},
               {"a.weight_scale_inv", "3.safetensors"}});
  EXPECT_EQ(command_says(words(), "quantize: the checkpoint already has a tensor a.weight_scale_inv"), kUsage);
}

TEST_F(QuantizeVerb, TakesNamesThatExpressionsCanMatch) {
  const auto names = [&](const std::string& name) { ASSERT_TRUE(write_file(path("in"), {weight(name)}, {}).ok()); };
  names(std::string(1023, 'a') + "c");
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("out"), "--match", "(a|b)*c"}), kOk);
  fs::remove(path("in"));
  names(std::string(300000, 'a'));
  EXPECT_EQ(command_says({"quantize", path("in"), "-o", path("out"), "--match", "(a|b)*c"},
                         path("in") + ": the name of a tensor has more than 1024 characters"),
            kUsage);
}

TEST_F(QuantizeVerb, RefusesWordsInItsOwn) {
  EXPECT_EQ(command_says({"quantize", path("in"), "-o", path("out"), "--block", "1x1 lscale=bf16"},
                         "quantize: --block 1x1 lscale=bf16 is no ROWSxCOLS"),
            kUsage);
  ASSERT_TRUE(write_file(path("in"), {tensor("a.weight", "F32", {1, 2}, bytes_of({1, 2}))}, {}).ok());
  const auto says = [&](const std::vector<std::string>& more, const std::string& sentence) {
    std::vector<std::string> words = {"quantize", path("in"), "-o", path("out")};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_EQ(command_says(words, sentence), kUsage);
  };
  says({"--match", "zzz"}, "quantize: --match zzz finds no f32, bf16 or f16 matrix among the 1 tensors of " + path("in"));
  says({"--match", ""}, "--match: it is empty; give a regular expression, or leave --match out");
  says({"--block", "0x1"}, "quantize: --block 0x1 is no ROWSxCOLS; give numbers from 1 on");
  says({"--format", "zzz"}, "--format: zzz not in {e4m3,e5m2,i8}");
  says({"--scale", "e8m0"}, "quantize: --recipe absmax has scales that --scale e8m0 cannot hold");
  says({"--recipe", "mx", "--format", "i8"}, "quantize: --recipe mx is for e4m3 and e5m2");
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace ragdot::cli
