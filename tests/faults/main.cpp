// Runs the suites once for each planted mistake and prints which of them caught it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "tests/faults/catalogue.hpp"

namespace ragdot::suites {
namespace {

constexpr std::size_t kEnough = 2;

/// "Poison.OutsideTheGroups" of "All/Poison.OutsideTheGroups/gmm_blockwise".
std::string suite_of(const testing::TestInfo& info) {
  const std::string suite = info.test_suite_name();
  const std::string name = info.name();
  return suite.substr(suite.find('/') == std::string::npos ? 0 : suite.find('/') + 1) + "." + name.substr(0, name.find('/'));
}

/// Collects the suites that fail, silently.
class Watch : public testing::EmptyTestEventListener {
 public:
  void OnTestEnd(const testing::TestInfo& info) override {
    if (info.result()->Failed()) failed_.insert(suite_of(info));
  }
  std::set<std::string> take() { return std::move(failed_); }

 private:
  std::set<std::string> failed_;
};

std::string joined(const std::set<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

int campaign() {
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  auto* watch = new Watch;  // owned by the listeners
  listeners.Append(watch);

  if (RUN_ALL_TESTS() != 0) {
    std::printf("suites fail without any fault: %s\n", joined(watch->take()).c_str());
    return 1;
  }
  std::size_t escaped = 0;
  for (const Fault& fault : fault_catalogue()) {
    fault::active = static_cast<int>(fault.id);
    const bool failed = RUN_ALL_TESTS() != 0;
    const std::set<std::string> caught = failed ? watch->take() : std::set<std::string>();
    escaped += caught.size() < kEnough ? 1U : 0U;
    std::printf("%-30s %s by %zu: %s\n", fault.name, caught.size() < kEnough ? "ESCAPED" : "caught", caught.size(),
                joined(caught).c_str());
    std::fflush(stdout);
  }
  std::printf("%zu faults, %zu caught by fewer than %zu suites\n", fault_catalogue().size(), escaped, kEnough);
  return escaped == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ragdot::suites

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1 && std::strcmp(argv[1], "--campaign") == 0) return ragdot::suites::campaign();
  for (const ragdot::suites::Fault& fault : ragdot::suites::fault_catalogue()) {  // one fault by name, to look at its failures
    if (argc > 1 && std::strcmp(argv[1], fault.name) == 0) ragdot::fault::active = static_cast<int>(fault.id);
  }
  return RUN_ALL_TESTS();
}
