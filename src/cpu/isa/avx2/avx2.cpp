// The AVX2 kernel: chains of f32 fma over f32 panels, on every CPU with AVX2, FMA and F16C.
#include "cpu/isa/avx2/avx2.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "cpu/isa/avx2/floats.hpp"
#include "cpu/isa/avx2/lines.hpp"
#include "cpu/isa/avx2/store.hpp"
#include "cpu/isa/features.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

#include "cpu/isa/chains/multiply.hpp"
#include "cpu/isa/floats/kernel_of.hpp"
#include "cpu/isa/floats/pack.hpp"

RAGDOT_TARGET_END

namespace ragdot::cpu::avx2 {
namespace {

const char* refusal() {
  const Features& f = features();
  return f.avx2 && f.fma && f.f16c ? nullptr : "this CPU has no AVX2 with FMA and F16C";
}

}  // namespace

constinit const Kernel kKernel = floats::kernel_of<Floats>({
    .name = "avx2",
    .refusal = refusal,
    .pack_lhs = floats::pack<Lines, floats::Role::lhs>,
    .pack_rhs = floats::pack<Lines, floats::Role::rhs>,
    .store = store<chains::kStripCols>,
});

}  // namespace ragdot::cpu::avx2
