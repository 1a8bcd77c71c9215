// Where ways of few rows keep their sums: as kernels with panels do, in strips of acc and part.
#pragma once

#include <cstdint>

#include "cpu/isa/avx512/floats.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

/// The sums of one product, by vectors: of a row, the 16 columns from `col` on.
class StripSums {
 public:
  explicit StripSums(const MultiplyJob& job)
      : job_(job), scaled_(job.row_scales != nullptr), carried_(scaled_ ? reinterpret_cast<float*>(job.part) : job.acc) {}

  /// What an earlier piece left of the segment that this one goes on with.
  [[nodiscard]] Floats::Vector carried(std::int64_t row, std::int64_t col) const {
    return Floats::load(carried_ + place(row, col));
  }

  /// Adds what a segment came to, the job's number `ended`, or keeps what there is of it.
  void end(const schedule::Piece& piece, std::int64_t ended, std::int64_t row, std::int64_t col, Floats::Vector p) const {
    const std::int64_t at = place(row, col);
    if (!piece.last || !scaled_) return Floats::store(carried_ + at, p);
    const auto scale = Floats::mul(Floats::spread(job_.row_scales + ended * job_.row_scales_stride + row),
                                   Floats::load(job_.col_scales + ended * job_.col_scales_stride + col));
    const auto before = job_.first && ended == 0 ? Floats::zero() : Floats::load(job_.acc + at);
    Floats::store(job_.acc + at, Floats::fma(scale, p, before));
  }

 private:
  [[nodiscard]] std::int64_t place(std::int64_t row, std::int64_t col) const {
    return col / kStripCols * kStripCols * job_.strip_rows + row * kStripCols + col % kStripCols;
  }

  const MultiplyJob& job_;
  const bool scaled_;
  float* const carried_;
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
