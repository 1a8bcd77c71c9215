// Adds the AVX-512 kernel as older CPUs run it to the kernels of this program: what newer ones never take runs in every suite.
#include "cpu/isa/avx512/avx512.hpp"

namespace ragdot::suites {
namespace {

[[maybe_unused]] const bool kAdded = [] {
  cpu::add_kernel_for_tests(cpu::avx512::kCascadeLake);
  cpu::add_kernel_for_tests(cpu::avx512::kSkylake);
  return true;
}();

}  // namespace
}  // namespace ragdot::suites
