// Every preset is a list of problem strings, so that a table's row can be replayed by hand.
#include "testing/presets.hpp"

#include <fmt/format.h>

#include <array>

#include "testing/recipes.hpp"
#include "testing/shapes.hpp"
#include "testing/words.hpp"

namespace ragdot::testing {
namespace {

constexpr std::array<const char*, 7> kNames = {"smoke", "seed", "moe", "mixed", "decode", "skew", "quantize"};

struct Line {
  std::string text;
  const char* shape;
  const char* recipe;
};

void add_ops(std::vector<Line>& lines, const char* shape, const RecipeOperands& o, const std::string& rest) {
  lines.push_back({fmt::format("gmm {} {}", rest, o.gmm), shape, o.recipe});
  lines.push_back({fmt::format("dlhs {} {}", rest, o.dlhs), shape, o.recipe});
  lines.push_back({fmt::format("tgmm {} {}", rest, o.tgmm), shape, o.recipe});
}

std::vector<Line> smoke() {
  std::vector<Line> lines;
  for (const RecipeOperands* o : {&kBlockwise, &kBf16, &kChannelwise, &kE8m0, &kMx, &kI8})
    add_ops(lines, "small", *o, "g=4 m=300 k=320 n=192 dist=multinomial out=f32");
  return lines;
}

std::vector<Line> seed() {
  std::vector<Line> lines;
  add_ops(lines, "w0", kBlockwise, "g=8 m=2048 k=2048 n=512");
  add_ops(lines, "wo", kBlockwise, "g=8 m=2048 k=512 n=2048");
  return lines;
}

std::vector<Line> moe() {
  std::vector<Line> lines;
  for (const MoeShape& s : kMoeShapes)
    add_ops(lines, s.name, kBlockwise, fmt::format("g={} m={} k={} n={} dist=multinomial", s.groups, s.rows, s.k, s.n));
  return lines;
}

std::vector<Line> mixed() {
  const char* const kShape = "g=5 m=700 k=500 n=264 dist=sizes:130,0,1,301,255 out=f32";
  std::vector<Line> lines;
  const auto add = [&](const char* op, const std::string& operands) {
    lines.push_back({fmt::format("{} {} {}", op, kShape, operands), "tails", "mixed"});
  };
  for (const char* origin : {"origin=global", "origin=per_group"}) {
    for (const char* operands :
         {"lhs=e4m3:1x* rhs=e4m3:128x128", "lhs=e4m3:1x128 rhs=e4m3:*x1", "lhs=e4m3:3x5 rhs=e5m2:7x11 rscale=bf16",
          "lhs=e4m3:1x32 rhs=e4m3:128x128 lscale=e8m0 recipe=pow2", "lhs=bf16 rhs=e4m3:64x48", "lhs=e5m2:*x* rhs=bf16",
          "lhs=e4m3:1x1 rhs=e4m3:1x16", "lhs=i8:1x96 rhs=i8:64x64"}) {
      add("gmm", fmt::format("{} {}", operands, origin));
      add("dlhs", fmt::format("{} {} order=nk", operands, origin));
    }
    for (const char* operands :
         {"lhs=e4m3:128x1 rhs=e4m3:1x128", "lhs=e4m3:128x1 rhs=e4m3:*x1", "lhs=e4m3:13x5 rhs=e5m2:9x7 lscale=bf16",
          "lhs=e4m3:32x1 rhs=e4m3:100x100 lscale=e8m0 recipe=pow2", "lhs=bf16 rhs=e4m3:64x1", "lhs=i8:32x1 rhs=i8:48x1"}) {
      add("tgmm", fmt::format("{} {}", operands, origin));
    }
  }
  for (const char* data : {"spread", "integers", "codes", "outlier"}) {
    lines.push_back({fmt::format("gmm {} {} data={}", kShape, kBlockwise.gmm, data), "tails", data});
    lines.push_back({fmt::format("tgmm {} {} data={} origin=per_group", kShape, kBlockwise.tgmm, data), "tails", data});
  }
  lines.push_back({fmt::format("gmm {} {} bias=1 act=silu first=1 local=3", kShape, kBlockwise.gmm), "tails", "epilogue"});
  lines.push_back({fmt::format("gmm {} {} accumulate=1 rows_outside=leave", kShape, kBlockwise.gmm), "tails", "epilogue"});
  lines.push_back({fmt::format("tgmm {} {} accumulate=1 first=2 local=2", kShape, kBlockwise.tgmm), "tails", "epilogue"});
  return lines;
}

std::vector<Line> decode() {
  std::vector<Line> lines;
  for (const int rows : {1, 4, 16}) {
    for (const RecipeOperands* o : {&kBf16, &kBlockwise, &kE8m0}) {
      const char* const shape = rows == 1 ? "decode1" : rows == 4 ? "decode4" : "decode16";
      lines.push_back({fmt::format("gmm g=32 m={} k=2048 n=1408 {}", 32 * rows, o->gmm), shape, o->recipe});
    }
  }
  return lines;
}

std::vector<Line> skew() {
  std::vector<Line> lines;
  for (const char* dist : {"zipf:1.1", "onehot:3", "empty:10"}) {
    add_ops(lines, dist, kBlockwise, fmt::format("g=16 m=2048 k=1024 n=512 dist={}", dist));
  }
  add_ops(lines, "groups8", kBlockwise, "g=8 m=8192 k=256 n=256");
  add_ops(lines, "groups256", kBlockwise, "g=256 m=8192 k=256 n=256");
  return lines;
}

std::vector<Line> quantize() {
  std::vector<Line> lines;
  for (const char* operands :
       {"lhs=e4m3:1x128 rhs=e4m3:128x128", "lhs=e5m2:1x128 rhs=e5m2:128x128 scale=bf16",
        "lhs=e4m3:1x128 rhs=e4m3:128x128 recipe=pow2", "lhs=e4m3:1x128 rhs=e4m3:128x128 recipe=pow2 scale=e8m0",
        "lhs=e5m2:1x32 rhs=e4m3:32x1 recipe=mx scale=e8m0", "lhs=i8:1x128 rhs=i8:128x128", "lhs=e4m3:*x* rhs=e4m3:*x*"}) {
    for (const char* data : {"gaussian", "spread", "outlier"}) {
      lines.push_back(
          {fmt::format("gmm g=3 m=400 k=500 n=200 dist=multinomial out=f32 {} data={}", operands, data), "small", data});
    }
  }
  return lines;
}

}  // namespace

std::span<const char* const> preset_names() { return kNames; }

Result<std::vector<Preset>> preset(std::string_view name) {
  constexpr std::array kMakers = {smoke, seed, moe, mixed, decode, skew, quantize};
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (name != kNames[i]) continue;
    std::vector<Preset> all;
    for (const Line& line : kMakers[i]()) {
      const auto problem = parse_problem(line.text);
      if (!problem.ok()) return Status(Code::invalid_argument, fmt::format("{}: {}", line.text, problem.status().message()));
      all.push_back({problem.value(), line.shape, line.recipe});
    }
    return all;
  }
  return Status(Code::invalid_argument, fmt::format("preset {} is unknown; did you mean {}? Known: {}", name,
                                                    nearest(name, kNames), fmt::join(kNames, ", ")));
}

std::vector<Tiling> preset_tilings(std::string_view name) {
  std::vector<Tiling> all;
  if (name != "seed") return all;
  for (const std::int64_t tm : {128, 256, 512}) {
    for (const std::int64_t tk : {128, 512, 1024}) {
      for (const std::int64_t tn : {128, 512}) all.push_back({tm, tk, tn});
    }
  }
  return all;
}

}  // namespace ragdot::testing
