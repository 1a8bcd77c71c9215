// f32 panels by way of VBMI's byte tables: a file of its own, as a target region holds one set of templates.
#include "cpu/isa/avx512/pack_vbmi.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "cpu/isa/avx512/lines_vbmi.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)

#include "cpu/isa/floats/pack.hpp"

RAGDOT_TARGET_END

namespace ragdot::cpu::avx512 {

void pack_lhs_vbmi(const PackJob& job) { floats::pack<LinesVbmi, chains::Role::lhs>(job); }
void pack_rhs_vbmi(const PackJob& job) { floats::pack<LinesVbmi, chains::Role::rhs>(job); }

}  // namespace ragdot::cpu::avx512
