// Filters first, then repeats what is left.
#include "bench/choices.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "testing/recipes.hpp"
#include "testing/words.hpp"

namespace ragdot::bench {
namespace {

using testing::Problem;

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

Status check_recipes(const std::vector<std::string>& recipes) {
  std::vector<const char*> known;
  known.reserve(testing::kAllRecipes.size());
  for (const testing::RecipeOperands* r : testing::kAllRecipes) known.push_back(r->recipe);
  for (const std::string& recipe : recipes) {
    if (std::find(known.begin(), known.end(), recipe) == known.end()) {
      return {Code::invalid_argument, fmt::format("bench: recipe {} is unknown; did you mean {}? Known: {}", recipe,
                                                  testing::nearest(recipe, known), fmt::join(known, ", "))};
    }
  }
  return {};
}

bool is_chosen(const Entry& entry, const Choices& choices) {
  if (entry.contender != kRagdot) return choices.rivals == Rivals::with && choices.tilings == Tilings::automatic;
  if (entry.stage != Stage::product) return choices.recipes.empty();
  if (!choices.recipes.empty()) return contains(choices.recipes, entry.recipe);
  return choices.tilings == Tilings::automatic || entry.recipe == "blockwise" || entry.recipe == "custom";
}

std::vector<Tiling> usual_sweep() {
  std::vector<Tiling> all;
  for (const std::int64_t tm : {64, 128, 512}) {
    for (const std::int64_t tk : {64, 128, 512}) {
      for (const std::int64_t tn : {64, 128, 512}) all.push_back({tm, tk, tn});
    }
  }
  return all;
}

/// The entry on every chosen kernel and thread count; what it names itself stays.
std::vector<Entry> repeated(const Entry& entry, const Choices& choices) {
  const Problem& own = entry.problem;
  const bool free_kernel = entry.contender == kRagdot && own.kernel.empty() && !choices.kernels.empty();
  const auto kernels = free_kernel ? choices.kernels : std::vector<std::string>{own.kernel};
  const auto threads = own.threads == 0 && !choices.threads.empty() ? choices.threads : std::vector<int>{own.threads};
  std::vector<Entry> all;
  for (const std::string& kernel : kernels) {
    for (const int count : threads) {
      all.push_back(entry);
      all.back().problem.kernel = kernel;
      all.back().problem.threads = count;
    }
  }
  return all;
}

}  // namespace

Result<Agenda> with_choices(const Agenda& agenda, const Choices& choices, const std::vector<Tiling>& sweep) {
  if (Status s = check_recipes(choices.recipes); !s.ok()) return s;
  Agenda chosen{{}, agenda.seconds, agenda.starts};
  for (const Comparison& comparison : agenda.comparisons) {
    Comparison c{comparison.title, {}, comparison.caches};
    bool has_library = false;
    for (const Entry& entry : comparison.entries) {
      if (!is_chosen(entry, choices)) continue;
      has_library = has_library || entry.contender == kRagdot;
      for (const Entry& one : repeated(entry, choices)) {
        c.entries.push_back(one);
        if (choices.tilings == Tilings::automatic || entry.stage != Stage::product) continue;
        for (const Tiling& tiling : sweep.empty() ? usual_sweep() : sweep) {
          c.entries.push_back(one);
          c.entries.back().problem.tile = tiling;
        }
      }
    }
    if (has_library) chosen.comparisons.push_back(c);
  }
  if (!chosen.comparisons.empty()) return chosen;
  return Status(Code::invalid_argument, fmt::format("bench: nothing here has recipe {}; leave out --recipes or name others",
                                                    fmt::join(choices.recipes, " or ")));
}

Problem with_recipe(const Problem& problem, const std::string& recipe) {
  Problem p = problem;
  for (const testing::RecipeOperands* r : testing::kAllRecipes) {
    if (recipe != r->recipe) continue;
    const Problem operands = testing::parse_problem(fmt::format("gmm {}", r->of(p.op)), testing::Shapes::optional).value();
    p.lhs = operands.lhs;
    p.rhs = operands.rhs;
    p.recipe = operands.recipe;
  }
  return p;
}

std::string recipe_of(const Problem& problem) {
  for (const testing::RecipeOperands* r : testing::kAllRecipes) {
    if (to_string(with_recipe(problem, r->recipe)) == to_string(problem)) return r->recipe;
  }
  return "custom";
}

Comparison beside_bf16(const Problem& problem, const std::string& shape, const std::string& recipe) {
  Comparison c{fmt::format("{} {}", testing::word_of(testing::kOps, problem.op), shape), {}, Comparison::Caches::warm};
  c.entries.push_back({problem, shape, recipe, kRagdot, Stage::product});
  const Problem plain = with_recipe(problem, "bf16");
  if (recipe != "bf16") c.entries.push_back({plain, shape, "bf16", kRagdot, Stage::product});
  c.entries.push_back({plain, shape, "bf16", kOneDnn, Stage::product});
  c.entries.back().problem.kernel.clear();
  return c;
}

}  // namespace ragdot::bench
