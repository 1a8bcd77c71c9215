// The AVX-512 kernel: chains of f32 fma over f32 panels, on every CPU with F, BW, DQ and VL.
#include "cpu/isa/avx512/avx512.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "cpu/isa/avx512/few_rows.hpp"
#include "cpu/isa/avx512/floats.hpp"
#include "cpu/isa/avx512/lines.hpp"
#include "cpu/isa/avx512/multiply_vnni.hpp"
#include "cpu/isa/avx512/pack_vbmi.hpp"
#include "cpu/isa/avx512/quads_vnni.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/features.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

#include "cpu/isa/chains/dword_kernel.hpp"
#include "cpu/isa/floats/chain.hpp"
#include "cpu/isa/floats/pack.hpp"
#include "cpu/isa/pairs/chain.hpp"
#include "cpu/isa/pairs/pack.hpp"

RAGDOT_TARGET_END

namespace ragdot::cpu::avx512 {
namespace {

const char* refusal() { return features().avx512() ? nullptr : "this CPU has no AVX-512 (F, BW, DQ, VL)"; }

bool takes_quads(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::i8 && features().avx512vnni && features().avx512vbmi;
}

template <chains::Role kRole>
void pack(const PackJob& job) {
  constexpr bool kLhs = kRole == chains::Role::lhs;
  if (takes_quads(job.arithmetic)) return kLhs ? pack_lhs_quads(job) : pack_rhs_quads(job);
  if (job.arithmetic == Arithmetic::i8) return pairs::pack<Lines, kRole>(job);
  if (!features().avx512vbmi) return floats::pack<Lines, kRole>(job);
  kLhs ? pack_lhs_vbmi(job) : pack_rhs_vbmi(job);
}

void multiply(const MultiplyJob& job) {
  if (takes_quads(job.arithmetic)) return multiply_quads(job);
  if (job.arithmetic != Arithmetic::i8) return chains::multiply<floats::F32Chain<Floats>>(job);
  features().avx512vnni ? multiply_i8_vnni(job) : chains::multiply<pairs::PairChain<Integers, Floats>>(job);
}

std::int64_t depth_unit(Arithmetic arithmetic) {
  return takes_quads(arithmetic) ? kQuadsDepth : chains::depth_unit(arithmetic);
}

std::int64_t panel_bytes(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth) {
  return takes_quads(arithmetic) ? quads_panel_bytes(outers, depth) : chains::panel_bytes(arithmetic, outers, depth);
}

}  // namespace

constinit const Kernel kKernel = chains::kernel_of({
    .name = "avx512",
    .block_rows = Floats::kBlockRows,
    .refusal = refusal,
    .pack_lhs = pack<chains::Role::lhs>,
    .pack_rhs = pack<chains::Role::rhs>,
    .multiply = multiply,
    .store = store,
    .stores = Floats::kStores,
    .few_rows = {&kFewPackedRows},
    .depth_unit = depth_unit,
    .panel_bytes = panel_bytes,
});

}  // namespace ragdot::cpu::avx512
