// The AMX kernel for one provider of tile instructions.
#pragma once

#include "cpu/isa/amx/multiply.hpp"
#include "cpu/isa/avx512/few_rows.hpp"

namespace ragdot::cpu::amx {
namespace {

inline const char* declines(const Demand& demand) {
  if (demand.arithmetic == Arithmetic::f32) return "f32 operands do not fit tiles of bf16";
  return declines_long_i8_segments(demand);
}

template <class Tiles>
constexpr Kernel kernel_of(const char* name, const char* (*refusal)()) {
  return {.name = name,
          .refusal = refusal,
          .declines = declines,
          .yields = yields_short_segments,
          .block_rows = kBlock,
          .block_cols = kBlock,
          .inner_rows = 8 * kBlock,
          .inner_cols = 2 * kBlock,
          .part_bytes = sizeof(float),
          .depth_unit =
              [](Arithmetic arithmetic) { return arithmetic == Arithmetic::i8 ? avx512::I8Source::kStep : schedule::kChunk; },
          .panel_bytes =
              [](Arithmetic arithmetic, std::int64_t outers, std::int64_t depth) {
                return avx512::granule_panel_bytes(
                    outers, depth / (arithmetic == Arithmetic::i8 ? avx512::I8Source::kStep : schedule::kChunk));
              },
          .pack_lhs = avx512::pack<avx512::Role::lhs, kNeighbours>,
          .pack_rhs = avx512::pack<avx512::Role::rhs, kNeighbours>,
          .multiply = multiply<Tiles>,
          .multiply_packed = multiply_packed<Tiles>,
          .few_rows = &avx512::kFewPackedRows,
          .store = avx512::store,
          .stores = true,
          .enter = [] { Tiles::configure(kTileRows); },
          .leave = Tiles::release};
}

}  // namespace
}  // namespace ragdot::cpu::amx
