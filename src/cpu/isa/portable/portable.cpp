// The portable kernel: the reduction order on any x86-64, without FMA instructions. Every other kernel must give its bits.
#include "cpu/isa/portable/portable.hpp"

#include "cpu/isa/portable/multiply.hpp"
#include "cpu/isa/portable/pack.hpp"

namespace ragdot::cpu::portable {
namespace {

using fault::Id;

std::int64_t panel_bytes(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth) {
  const std::int64_t widest = std::max(kBlockRows, kBlockCols);
  return schedule::ceil_div(outers, widest) * widest * depth *
         static_cast<std::int64_t>(arithmetic == Arithmetic::wide ? sizeof(double) : sizeof(float));
}

/// acc = fma(row scale * column scale, p, acc), or acc = p where nothing is scaled.
void finish_segment(const MultiplyJob& job, std::int64_t row, std::int64_t col, const BlockSums& p) {
  for (std::int64_t r = 0; r < kBlockRows; ++r) {
    float* acc = job.acc + (row + r) * job.ld + col;
    if (job.row_scales == nullptr) {
      std::memcpy(acc, &p[r], sizeof p[r]);
      continue;
    }
    const float row_scale = job.row_scales[row + r];
    const float* col_scales = job.col_scales + col;
    for (std::int64_t c = 0; c < kBlockCols; ++c) {
      const float scale = row_scale * col_scales[c];
      if (fault::on(Id::segments_added_unfused)) {
        const float product = scale * p[r][c];
        acc[c] = acc[c] + product;
      } else if (fault::on(Id::scale_product_in_double)) {
        acc[c] = static_cast<float>(static_cast<double>(row_scale) * static_cast<double>(col_scales[c]) *
                                        static_cast<double>(p[r][c]) +
                                    static_cast<double>(acc[c]));
      } else {
        acc[c] = fma_f32(scale, p[r][c], acc[c]);
      }
    }
  }
}

void load_part(const MultiplyJob& job, std::int64_t row, std::int64_t col, double (&p)[kBlockRows][kBlockCols]) {
  for (std::int64_t r = 0; r < kBlockRows; ++r) std::memcpy(&p[r], job.part + (row + r) * job.ld + col, sizeof p[r]);
}

void store_part(const MultiplyJob& job, std::int64_t row, std::int64_t col, const double (&p)[kBlockRows][kBlockCols]) {
  for (std::int64_t r = 0; r < kBlockRows; ++r) std::memcpy(job.part + (row + r) * job.ld + col, &p[r], sizeof p[r]);
}

template <class To, class From>
void convert(const From (&from)[kBlockRows][kBlockCols], To (&to)[kBlockRows][kBlockCols]) {
  for (int r = 0; r < kBlockRows; ++r) {
    for (int c = 0; c < kBlockCols; ++c) to[r][c] = static_cast<To>(from[r][c]);
  }
}

template <class Chain>
void block(const MultiplyJob& job, std::int64_t row, std::int64_t col, const typename Chain::Element* lhs,
           const typename Chain::Element* rhs) {
  double part[kBlockRows][kBlockCols] = {};
  BlockSums p = {};
  if (!job.piece.first) {
    load_part(job, row, col, part);
    convert(part, p);
  }
  add_chunks<Chain>(lhs, rhs, job.piece.depth(), p);
  if (job.piece.last) {
    finish_segment(job, row, col, p);
  } else {
    convert(p, part);
    store_part(job, row, col, part);
  }
}

void integer_block(const MultiplyJob& job, std::int64_t row, std::int64_t col, const float* lhs, const float* rhs) {
  double part[kBlockRows][kBlockCols] = {};
  if (!job.piece.first) load_part(job, row, col, part);
  add_integers(lhs, rhs, job.piece.depth(), part);
  if (!job.piece.last) return store_part(job, row, col, part);
  BlockSums p;
  convert(part, p);
  finish_segment(job, row, col, p);
}

template <class Element, class Block>
void for_blocks(const MultiplyJob& job, Block block) {
  const auto* lhs = reinterpret_cast<const Element*>(job.lhs_panel) + job.piece_offset * kBlockRows;
  const auto* rhs = reinterpret_cast<const Element*>(job.rhs_panel) + job.piece_offset * kBlockCols;
  for (std::int64_t col = 0; col < job.cols; col += kBlockCols) {
    for (std::int64_t row = 0; row < job.rows; row += kBlockRows) {
      block(job, row, col, lhs + row * job.panel_depth, rhs + col * job.panel_depth);
    }
  }
}

void multiply(const MultiplyJob& job) {
  switch (job.arithmetic) {
    case Arithmetic::fp8: return for_blocks<float>(job, block<Fp8Chain>);
    case Arithmetic::wide: return for_blocks<double>(job, block<WideChain>);
    case Arithmetic::f32: return for_blocks<float>(job, block<F32Chain>);
    case Arithmetic::i8: return for_blocks<float>(job, integer_block);
  }
}

}  // namespace

constinit const Kernel kKernel = {
    .name = "portable",
    .refusal = []() -> const char* { return nullptr; },
    .block_rows = kBlockRows,
    .block_cols = kBlockCols,
    .panel_bytes = panel_bytes,
    .pack_lhs = pack<kBlockRows>,
    .pack_rhs = pack<kBlockCols>,
    .multiply = multiply,
};

}  // namespace ragdot::cpu::portable
