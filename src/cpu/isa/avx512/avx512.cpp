// The AVX-512 kernel: chains of f32 fma over f32 panels, on every CPU with F, BW, DQ and VL.
#include "cpu/isa/avx512/avx512.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "cpu/isa/avx512/floats.hpp"
#include "cpu/isa/avx512/lines.hpp"
#include "cpu/isa/avx512/pack_vbmi.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/features.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

#include "cpu/isa/chains/multiply.hpp"
#include "cpu/isa/floats/kernel_of.hpp"
#include "cpu/isa/floats/pack.hpp"

RAGDOT_TARGET_END

namespace ragdot::cpu::avx512 {
namespace {

const char* refusal() { return features().avx512() ? nullptr : "this CPU has no AVX-512 (F, BW, DQ, VL)"; }

void pack_lhs(const PackJob& job) { features().avx512vbmi ? pack_lhs_vbmi(job) : floats::pack<Lines, floats::Role::lhs>(job); }

void pack_rhs(const PackJob& job) { features().avx512vbmi ? pack_rhs_vbmi(job) : floats::pack<Lines, floats::Role::rhs>(job); }

}  // namespace

constinit const Kernel kKernel = floats::kernel_of<Floats>({
    .name = "avx512",
    .refusal = refusal,
    .pack_lhs = pack_lhs,
    .pack_rhs = pack_rhs,
    .store = store<chains::kStripCols>,
});

}  // namespace ragdot::cpu::avx512
