// The closed vocabularies of the problem string: one table for each, used to read, to write and to suggest.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "testing/problem.hpp"

namespace ragdot::testing {

template <class T>
using Words = std::span<const std::pair<const char*, T>>;

inline constexpr std::array<std::pair<const char*, Op>, 3> kOps = {{{"gmm", Op::gmm}, {"dlhs", Op::dlhs}, {"tgmm", Op::tgmm}}};
inline constexpr std::array<std::pair<const char*, Format>, 5> kValueFormats = {
    {{"f32", Format::f32}, {"bf16", Format::bf16}, {"e4m3", Format::e4m3}, {"e5m2", Format::e5m2}, {"i8", Format::i8}}};
inline constexpr std::array<std::pair<const char*, Format>, 3> kScaleFormats = {
    {{"f32", Format::f32}, {"bf16", Format::bf16}, {"e8m0", Format::e8m0}}};
inline constexpr std::array<std::pair<const char*, Format>, 3> kOutFormats = {
    {{"f32", Format::f32}, {"bf16", Format::bf16}, {"f16", Format::f16}}};
inline constexpr std::array<std::pair<const char*, ScaleOrigin>, 2> kOrigins = {
    {{"global", ScaleOrigin::global}, {"per_group", ScaleOrigin::per_group}}};
inline constexpr std::array<std::pair<const char*, Order>, 2> kOrders = {{{"kn", Order::kn}, {"nk", Order::nk}}};
inline constexpr std::array<std::pair<const char*, RowsOutside>, 2> kRowsOutside = {
    {{"zero", RowsOutside::zero}, {"leave", RowsOutside::leave}}};
inline constexpr std::array<std::pair<const char*, Activation>, 6> kActivations = {{{"none", Activation::none},
                                                                                    {"relu", Activation::relu},
                                                                                    {"tanh", Activation::tanh},
                                                                                    {"silu", Activation::silu},
                                                                                    {"gelu_tanh", Activation::gelu_tanh},
                                                                                    {"gelu_erf", Activation::gelu_erf}}};
inline constexpr std::array<std::pair<const char*, Distribution::Kind>, 6> kDistributions = {
    {{"even", Distribution::Kind::even},
     {"multinomial", Distribution::Kind::multinomial},
     {"zipf", Distribution::Kind::zipf},
     {"onehot", Distribution::Kind::onehot},
     {"empty", Distribution::Kind::empty},
     {"sizes", Distribution::Kind::sizes}}};
inline constexpr std::array<std::pair<const char*, Recipe>, 3> kRecipes = {
    {{"absmax", Recipe::absmax}, {"pow2", Recipe::pow2}, {"mx", Recipe::mx}}};
inline constexpr std::array<std::pair<const char*, Family>, 6> kFamilies = {{{"gaussian", Family::gaussian},
                                                                             {"spread", Family::spread},
                                                                             {"integers", Family::integers},
                                                                             {"codes", Family::codes},
                                                                             {"outlier", Family::outlier},
                                                                             {"edges", Family::edges}}};
inline constexpr std::array<std::pair<const char*, Groups::Kind>, 4> kGroupKinds = {
    {{"sizes", Groups::Kind::sizes},
     {"ends", Groups::Kind::ends},
     {"offsets", Groups::Kind::offsets},
     {"starts and sizes", Groups::Kind::starts_and_sizes}}};
inline constexpr std::array<std::pair<const char*, bool>, 2> kSwitches = {{{"0", false}, {"1", true}}};

/// Words of a table, "a, b, c".
template <class Table>
std::string listed(const Table& table) {
  std::string all;
  for (const auto& [word, value] : table) all += (all.empty() ? "" : ", ") + std::string(word);
  return all;
}

template <class Table, class T>
const char* word_of(const Table& table, T value) {
  for (const auto& [word, v] : table) {
    if (v == value) return word;
  }
  return "?";
}

/// The entry of `table` whose word has the fewest edits to `word`.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const char* const> words);

}  // namespace ragdot::testing
