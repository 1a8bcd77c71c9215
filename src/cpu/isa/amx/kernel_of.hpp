// The AMX kernel for one provider of tile instructions.
#pragma once

#include <array>

#include "cpu/isa/amx/multiply.hpp"
#include "cpu/isa/avx512/finish.hpp"
#include "cpu/tile_size.hpp"

namespace ragdot::cpu::amx {
namespace {

inline const char* declines(const Demand& demand) {
  return demand.arithmetic == Arithmetic::f32 ? "f32 operands do not fit tiles of bf16" : nullptr;
}

/// Few rows in tiles, with weights decoded where they are used.
template <class Tiles>
inline constexpr FewRows kTilesOfFewRows = {.weights = plan::Weights::packed,
                                            .tile_depth = kMostDepth,
                                            .most_rows = [](Format) { return cpu::kFewRows; },
                                            .pack_lhs = avx512::pack<avx512::Role::lhs, kNeighbours>,
                                            .multiply = multiply_packed<Tiles>};

template <class Tiles>
constexpr Kernel kernel_of(const char* name, const char* (*refusal)(), const WaysOfFewRows& few_rows) {
  return {.name = name,
          .refusal = refusal,
          .declines = declines,
          .yields = yields_short_segments,
          .block_rows = kBlock,
          .block_cols = kBlock,
          .inner_rows = 8 * kBlock,
          .inner_cols = 2 * kBlock,
          .part_bytes = sizeof(float),
          .most_of_i8 = kMostOfInt32,
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
          .few_rows = few_rows,
          .store = avx512::store,
          .finish = avx512::finish,
          .stores = true,
          .asks_ahead = false,
          .enter = [] { Tiles::configure(kTileRows); },
          .leave = Tiles::release};
}

}  // namespace
}  // namespace ragdot::cpu::amx
