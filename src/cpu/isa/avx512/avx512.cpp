// The AVX-512 kernel: chains of f32 fma over f32 panels, on every CPU with F, BW, DQ and VL.
#include "cpu/isa/avx512/avx512.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "cpu/isa/avx512/few_rows.hpp"
#include "cpu/isa/avx512/finish.hpp"
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

/// What a CPU may have beyond F, BW, DQ and VL.
struct Extras {
  bool vbmi = false;
  bool vnni = false;

  [[nodiscard]] bool quads(Arithmetic arithmetic) const { return arithmetic == Arithmetic::i8 && vbmi && vnni; }
};
using ExtrasOf = Extras (*)();

Extras of_this_cpu() { return {features().avx512vbmi, features().avx512vnni}; }
Extras of_cascade_lake() { return {.vbmi = false, .vnni = features().avx512vnni}; }
Extras of_skylake() { return {}; }

const char* refusal() { return features().avx512() ? nullptr : "this CPU has no AVX-512 (F, BW, DQ, VL)"; }

template <ExtrasOf kExtras, chains::Role kRole>
void pack(const PackJob& job) {
  constexpr bool kLhs = kRole == chains::Role::lhs;
  const Extras extras = kExtras();
  if (extras.quads(job.arithmetic)) return kLhs ? pack_lhs_quads(job) : pack_rhs_quads(job);
  if (job.arithmetic == Arithmetic::i8) return pairs::pack<Lines, kRole>(job);
  if (!extras.vbmi) return floats::pack<Lines, kRole>(job);
  kLhs ? pack_lhs_vbmi(job) : pack_rhs_vbmi(job);
}

template <ExtrasOf kExtras>
void multiply(const MultiplyJob& job) {
  const Extras extras = kExtras();
  if (extras.quads(job.arithmetic)) return multiply_quads(job);
  if (job.arithmetic != Arithmetic::i8) return chains::multiply<floats::F32Chain<Floats>>(job);
  extras.vnni ? multiply_i8_vnni(job) : chains::multiply<pairs::PairChain<Integers, Floats>>(job);
}

template <ExtrasOf kExtras>
std::int64_t depth_unit(Arithmetic arithmetic) {
  return kExtras().quads(arithmetic) ? kQuadsDepth : chains::depth_unit(arithmetic);
}

template <ExtrasOf kExtras>
std::int64_t panel_bytes(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth) {
  return kExtras().quads(arithmetic) ? quads_panel_bytes(outers, depth) : chains::panel_bytes(arithmetic, outers, depth);
}

template <ExtrasOf kExtras>
constexpr Kernel kernel_with(const char* name, const WaysOfFewRows& few_rows) {
  return chains::kernel_of({
      .name = name,
      .block_rows = Floats::kBlockRows,
      .refusal = refusal,
      .pack_lhs = pack<kExtras, chains::Role::lhs>,
      .pack_rhs = pack<kExtras, chains::Role::rhs>,
      .multiply = multiply<kExtras>,
      .store = store,
      .finish = finish,
      .stores = Floats::kStores,
      .few_rows = few_rows,
      .depth_unit = depth_unit<kExtras>,
      .panel_bytes = panel_bytes<kExtras>,
  });
}

}  // namespace

constinit const Kernel kKernel = kernel_with<of_this_cpu>("avx512", {&kFewPackedRows});
constinit const Kernel kCascadeLake = kernel_with<of_cascade_lake>("avx512_cascade_lake", {});
constinit const Kernel kSkylake = kernel_with<of_skylake>("avx512_skylake", {});

}  // namespace ragdot::cpu::avx512
