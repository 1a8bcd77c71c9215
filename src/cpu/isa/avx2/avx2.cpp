// The AVX2 kernel: chains of f32 fma over f32 panels, on every CPU with AVX2, FMA and F16C.
#include "cpu/isa/avx2/avx2.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "cpu/isa/avx2/finish.hpp"
#include "cpu/isa/avx2/floats.hpp"
#include "cpu/isa/avx2/lines.hpp"
#include "cpu/isa/avx2/store.hpp"
#include "cpu/isa/features.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

#include "cpu/isa/chains/dword_kernel.hpp"
#include "cpu/isa/floats/chain.hpp"
#include "cpu/isa/floats/pack.hpp"
#include "cpu/isa/pairs/chain.hpp"
#include "cpu/isa/pairs/pack.hpp"

RAGDOT_TARGET_END

namespace ragdot::cpu::avx2 {
namespace {

const char* refusal() {
  const Features& f = features();
  return f.avx2 && f.fma && f.f16c ? nullptr : "this CPU has no AVX2 with FMA and F16C";
}

template <chains::Role kRole>
void pack(const PackJob& job) {
  job.arithmetic == Arithmetic::i8 ? pairs::pack<Lines, kRole>(job) : floats::pack<Lines, kRole>(job);
}

void multiply(const MultiplyJob& job) {
  job.arithmetic == Arithmetic::i8 ? chains::multiply<pairs::PairChain<Integers, Floats>>(job)
                                   : chains::multiply<floats::F32Chain<Floats>>(job);
}

}  // namespace

constinit const Kernel kKernel = chains::kernel_of({
    .name = "avx2",
    .block_rows = Floats::kBlockRows,
    .refusal = refusal,
    .pack_lhs = pack<chains::Role::lhs>,
    .pack_rhs = pack<chains::Role::rhs>,
    .multiply = multiply,
    .store = store<chains::kStripCols>,
    .finish = finish,
    .stores = Floats::kStores,
    .few_rows = {},
});

}  // namespace ragdot::cpu::avx2
