// The suites on a library with one planted mistake: all of them with their failures shown, or one suite after the other for
// campaign.py, which reads who fails.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "ragdot/ragdot.hpp"
#include "tests/faults/catalogue.hpp"

namespace ragdot::suites {
namespace {

/// "Poison.OutsideTheGroups" of "All/Poison.OutsideTheGroups/gmm_blockwise" and "ReadGroups.TakesNoGroups" of
/// "ReadGroups/0.TakesNoGroups".
std::string suite_of(const testing::TestInfo& info) {
  std::string suite = info.test_suite_name();
  if (info.value_param() != nullptr) suite = suite.substr(suite.find('/') + 1);
  const std::string name = info.name();
  return fmt::format("{}.{}", suite.substr(0, suite.find('/')), name.substr(0, name.find('/')));
}

/// The tests of each suite, as a filter.
std::map<std::string, std::string> filters() {
  std::map<std::string, std::string> all;
  const testing::UnitTest& unit = *testing::UnitTest::GetInstance();
  for (int s = 0; s < unit.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *unit.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const testing::TestInfo& info = *suite.GetTestInfo(t);
      std::string& filter = all[suite_of(info)];
      filter += fmt::format("{}{}.{}", filter.empty() ? "" : ":", info.test_suite_name(), info.name());
    }
  }
  return all;
}

/// Why this CPU cannot run a fault; empty when it can.
std::string skipped(const Fault& fault) {
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.name == fault.kernel && !kernel.usable) return fmt::format("kernel {}: {}", kernel.name, kernel.reason);
  }
  return "";
}

int list() {
  for (const Fault& fault : fault_catalogue()) std::printf("%s\t%s\t%s\n", fault.name, fault.what, skipped(fault).c_str());
  return 0;
}

/// Runs the suites that stand in the input, one a line, each to its first failure. Says which one runs, so that a reader
/// knows whose a crash is.
int one_by_one() {
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  GTEST_FLAG_SET(fail_fast, true);
  const std::map<std::string, std::string> all = filters();
  for (std::string suite; std::getline(std::cin, suite);) {
    const auto at = all.find(suite);
    if (at == all.end()) {
      std::printf("\nthere is no suite %s\n", suite.c_str());
      return 2;
    }
    std::printf("\nsuite\t%s\n", suite.c_str());
    std::fflush(stdout);
    GTEST_FLAG_SET(filter, at->second);
    const auto start = std::chrono::steady_clock::now();
    const bool passed = RUN_ALL_TESTS() == 0;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("\nresult\t%s\t%s\t%.4f\n", suite.c_str(), passed ? "passed" : "failed", seconds.count());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace ragdot::suites

// NAME: one fault, all suites, with their failures. --list: every fault. --suites: the names of all suites. --one-by-one NAME:
// see one_by_one; NAME may be "none".
int main(int argc, char** argv) {
  using namespace ragdot;
  testing::InitGoogleTest(&argc, argv);
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() == 1 && args[0] == "--list") return suites::list();
  if (args.size() == 1 && args[0] == "--suites") {
    for (const auto& [suite, filter] : suites::filters()) std::printf("%s\n", suite.c_str());
    return 0;
  }
  const bool one_by_one = args.size() == 2 && args[0] == "--one-by-one";
  const std::string name = one_by_one ? args[1] : args.size() == 1 ? args[0] : "";
  bool known = name == "none";
  for (const suites::Fault& fault : suites::fault_catalogue()) {
    if (name != fault.name) continue;
    fault::active = static_cast<int>(fault.id);
    known = true;
  }
  if (!known) {
    std::fprintf(stderr, "faulty_suites: \"%s\" is no fault; --list names them\n", name.c_str());
    return 2;
  }
  return one_by_one ? suites::one_by_one() : RUN_ALL_TESTS();
}
