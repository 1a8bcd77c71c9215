// VPDPWSSD multiplies and adds int16 pairs in one instruction: a file of its own, as a target region holds one set of
// templates.
#include "cpu/isa/avx512/multiply_vnni.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "cpu/isa/avx512/floats.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VNNI)

#include "cpu/isa/chains/multiply.hpp"
#include "cpu/isa/pairs/chain.hpp"

namespace ragdot::cpu::avx512 {
namespace {

struct Vnni : Integers {
  static Vector dot(Vector sum, Vector a, Vector b) { return _mm512_dpwssd_epi32(sum, a, b); }
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END

namespace ragdot::cpu::avx512 {

void multiply_i8_vnni(const MultiplyJob& job) { chains::multiply<pairs::PairChain<Vnni, Floats>>(job); }

}  // namespace ragdot::cpu::avx512
