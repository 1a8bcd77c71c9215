// The C interface: exact results and the error bound.
#include <fmt/format.h>

#include "api/c_abi.hpp"

namespace ragdot::c_abi {
namespace {

template <class Args, class CArgs>
int exact_and_bound_of(const char* function, const CArgs* given, double* exact, double* bound, int64_t count) {
  return guarded(function, [&]() -> Status {
    Args args;
    if (Status s = read_args(function, given, args); !s.ok()) return s;
    if (count < 0) {
      return {Code::invalid_argument,
              fmt::format("{}: count is {}; it must be the number of outputs or more", function, count)};
    }
    const View& out = args.out;
    if (count == 0 && (exact != nullptr || bound != nullptr) && out.batch > 0 && out.rows > 0 && out.cols > 0) {
      return {Code::invalid_argument, fmt::format("{}: count is 0; give room for all outputs, or null pointers", function)};
    }
    const auto span = [&](double* data) {
      return std::span<double>(data, data == nullptr ? 0 : static_cast<std::size_t>(count));
    };
    return exact_and_bound(args, span(exact), span(bound));
  });
}

}  // namespace
}  // namespace ragdot::c_abi

namespace c_abi = ragdot::c_abi;

double ragdot_error_bound(double abs_sum, int64_t segments, int64_t longest_segment, double flush_sum) {
  return ragdot::error_bound({abs_sum, segments, longest_segment, flush_sum});
}

int ragdot_gmm_exact_and_bound(const ragdot_gmm_args* args, double* exact, double* bound, int64_t count) {
  return c_abi::exact_and_bound_of<ragdot::GmmArgs>("ragdot_gmm_exact_and_bound", args, exact, bound, count);
}

int ragdot_tgmm_exact_and_bound(const ragdot_tgmm_args* args, double* exact, double* bound, int64_t count) {
  return c_abi::exact_and_bound_of<ragdot::TgmmArgs>("ragdot_tgmm_exact_and_bound", args, exact, bound, count);
}
