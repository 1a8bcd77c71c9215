// The parameter of the suites: one operation on one pair of grids.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "tests/sample.hpp"

namespace ragdot::suites {

struct SuiteCase {
  bool is_gmm = true;
  Grids grids;

  friend void PrintTo(const SuiteCase& c, std::ostream* out) { *out << (c.is_gmm ? "gmm " : "tgmm ") << c.grids.name; }
};

[[nodiscard]] inline std::vector<SuiteCase> gmm_cases() {
  std::vector<SuiteCase> cases;
  for (const Grids& grids : gmm_grids()) cases.push_back({true, grids});
  return cases;
}
[[nodiscard]] inline std::vector<SuiteCase> tgmm_cases() {
  std::vector<SuiteCase> cases;
  for (const Grids& grids : tgmm_grids()) cases.push_back({false, grids});
  return cases;
}
[[nodiscard]] inline std::vector<SuiteCase> all_cases() {
  std::vector<SuiteCase> cases = gmm_cases();
  for (SuiteCase& c : tgmm_cases()) cases.push_back(c);
  return cases;
}

/// Groups with an empty one inside, one of a single row, an empty one behind, and rows of no group at the end.
[[nodiscard]] inline Shape usual_shape(bool is_gmm) {
  return is_gmm ? touching({37, 0, 1, 70, 33, 0}, 150, 200, 70) : touching({37, 0, 1, 140, 33, 0}, 220, 45, 38);
}

[[nodiscard]] inline Sample make_sample(const SuiteCase& c, const Shape& shape, Data data = Data::mixed,
                                        std::uint64_t seed = 1) {
  return c.is_gmm ? make_gmm(c.grids, shape, data, seed) : make_tgmm(c.grids, shape, data, seed);
}
[[nodiscard]] inline Sample make_sample(const SuiteCase& c, Data data = Data::mixed, std::uint64_t seed = 1) {
  return make_sample(c, usual_shape(c.is_gmm), data, seed);
}

[[nodiscard]] inline std::string case_name(const ::testing::TestParamInfo<SuiteCase>& info) {
  return (info.param.is_gmm ? "gmm_" : "tgmm_") + info.param.grids.name;
}

}  // namespace ragdot::suites
