// The ordered list of CPU kernels: the first that this CPU can run and that takes the product is chosen.
#include <array>

#include "cpu/isa/amx/amx.hpp"
#include "cpu/isa/avx2/avx2.hpp"
#include "cpu/isa/avx512/avx512.hpp"
#include "cpu/isa/avx512bf16/avx512bf16.hpp"
#include "cpu/isa/portable/portable.hpp"
#include "cpu/kernel.hpp"

namespace ragdot::cpu {

std::span<const Kernel* const> listed_kernels() {
  static constexpr std::array kOrdered = {&amx::kKernel, &avx512bf16::kKernel, &avx512::kKernel, &avx2::kKernel,
                                          &portable::kKernel};
  return kOrdered;
}

}  // namespace ragdot::cpu
