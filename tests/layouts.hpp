// One gmm with its weights in every layout, on every kernel.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/relaid.hpp"
#include "tests/sample.hpp"

namespace ragdot::suites {

/// Calls each(args, options, what) for weights with contiguous rows, with contiguous columns, and packed.
template <class Each>
void in_every_layout(const Sample& s, Options options, const std::string& name, Each each) {
  std::vector<float> out(static_cast<std::size_t>(s.out_rows() * s.out_cols()));
  const View view = matrix(static_cast<void*>(out.data()), Format::f32, s.out_rows(), s.out_cols());
  const Operand lhs = s.lhs.operand();
  const Operand rows = s.rhs.operand();
  Relaid columns;
  relay(rows, 0, true, 0, columns);
  const auto packed = pack_rhs(rows);
  ASSERT_TRUE(packed.ok()) << packed.status().message();
  GmmArgs of_packed = s.gmm_args(lhs, {}, view);
  of_packed.packed_rhs = packed.value();
  for (const std::string& kernel : kernels_for(s, lhs, rows)) {
    options.kernel = kernel;
    const std::string what = kernel + ", " + name;
    each(s.gmm_args(lhs, rows, view), options, what + ", [K, N]");
    each(s.gmm_args(lhs, columns.operand, view), options, what + ", [N, K]");
    each(of_packed, options, what + ", packed");
  }
}

}  // namespace ragdot::suites
