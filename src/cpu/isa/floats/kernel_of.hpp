// The kernel over f32 panels for one set of vectors. Included inside a target region, behind all other includes.
#pragma once

#include "cpu/isa/chains/multiply.hpp"
#include "cpu/isa/floats/panels.hpp"

namespace ragdot::cpu::floats {
namespace {

/// int32 sums of i8 products are exact up to 2^31 / 2^14 terms.
inline constexpr std::int64_t kLongestI8Segment = 131071;

inline const char* declines(const Demand& demand) {
  if (demand.arithmetic == Arithmetic::i8 && demand.longest_segment > kLongestI8Segment)
    return "i8 sums of more than 131,071 products may leave int32";
  return nullptr;
}

template <class Lanes>
void multiply(const MultiplyJob& job) {
  if (job.arithmetic == Arithmetic::i8) {
    chains::multiply<I8Chain<Lanes>>(job);
  } else {
    chains::multiply<F32Chain<Lanes>>(job);
  }
}

/// What differs between the instruction sets besides the vectors.
struct Parts {
  const char* name;
  const char* (*refusal)();
  void (*pack_lhs)(const PackJob& job);
  void (*pack_rhs)(const PackJob& job);
  void (*store)(const StoreJob& job);
};

template <class Lanes>
constexpr Kernel kernel_of(const Parts& parts) {
  return {.name = parts.name,
          .refusal = parts.refusal,
          .declines = declines,
          .block_rows = chains::kMostRows,
          .block_cols = chains::kStripCols,
          .auto_tile = {258, 256, 256},
          .part_bytes = sizeof(float),
          .depth_unit = [](Arithmetic) -> std::int64_t { return 1; },
          .panel_bytes = [](Arithmetic, std::int64_t outers, std::int64_t depth) { return FloatPanels::bytes(outers, depth); },
          .pack_lhs = parts.pack_lhs,
          .pack_rhs = parts.pack_rhs,
          .multiply = multiply<Lanes>,
          .store = parts.store,
          .enter = nullptr,
          .leave = nullptr};
}

}  // namespace
}  // namespace ragdot::cpu::floats
