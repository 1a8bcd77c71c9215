// int8 operands of the AVX-512 kernel on CPUs with VNNI and VBMI: four products in a lane.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

/// Elements of depth that the panels are padded to.
inline constexpr std::int64_t kQuadsDepth = 64;

[[nodiscard]] std::int64_t quads_panel_bytes(std::int64_t outers, std::int64_t depth);
void pack_lhs_quads(const PackJob& job);
void pack_rhs_quads(const PackJob& job);
void multiply_quads(const MultiplyJob& job);

}  // namespace ragdot::cpu::avx512
