// The command's files and verbs, run as a user runs them: containers that are broken in every way, answers, exit codes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "cli/case_file.hpp"
#include "cli/exit_codes.hpp"
#include "cli/safetensors.hpp"
#include "cli/test_files.hpp"
#include "ragdot/cuda.h"
#include "reference/oracle.hpp"
#include "testing/case.hpp"

namespace ragdot::cli {
namespace {

using Safetensors = Files;

TEST_F(Safetensors, WhatIsWrittenIsRead) {
  ASSERT_TRUE(
      write_file(path("a"),
                 {tensor("x", "F32", {1, 2}, "abcdefgh"), tensor("y", "U8", {3}, "xyz"), tensor("none", "BF16", {0, 4}, "")},
                 {{"k", "v"}})
          .ok());
  const auto file = SafetensorsFile::open(path("a"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file.value().tensors().size(), 3U);
  const TensorInfo* y = file.value().find("y");
  ASSERT_NE(y, nullptr);
  EXPECT_EQ(std::memcmp(file.value().data(*y), "xyz", 3), 0);
  EXPECT_EQ(file.value().metadata().at("k"), "v");
  EXPECT_EQ(file.value().find("z"), nullptr);
}

TEST_F(Safetensors, TruncatedAnywhereIsRefused) {
  ASSERT_TRUE(write_file(path("a"), {tensor("x", "F32", {1, 2}, "abcdefgh")}, {}).ok());
  const std::string whole = load("a");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    store("cut", whole.substr(0, size));
    EXPECT_FALSE(SafetensorsFile::open(path("cut")).ok()) << size;
  }
  store("longer", whole + "!");
  EXPECT_NE(SafetensorsFile::open(path("longer")).status().message().find("1 bytes behind its last tensor belong to none"),
            std::string::npos);
}

TEST_F(Safetensors, RandomDamageNeverCrashes) {
  ASSERT_TRUE(
      write_file(path("a"), {tensor("x", "F32", {1, 2}, "abcdefgh"), tensor("y", "U8", {3}, "xyz")}, {{"k", "v"}}).ok());
  const std::string whole = load("a");
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    for (unsigned hits = random() % 4 + 1; hits > 0; --hits) damaged[random() % damaged.size()] = static_cast<char>(random());
    store("b", damaged);
    (void)SafetensorsFile::open(path("b")).ok();
  }
}

TEST_F(Safetensors, MalformedHeadersGetTheirSentence) {
  const auto entry = [](const char* dtype, const char* shape, const char* offsets) {
    return fmt::format("{{\"x\":{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":{}}}}}", dtype, shape, offsets);
  };
  const std::tuple<std::string, std::size_t, const char*> table[] = {
      {"not json", 0, "its header is no JSON object"},
      {"[1]", 0, "its header is no JSON object"},
      {"{\"x\":{}}", 0, "tensor x: its entry needs dtype, shape and data_offsets"},
      {"{\"x\":1}", 0, "tensor x: its entry needs dtype, shape and data_offsets"},
      {entry("F31", "[1]", "[0,4]"), 4, "tensor x: dtype F31 is unknown"},
      {entry("F32", "[-1]", "[0,4]"), 4, "tensor x: its shape is no list of sizes"},
      {entry("F32", "[1.5]", "[0,4]"), 4, "tensor x: its shape is no list of sizes"},
      {entry("F32", "[2]", "[0,4]"), 4, "tensor x: shape [2] of F32 needs 8 bytes, its data_offsets hold 4"},
      {entry("F32", "[1]", "[4,0]"), 4, "tensor x: its data_offsets are no pair begin <= end"},
      {entry("F32", "[4611686018427387904,4]", "[0,4]"), 4,
       "tensor x: shape [4611686018427387904, 4] of F32 has an absurd size"},
      {entry("F32", "[2305843009213693951]", "[0,9223372036854775804]"), 4, "has an absurd size"},
      {entry("U8", "[4000000000000]", "[0,4000000000000]"), 4,
       "tensor x ends at byte 4000000000000, the file has 4 bytes of tensors; it is truncated"},
      {entry("F32", "[1]", "[4,8]"), 8,
       "tensor x starts at byte 4, the one before ends at 0; tensors must follow each other without holes"},
      {"{\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":["
       "2,6]}}",
       6, "without overlap"},
      {"{\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":["
       "0,0]}}",
       0, "the name x stands twice"},
      {"{\"__metadata__\":{\"k\":1}}", 0, "metadata k is no string"},
      {"{\"__metadata__\":7}", 0, "__metadata__ is no object"},
  };
  for (const auto& [header, bytes, sentence] : table) {
    store_container("m", header, bytes);
    const auto file = SafetensorsFile::open(path("m"));
    EXPECT_FALSE(file.ok()) << header;
    EXPECT_NE(file.status().message().find(sentence), std::string::npos) << file.status().message();
  }
  store("huge", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8) + "{}");
  EXPECT_NE(SafetensorsFile::open(path("huge")).status().message().find("truncated or no safetensors file"), std::string::npos);
  EXPECT_FALSE(SafetensorsFile::open(path("absent")).ok());
  EXPECT_FALSE(SafetensorsFile::open(path("")).ok()) << "a folder";
}

TEST_F(Safetensors, TheOutputAppearsWholeOrNotAtAll) {
  {
    auto writer =
        SafetensorsWriter::create(path("a"), {tensor("x", "U8", {3}, "abc").info}, {}, SafetensorsWriter::Existing::refuse);
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE(fs::exists(path("a")));
    EXPECT_FALSE(writer.value().finish().ok()) << "a tensor is missing";
    EXPECT_FALSE(writer.value().write("abcd", 4).ok()) << "too many bytes";
  }
  EXPECT_TRUE(fs::is_empty(path(""))) << "the hidden file is left behind";
  ASSERT_TRUE(write_file(path("a"), {tensor("x", "U8", {3}, "abc")}, {}).ok());
  EXPECT_NE(
      write_file(path("a"), {tensor("x", "U8", {3}, "abc")}, {}).message().find("exists; give another name, or --overwrite"),
      std::string::npos);
}

using QuantizeVerb = Files;

TEST_F(QuantizeVerb, ChoosesWeightsAndCopiesTheRest) {
  const std::vector<float> w = some_weights(200 * 130);
  const std::vector<float> stacked = some_weights(3 * 40 * 50);
  ASSERT_TRUE(
      write_file(path("in"),
                 {tensor("layer.up.weight", "F32", {200, 130}, bytes_of(w)),
                  tensor("experts.down_proj", "F32", {3, 40, 50}, bytes_of(stacked)),
                  tensor("layer.up.bias", "F32", {200}, bytes_of(some_weights(200))),
                  tensor("token_embed.weight", "F32", {2, 3}, bytes_of(some_weights(6))),
                  tensor("mlp.gate.weight", "F32", {2, 3}, bytes_of(some_weights(6))), tensor("ids", "I64", {1}, "12345678")},
                 {{"format", "pt"}})
          .ok());
  ASSERT_EQ(command({"quantize", path("in"), "-o", path("out"), "--json", path("report.json")}), kOk);
  const auto out = SafetensorsFile::open(path("out"));
  ASSERT_TRUE(out.ok()) << out.status().message();
  std::vector<std::string> names;
  for (const TensorInfo& t : out.value().tensors()) names.push_back(t.name + " " + t.dtype + " " + shape_text(t.shape));
  EXPECT_EQ(names, (std::vector<std::string>{"layer.up.weight F8_E4M3 [200, 130]", "layer.up.weight_scale_inv F32 [2, 2]",
                                             "experts.down_proj F8_E4M3 [3, 40, 50]",
                                             "experts.down_proj_scale_inv F32 [3, 1, 1]", "layer.up.bias F32 [200]",
                                             "token_embed.weight F32 [2, 3]", "mlp.gate.weight F32 [2, 3]", "ids I64 [1]"}));
  EXPECT_EQ(std::memcmp(out.value().data(*out.value().find("ids")), "12345678", 8), 0);
  EXPECT_EQ(out.value().metadata().at("format"), "pt");
  std::vector<std::uint8_t> expected(w.size());
  std::vector<float> scales(4);
  QuantizeArgs args{matrix(static_cast<const void*>(w.data()), Format::f32, 200, 130), {}, {}};
  args.out.values = matrix(static_cast<void*>(expected.data()), Format::e4m3, 200, 130);
  args.out.scales = {matrix(static_cast<void*>(scales.data()), Format::f32, 2, 2), 128, 128};
  ASSERT_TRUE(quantize(args).ok());
  EXPECT_EQ(std::memcmp(out.value().data(*out.value().find("layer.up.weight")), expected.data(), expected.size()), 0);
  EXPECT_EQ(std::memcmp(out.value().data(*out.value().find("layer.up.weight_scale_inv")), scales.data(), 16), 0);
  const auto report = nlohmann::json::parse(load("report.json"));
  EXPECT_EQ(report["command"], "quantize");
  EXPECT_GT(report["tensors"][0]["relative_error"].get<double>(), 0.01);
  EXPECT_LT(report["tensors"][0]["relative_error"].get<double>(), 0.05);
}

TEST_F(QuantizeVerb, RefusesWithoutTouchingAnything) {
  ASSERT_TRUE(write_file(path("in"), {tensor("a.weight", "F32", {2, 3}, bytes_of(some_weights(6)))}, {}).ok());
  ASSERT_TRUE(write_file(path("there"), {}, {}).ok());
  const std::string before = load("there");
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("there")}), kUsage);
  EXPECT_EQ(load("there"), before);
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("out"), "--block", "128"}), kUsage);
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("out"), "--format", "bf16"}), kUsage);
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("out"), "--match", "("}), kUsage);
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("out"), "--scale", "e8m0"}), kUsage) << "absmax has no e8m0 scales";
  EXPECT_EQ(command({"quantize", path("absent"), "-o", path("out")}), kUsage);
  EXPECT_FALSE(fs::exists(path("out")));
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("there"), "--overwrite"}), kOk);
  EXPECT_NE(load("there"), before);
}

using RunVerb = Files;

/// One call in every operation and storage order, against the reduction order.
TEST_F(RunVerb, AnswersCasesOfEveryOperation) {
  const std::int64_t m = 40, k = 70, n = 50, g = 3;
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(g * k * n + m * k + m * n));
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>((i * 37 % 96) + (i % 3 == 0 ? 0x80 : 0));
  const auto fp8 = [&](std::int64_t count) {
    return std::string(reinterpret_cast<const char*>(codes.data()), static_cast<std::size_t>(count));
  };
  const std::vector<std::int32_t> sizes = {15, 0, 20};
  const Tensor groups = tensor("group_sizes", "I32", {3}, {reinterpret_cast<const char*>(sizes.data()), 12});
  const auto scales = [](std::int64_t count) {
    std::vector<float> s(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < s.size(); ++i) s[i] = 0.3F + static_cast<float>(i % 11);
    return bytes_of(s);
  };
  const std::tuple<const char*, Tensor, Tensor, Tensor, Tensor> cases[] = {
      {"gmm lhs=e4m3:1x32 rhs=e4m3:32x16 out=f32", tensor("lhs", "F8_E4M3", {m, k}, fp8(m * k)),
       tensor("rhs", "F8_E4M3", {g, k, n}, fp8(g * k * n)), tensor("lhs_scale", "F32", {m, 3}, scales(m * 3)),
       tensor("rhs_scale", "F32", {g, 3, 4}, scales(g * 12))},
      {"gmm lhs=e4m3:1x32 rhs=e4m3:16x32 order=nk out=f32", tensor("lhs", "F8_E4M3", {m, k}, fp8(m * k)),
       tensor("rhs", "F8_E4M3", {g, n, k}, fp8(g * k * n)), tensor("lhs_scale", "F32", {m, 3}, scales(m * 3)),
       tensor("rhs_scale", "F32", {g, 4, 3}, scales(g * 12))},
      {"dlhs lhs=e4m3:1x32 rhs=e4m3:32x16 out=f32", tensor("lhs", "F8_E4M3", {m, n}, fp8(m * n)),
       tensor("rhs", "F8_E4M3", {g, k, n}, fp8(g * k * n)), tensor("lhs_scale", "F32", {m, 2}, scales(m * 2)),
       tensor("rhs_scale", "F32", {g, 3, 4}, scales(g * 12))},
      {"tgmm lhs=e4m3:16x1 rhs=e4m3:16x1 g=3", tensor("lhs", "F8_E4M3", {m, k}, fp8(m * k)),
       tensor("rhs", "F8_E4M3", {m, n}, fp8(m * n)), tensor("lhs_scale", "F32", {3, k}, scales(3 * k)),
       tensor("rhs_scale", "F32", {3, n}, scales(3 * n))},
  };
  const std::vector<KernelInfo> kernels = list_kernels();
  const auto first = std::find_if(kernels.begin(), kernels.end(), [](const KernelInfo& kernel) { return kernel.usable; });
  int number = 0;
  for (const auto& [problem, lhs, rhs, lhs_scale, rhs_scale] : cases) {
    const std::string in = path(fmt::format("case{}", number));
    const std::string out = path(fmt::format("out{}", number++));
    ASSERT_TRUE(write_file(in, {lhs, rhs, lhs_scale, rhs_scale, groups}, {{"problem", problem}}).ok());
    EXPECT_EQ(command_says({"run", in, "-o", out, "--tile", "16x32x16 act=relu"},
                           "run: --tile 16x32x16 act=relu is more than a tile"),
              kUsage);
    ASSERT_EQ(command({"run", in, "-o", out, "--tile", "16x32x16", "--repeat", "2"}), kOk) << problem;
    auto c = CaseFile::open(in);
    ASSERT_TRUE(c.ok()) << c.status().message();
    const auto answer = SafetensorsFile::open(out);
    ASSERT_TRUE(answer.ok());
    const TensorInfo& t = answer.value().tensors().front();
    EXPECT_EQ(t.shape, c.value().out_shape());
    EXPECT_EQ(answer.value().metadata().at("kernel"), first->name);
    const auto expect_order = [&](const reference::Ordered& ordered) {
      const std::int64_t cols = t.shape.back();
      const std::int64_t rows = t.shape[t.shape.size() - 2];
      for (std::int64_t i = 0; i < t.bytes / 4; ++i) {
        float got = 0;
        std::memcpy(&got, answer.value().data(t) + 4 * i, 4);
        ASSERT_EQ(got, ordered.at(i / cols / rows, i / cols % rows, i % cols)) << problem << " " << i;
      }
    };
    if (c.value().is_gmm()) {
      expect_order(reference::Ordered(c.value().gmm_args(nullptr)));
    } else {
      expect_order(reference::Ordered(c.value().tgmm_args(nullptr)));
    }
  }
}

TEST_F(RunVerb, RefusesCasesThatDisagreeWithThemselves) {
  const std::vector<std::int32_t> sizes = {2};
  const Tensor groups = tensor("group_sizes", "I32", {1}, {reinterpret_cast<const char*>(sizes.data()), 4});
  const Tensor lhs = tensor("lhs", "F32", {2, 3}, bytes_of(some_weights(6)));
  const Tensor rhs = tensor("rhs", "F32", {1, 3, 4}, bytes_of(some_weights(12)));
  const Tensor flat = tensor("rhs", "F32", {2, 4}, bytes_of(some_weights(8)));
  const Tensor long_lhs = tensor("lhs", "F32", {std::int64_t{1} << 40, 0}, "");
  const Tensor wide_rhs = tensor("rhs", "F32", {1, 0, std::int64_t{1} << 40}, "");
  const std::tuple<const char*, std::vector<Tensor>, const char*> table[] = {
      {"gmm lhs=f32 rhs=f32 k=5", {lhs, rhs, groups}, "its problem says k=5, its tensors have 3"},
      {"gmm lhs=bf16 rhs=f32", {lhs, rhs, groups}, "tensor lhs is F32 and the problem says lhs=bf16; they must agree"},
      {"gmm lhs=f32 rhs=f32 seed=3",
       {lhs, rhs, groups},
       "its problem names seed=3; the tensors of a case say that, leave it out"},
      {"gmm lhs=f32 rhs=f32 bias=1", {lhs, rhs, groups}, "its problem says bias=1 and tensor bias is missing"},
      {"gmm lhs=f32 rhs=f32 accumulate=1", {lhs, rhs, groups}, "tensor out is missing"},
      {"gmm lhs=f32 rhs=f32", {lhs, groups}, "tensor rhs is missing"},
      {"gmm lhs=f32 rhs=f32", {lhs, rhs}, "tensor group_sizes is missing"},
      {"gmm lhs=f32 rhs=f32 wat=1", {lhs, rhs, groups}, "key wat is unknown"},
      {"tgmm lhs=f32 rhs=f32", {lhs, rhs, groups}, "tensor rhs is [1, 3, 4]; it needs 2 dimensions"},
      {"tgmm lhs=f32 rhs=f32 first=9",
       {lhs, flat, groups},
       "its problem says first=9, the groups from there on are 0 and its tensors have 1"},
      {"gmm lhs=f32 rhs=f32", {long_lhs, wide_rhs, groups}, "has 2^63 bytes or more"},
      {"gmm lhs=f32 rhs=f32",
       {lhs, rhs, groups, tensor("group_start", "I32", {1}, std::string(4, '\0'))},
       "tensor group_start is unknown; did you mean group_starts? Known: lhs, rhs, lhs_scale, "},
      {"gmm lhs=f32 rhs=f32",
       {lhs, rhs, groups, tensor("lhs_scales", "F32", {1, 1}, std::string(4, '\0'))},
       "tensor lhs_scales is unknown; did you mean lhs_scale?"},
  };
  for (const auto& [problem, tensors, sentence] : table) {
    fs::remove(path("c"));
    ASSERT_TRUE(write_file(path("c"), tensors, {{"problem", problem}}).ok());
    EXPECT_NE(CaseFile::open(path("c")).status().message().find(sentence), std::string::npos)
        << CaseFile::open(path("c")).status().message();
    EXPECT_EQ(command({"run", path("c"), "-o", path("o")}), kUsage);
  }
  fs::remove(path("c"));
  ASSERT_TRUE(write_file(path("c"), {lhs, rhs, groups}, {{"problem", "gmm lhs=f32 rhs=f32"}}).ok());
  EXPECT_EQ(command({"run", path("c"), "-o", path("o"), "--kernel", "none"}), kUsage);
  EXPECT_EQ(command({"run", path("c"), "-o", path("o")}), kOk);
  EXPECT_EQ(command({"run", path("c"), "-o", path("o")}), kUsage) << "the answer exists";
}

/// A written case gives the bits of the problem that it was made from.
TEST_F(RunVerb, ComputesWhatTheCaseVerbWrites) {
  const char* const problems[] = {
      "gmm g=3 m=40 k=70 n=50 lhs=e4m3:1x32 rhs=e4m3:32x16 dist=sizes:15,0,20 out=f32 bias=1 act=silu seed=5",
      "gmm g=3 m=40 k=7 n=5 lhs=bf16 rhs=bf16 dist=sizes:15,0,20 starts=1,16,18 out=f32 seed=6",
      "dlhs g=2 m=30 k=20 n=40 lhs=bf16 rhs=e5m2:8x8 rscale=bf16 order=nk data=spread rows_outside=leave first=1",
      "tgmm g=3 m=50 k=20 n=30 lhs=e4m3:16x1 rhs=e4m3:16x1 scale=e8m0 recipe=pow2 origin=per_group dist=zipf:1 accumulate=1",
  };
  int number = 0;
  for (const char* text : problems) {
    const std::string in = path(fmt::format("in{}", number));
    const std::string out = path(fmt::format("out{}", number++));
    ASSERT_EQ(command({"case", text, "-o", in}), kOk) << text;
    ASSERT_EQ(command({"run", in, "-o", out}), kOk) << text;
    const auto answer = SafetensorsFile::open(out);
    ASSERT_TRUE(answer.ok()) << answer.status().message();
    testing::Bytes expected;
    ASSERT_TRUE(run(testing::Case(testing::parse_problem(text).value()), {}, expected).ok());
    const TensorInfo& t = answer.value().tensors().front();
    ASSERT_EQ(static_cast<std::size_t>(t.bytes), expected.size());
    EXPECT_EQ(std::memcmp(answer.value().data(t), expected.data(), expected.size()), 0) << text;
  }
  EXPECT_EQ(command({"case", problems[0], "-o", path("in0")}), kUsage) << "the case exists";
  EXPECT_EQ(command({"case", problems[0], "-o", path("in0"), "--overwrite"}), kOk);
  EXPECT_EQ(command({"case", "gmm g=1", "-o", path("in9")}), kUsage);
  EXPECT_EQ(command({"case", "gmm g=1 m=1 k=1 n=1 lhs=e4m3:1x1", "scale=e8m0", "-o", path("in9")}), kNotPossible)
      << "absmax has no e8m0 scales";
  EXPECT_FALSE(fs::exists(path("in9")));
}

using VerifyVerb = Files;

TEST_F(VerifyVerb, ExitCodesAndJson) {
  EXPECT_EQ(
      command({"verify", "gmm", "g=2", "m=40", "k=64", "n=32", "lhs=e4m3:1x32", "rhs=e4m3:32x32", "--json", path("v.json")}),
      kOk);
  const auto json = nlohmann::json::parse(load("v.json"));
  EXPECT_EQ(json["command"], "verify");
  EXPECT_TRUE(json["ok"].get<bool>());
  for (const char* key :
       {"problem", "kernel", "ok", "outputs_checked", "worst_over_bound", "differing_bits", "cosine_to_bf16", "tilings"}) {
    EXPECT_TRUE(json["cases"][0].contains(key)) << key;
  }
  EXPECT_EQ(json["cases"][0]["outputs_checked"], 40 * 32);
  EXPECT_EQ(command({"verify", "gmm", "g=2"}), kUsage);
  EXPECT_EQ(command({"verify", "--preset", "sed"}), kUsage);
  EXPECT_EQ(command({"verify"}), kUsage);
  EXPECT_EQ(command({"verify", "gmm", "g=1", "m=1", "k=1", "n=1", "lhs=f32", "rhs=bf16"}), kNotPossible);
}

TEST_F(VerifyVerb, RunsRandomCases) {
  ASSERT_EQ(command({"verify", "--random", "30", "--seed", "3", "--first", "5", "--json", path("r.json")}), kOk);
  const auto json = nlohmann::json::parse(load("r.json"));
  EXPECT_TRUE(json["ok"].get<bool>());
  EXPECT_EQ(json["random"]["cases"], 30);
  EXPECT_EQ(json["random"]["first"], 5);
  EXPECT_TRUE(json["failures"].empty());
  std::map<std::string, std::int64_t> cases;
  for (const auto& row : json["rows"]) {
    if (!row.contains("cases")) continue;
    cases[row["kernel"]] += row["cases"].get<std::int64_t>();
    for (const auto& skipped : row["skipped"]) cases[row["kernel"]] += skipped.get<std::int64_t>();
    EXPECT_EQ(row["differing_bits"], 0);
    EXPECT_LE(row["worst_over_bound"].get<double>(), 1);
  }
  for (const KernelInfo& kernel : list_kernels()) EXPECT_EQ(cases[kernel.name], kernel.usable ? 30 : 0) << kernel.name;
  std::int64_t counted = 0;
  for (const auto& count : json["coverage"]["op"]) counted += count.get<std::int64_t>();
  EXPECT_EQ(counted, 30);

  ASSERT_EQ(command({"verify", "--random", "4", "--kernel", "portable", "--json", path("p.json")}), kOk);
  const auto alone = nlohmann::json::parse(load("p.json"));
  for (const auto& row : alone["rows"]) EXPECT_EQ(row["kernel"], "portable");
}

TEST_F(VerifyVerb, RefusesWordsThatDoNotGoWithRandom) {
  EXPECT_EQ(command({"verify", "--random", "0"}), kUsage);
  EXPECT_EQ(command_says({"verify", "--random", "1", "--seconds", "nan"}, "--seconds: nan is no number from 0 on"), kUsage);
  EXPECT_EQ(command_says({"verify", "--random", "1", "--first", "-1"}, "--first: -1 is no whole number of 64 bits"), kUsage);
  EXPECT_EQ(command_says({"verify", "--random", "1", "--seed", "-1"}, "--seed: -1 is no whole number of 64 bits"), kUsage);
  EXPECT_EQ(command({"verify", "--random", "1", "--seed", "18446744073709551615"}), kOk);
  EXPECT_EQ(command({"verify", "--random", "-3"}), kUsage);
  EXPECT_EQ(command({"verify", "--random", "many"}), kUsage);
  EXPECT_EQ(command({"verify", "--random", "5", "--kernel", "avx3"}), kUsage);
  EXPECT_EQ(command({"verify", "--random", "5", "--seconds", "-1"}), kUsage);
  EXPECT_EQ(command({"verify", "--random", "5", "--preset", "smoke"}), kUsage);
  EXPECT_EQ(command({"verify", "--random", "5", "gmm", "g=1", "m=1", "k=1", "n=1"}), kUsage);
  EXPECT_EQ(command({"verify", "--preset", "smoke", "--seconds", "5"}), kUsage);
  EXPECT_EQ(command({"verify", "gmm", "g=1", "m=1", "k=1", "n=1", "--kernel", "portable"}), kUsage);
}

using InfoVerb = Files;

TEST_F(InfoVerb, SaysWhatTheMachineOffers) {
  ASSERT_EQ(command({"info", "--json", path("i.json")}), kOk);
  const auto json = nlohmann::json::parse(load("i.json"));
  EXPECT_EQ(json["version"], version());
  EXPECT_FALSE(json["cpu"].get<std::string>().empty());
  EXPECT_TRUE(json["features"].is_array());
  EXPECT_TRUE(json["caches"].is_object());
  EXPECT_EQ(json["threads"], default_executor().concurrency());
  const std::vector<KernelInfo> kernels = list_kernels();
  ASSERT_EQ(json["kernels"].size(), kernels.size());
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    EXPECT_EQ(json["kernels"][i]["name"], kernels[i].name);
    EXPECT_EQ(json["kernels"][i]["usable"], kernels[i].usable);
    EXPECT_EQ(json["kernels"][i]["reason"], kernels[i].reason);
  }
  EXPECT_EQ(json["cuda"]["reason"], ragdot_cuda_refusal());
  EXPECT_EQ(json["cuda"]["usable"], json["cuda"]["reason"] == "");
  EXPECT_FALSE(json.contains("plan"));
}

TEST_F(InfoVerb, NamesVariablesThatAreSet) {
  ASSERT_EQ(::setenv("RAGDOT_VERBOSE", "0", 1), 0);
  EXPECT_EQ(command({"info", "--json", path("i.json")}), kOk);
  ::unsetenv("RAGDOT_VERBOSE");
  EXPECT_EQ(nlohmann::json::parse(load("i.json"))["variables"]["RAGDOT_VERBOSE"], "0");
}

/// 3.8 TB of weights: the plan must come from shapes alone.
TEST_F(InfoVerb, PlansBeyondTheMemoryOfTheMachine) {
  for (const char* op : {"gmm", "dlhs", "tgmm"}) {
    const char* const rhs = std::string(op) == "tgmm" ? "rhs=e4m3:128x1" : "rhs=e4m3:128x128";
    ASSERT_EQ(command({"info", "--plan", op, "g=262144", "m=8388608", "k=7168", "n=2048", "lhs=e4m3:1x128", rhs,
                       "tile=64x128x64", "threads=3", "--json", path("i.json")}),
              kOk);
    const auto plan = nlohmann::json::parse(load("i.json"))["plan"];
    EXPECT_EQ(plan["kernel"].get<std::string>().empty(), false);
    EXPECT_GT(plan["workspace_bytes"].get<std::int64_t>(), 0);
    EXPECT_NE(plan["description"].get<std::string>().find("(asked: 64x128x64), 3 threads"), std::string::npos)
        << plan["description"];
  }
}

TEST_F(InfoVerb, SaysWhyThereIsNoPlan) {
  EXPECT_EQ(command({"info", "--plan", "gmm g=1 m=1 k=1 n=1 lhs=f32 rhs=bf16", "--json", path("i.json")}), kNotPossible);
  EXPECT_NE(nlohmann::json::parse(load("i.json"))["plan"]["refusal"].get<std::string>().find("f32"), std::string::npos);
  EXPECT_EQ(command({"info", "--plan", "gmm g=1 m=1 k=1 n=1 kernel=none"}), kUsage);
  EXPECT_EQ(command({"info", "--plan", "gmm g=1"}), kUsage);
}

}  // namespace
}  // namespace ragdot::cli
