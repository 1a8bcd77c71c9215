// What the kernels over dword panels have in common: f32 values, and pairs of int16 for i8.
// A kernel includes this file inside its target region, behind all other includes.
#pragma once

#include "cpu/isa/chains/multiply.hpp"
#include "cpu/isa/chains/panels.hpp"

namespace ragdot::cpu::chains {
namespace {

inline std::int64_t depth_unit(Arithmetic arithmetic) { return arithmetic == Arithmetic::i8 ? 2 : 1; }

inline std::int64_t panel_bytes(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth) {
  return arithmetic == Arithmetic::i8 ? DwordPanels<2>::bytes(outers, depth) : DwordPanels<1>::bytes(outers, depth);
}

/// What differs between the instruction sets besides the vectors.
struct Parts {
  const char* name;
  std::int64_t block_rows;
  const char* (*refusal)();
  void (*pack_lhs)(const PackJob& job);
  void (*pack_rhs)(const PackJob& job);
  void (*multiply)(const MultiplyJob& job);
  void (*store)(const StoreJob& job);
  void (*finish)(const FinishJob& job);
  bool stores;
  WaysOfFewRows few_rows;
  std::int64_t (*depth_unit)(Arithmetic arithmetic) = chains::depth_unit;
  std::int64_t (*panel_bytes)(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth) = chains::panel_bytes;
};

constexpr Kernel kernel_of(const Parts& parts) {
  return {.name = parts.name,
          .refusal = parts.refusal,
          .declines = nullptr,
          .yields = nullptr,
          .block_rows = parts.block_rows,
          .block_cols = kStripCols,
          .inner_rows = kInnerRows,
          .inner_cols = kInnerCols,
          .part_bytes = sizeof(float),
          .most_of_i8 = kMostOfInt32,
          .depth_unit = parts.depth_unit,
          .panel_bytes = parts.panel_bytes,
          .pack_lhs = parts.pack_lhs,
          .pack_rhs = parts.pack_rhs,
          .multiply = parts.multiply,
          .few_rows = parts.few_rows,
          .store = parts.store,
          .finish = parts.finish,
          .stores = parts.stores,
          .asks_ahead = true,
          .enter = nullptr,
          .leave = nullptr};
}

}  // namespace
}  // namespace ragdot::cpu::chains
