// Builds comparisons from problem strings, so that every row can be replayed by hand.
#include "bench/presets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "bench/choices.hpp"
#include "testing/presets.hpp"
#include "testing/recipes.hpp"
#include "testing/shapes.hpp"
#include "testing/words.hpp"

namespace ragdot::bench {
namespace {

using testing::kAllRecipes;
using testing::kBf16;
using testing::kBlockwise;
using testing::kE8m0;
using testing::Op;
using testing::Problem;
using testing::RecipeOperands;
using Recipes = std::vector<const RecipeOperands*>;

constexpr std::array<Op, 3> kEveryOp = {Op::gmm, Op::dlhs, Op::tgmm};

Recipes every_recipe() { return {kAllRecipes.begin(), kAllRecipes.end()}; }

/// Every text in this file is a legal problem; bench/presets_test.cpp holds it to that.
Entry entry(Op op, const std::string& shape, const std::string& rest, const RecipeOperands& recipe) {
  const std::string text = fmt::format("{} {} {}", testing::word_of(testing::kOps, op), rest, recipe.of(op));
  return {testing::parse_problem(text).value(), shape, recipe.recipe, kRagdot, Stage::product};
}

/// The recipes on one shape, and oneDNN on its bf16 operands.
Comparison layer(Op op, const std::string& shape, const std::string& rest, const Recipes& recipes) {
  Comparison c;
  c.title = fmt::format("{} {}", testing::word_of(testing::kOps, op), shape);
  c.entries.reserve(recipes.size() + 1);
  for (const RecipeOperands* recipe : recipes) c.entries.push_back(entry(op, shape, rest, *recipe));
  Entry rival = entry(op, shape, rest, kBf16);
  rival.contender = kOneDnn;
  c.entries.push_back(rival);
  return c;
}

std::vector<Comparison> smoke() {
  std::vector<Comparison> all;
  all.reserve(std::size(kEveryOp));
  for (const Op op : kEveryOp) all.push_back(layer(op, "small", "g=4 m=300 k=320 n=192 dist=multinomial", every_recipe()));
  return all;
}

std::vector<Comparison> seed() {
  std::vector<Comparison> all;
  for (const auto& [shape, sizes] : {std::pair{"w0", "k=2048 n=512"}, std::pair{"wo", "k=512 n=2048"}}) {
    for (const Op op : kEveryOp) all.push_back(layer(op, shape, fmt::format("g=8 m=2048 {}", sizes), every_recipe()));
    all.push_back(layer(Op::gmm, fmt::format("{}_512", shape), fmt::format("g=8 m=4096 {}", sizes), {&kBf16, &kBlockwise}));
  }
  return all;
}

std::vector<Comparison> moe() {
  std::vector<Comparison> all;
  for (const testing::MoeShape& s : testing::kMoeShapes) {
    const std::string rest = fmt::format("g={} m={} k={} n={} dist=multinomial", s.groups, s.rows, s.k, s.n);
    for (const Op op : kEveryOp) all.push_back(layer(op, s.name, rest, {&kBf16, &kBlockwise}));
  }
  return all;
}

/// The problems of verify's preset, each beside bf16 on its shape.
std::vector<Comparison> mixed() {
  std::vector<Comparison> all;
  const auto problems = testing::preset("mixed");
  for (const testing::Preset& p : problems.value()) {
    Comparison c = beside_bf16(p.problem, fmt::format("mixed{:02}", all.size() + 1), "mixed");
    c.title = fmt::format("{} {}", testing::word_of(testing::kOps, p.problem.op), c.entries.front().shape);
    all.push_back(c);
  }
  return all;
}

std::vector<Comparison> decode() {
  std::vector<Comparison> all;
  for (const int rows : {1, 4, 16}) {
    Comparison c = layer(Op::gmm, fmt::format("decode{}", rows), fmt::format("g=32 m={} k=2048 n=1408", 32 * rows),
                         {&kBf16, &kBlockwise, &kE8m0});
    c.caches = Comparison::Caches::cold;
    all.push_back(c);
  }
  return all;
}

std::vector<Comparison> skew() {
  std::vector<Comparison> all;
  for (const auto& [shape, dist] :
       {std::pair{"zipf", "zipf:1.1"}, std::pair{"onehot", "onehot:3"}, std::pair{"empty10", "empty:10"}}) {
    for (const Op op : kEveryOp)
      all.push_back(layer(op, shape, fmt::format("g=16 m=2048 k=1024 n=512 dist={}", dist), {&kBf16, &kBlockwise}));
  }
  for (const Op op : kEveryOp) {
    Comparison threads;
    threads.title = fmt::format("{} zipf, 2 threads against 1", testing::word_of(testing::kOps, op));
    for (const int count : {1, 2})
      threads.entries.push_back(
          entry(op, "zipf", fmt::format("g=16 m=2048 k=1024 n=512 dist=zipf:1.1 threads={}", count), kBlockwise));
    all.push_back(threads);
    Comparison groups;
    groups.title = fmt::format("{} 256 groups against 8", testing::word_of(testing::kOps, op));
    for (const int count : {8, 256})
      groups.entries.push_back(
          entry(op, fmt::format("groups{}", count), fmt::format("g={} m=32768 k=256 n=256", count), kBlockwise));
    all.push_back(groups);
  }
  Comparison starts;
  starts.title = "tgmm unaligned groups against aligned";
  for (const auto& [shape, dist] :
       {std::pair{"aligned256", "even"}, std::pair{"unaligned256", "sizes:217,301,190,333,251,278,169,309"}})
    starts.entries.push_back(entry(Op::tgmm, shape, fmt::format("g=8 m=2048 k=1024 n=512 dist={}", dist), kBlockwise));
  all.push_back(starts);
  return all;
}

/// Making and undoing the lhs of a problem; the rest of the problem is as small as it can be.
std::vector<Comparison> quantize() {
  std::vector<Comparison> all;
  for (const auto& [stage, word] : {std::pair{Stage::quantize, "quantize"}, std::pair{Stage::quantize_both, "quantize_both"},
                                    std::pair{Stage::dequantize, "dequantize"}}) {
    Comparison c;
    c.title = word;
    for (const char* block : {"1x128", "128x128"}) {
      const std::string text = fmt::format("gmm g=1 m=8192 k=4096 n=1 lhs=e4m3:{}", block);
      c.entries.push_back({testing::parse_problem(text).value(), block, "e4m3", kRagdot, stage});
    }
    all.push_back(c);
  }
  return all;
}

struct Named {
  const char* name;
  std::vector<Comparison> (*make)();
  double seconds;
  std::int64_t starts = 5;
};
constexpr std::array<Named, 7> kNamed = {{{"smoke", smoke, 1},
                                          {"seed", seed, 5},
                                          {"moe", moe, 3, 3},
                                          {"mixed", mixed, 2},
                                          {"decode", decode, 7},
                                          {"skew", skew, 3},
                                          {"quantize", quantize, 5}}};

}  // namespace

Result<Agenda> preset(std::string_view name, const Choices& choices) {
  for (const Named& named : kNamed) {
    if (name == named.name)
      return with_choices({named.make(), named.seconds, named.starts}, choices, testing::preset_tilings(name));
  }
  return testing::preset(name).status();
}

Result<Agenda> agenda_of(const Problem& problem, const Choices& choices) {
  Comparison c = beside_bf16(problem, "problem", recipe_of(problem));
  for (const std::string& recipe : choices.recipes) {
    const bool is_there = std::any_of(c.entries.begin(), c.entries.end(), [&](const Entry& e) { return e.recipe == recipe; });
    if (!is_there) c.entries.push_back({with_recipe(problem, recipe), "problem", recipe, kRagdot, Stage::product});
  }
  return with_choices({.comparisons = {c}}, choices, {});
}

}  // namespace ragdot::bench
