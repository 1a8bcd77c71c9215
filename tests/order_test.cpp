// Every output is, bit for bit, what the reduction order says, and lies within the error bound of the exact result.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "reference/oracle.hpp"
#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

struct OrderCase {
  SuiteCase suite;
  Data data = Data::mixed;
};

std::vector<OrderCase> order_cases() {
  std::vector<OrderCase> cases;
  for (const SuiteCase& c : all_cases()) {
    for (const Data data : {Data::mixed, Data::all_codes, Data::subnormals, Data::integers, Data::tiny})
      cases.push_back({c, data});
  }
  return cases;
}

std::string order_name(const testing::TestParamInfo<OrderCase>& info) {
  constexpr const char* kData[] = {"mixed", "all_codes", "subnormals", "integers", "tiny"};
  return case_name({info.param.suite, info.index}) + "_" + kData[static_cast<int>(info.param.data)];
}

class Order : public testing::TestWithParam<OrderCase> {
 protected:
  /// Calls check(batch, row, col, ordered, exact, got) for every output of local groups.
  template <class Check>
  void for_outputs(const Sample& s, Check check) const {
    const std::vector<std::byte> out = compute(s);
    const View view = matrices(static_cast<void*>(nullptr), Format::f32, s.out_batch(), s.out_rows(), s.out_cols());
    const GmmArgs g = s.is_gmm ? s.gmm_args(s.lhs.operand(), s.rhs.operand(), view) : GmmArgs{};
    const TgmmArgs t = s.is_gmm ? TgmmArgs{} : s.tgmm_args(s.lhs.operand(), s.rhs.operand(), view);
    const auto with = [&](const auto& args) {
      const reference::Ordered ordered(args);
      const reference::Oracle oracle(args);
      std::int64_t i = 0;
      for (std::int64_t b = 0; b < s.out_batch(); ++b) {
        for (std::int64_t r = 0; r < s.out_rows(); ++r) {
          for (std::int64_t c = 0; c < s.out_cols(); ++c, ++i) {
            const reference::Exact exact = oracle.at(b, r, c);
            float got = 0;
            std::memcpy(&got, out.data() + 4 * i, 4);
            if (exact.local) check(b, r, c, ordered.at(b, r, c), exact, got);
          }
        }
      }
    };
    s.is_gmm ? with(g) : with(t);
  }
};

INSTANTIATE_TEST_SUITE_P(All, Order, testing::ValuesIn(order_cases()), order_name);

Sample order_sample(const OrderCase& c) {
  const Shape shape = c.suite.is_gmm ? touching({19, 0, 1, 35}, 60, 170, 21) : touching({37, 0, 1, 140}, 190, 23, 18);
  return make_sample(c.suite, shape, c.data, 7);
}

TEST_P(Order, BitsOfTheReductionOrder) {
  std::size_t wrong = 0;
  for_outputs(order_sample(GetParam()),
              [&](std::int64_t b, std::int64_t r, std::int64_t c, float ordered, const reference::Exact&, float got) {
                if (std::memcmp(&ordered, &got, 4) == 0 || wrong++ > 0) return;
                ADD_FAILURE() << fmt::format("({}, {}, {}): order {:.9g}, got {:.9g}", b, r, c, ordered, got);
              });
  EXPECT_EQ(wrong, 0U);
}

TEST_P(Order, WithinTheErrorBound) {
  const bool integers = GetParam().data == Data::integers;  // their sums are exact
  std::size_t outside = 0;
  for_outputs(order_sample(GetParam()),
              [&](std::int64_t b, std::int64_t r, std::int64_t c, float, const reference::Exact& exact, float got) {
                if (exact.overflows || !std::isfinite(exact.value)) return;
                const double error = std::abs(static_cast<double>(got) - exact.value);
                if (error <= (integers ? 0 : exact.bound) || outside++ > 0) return;
                ADD_FAILURE() << fmt::format("({}, {}, {}): exact {:.9g}, got {:.9g}, bound {:.3g}", b, r, c, exact.value, got,
                                             exact.bound);
              });
  EXPECT_EQ(outside, 0U);
}

}  // namespace
}  // namespace ragdot::suites
