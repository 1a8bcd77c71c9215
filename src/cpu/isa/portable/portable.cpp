// The portable kernel: the reduction order on any x86-64, without FMA instructions. Every other kernel must give its bits.
#include "cpu/isa/portable/portable.hpp"

#include "cpu/isa/portable/multiply.hpp"
#include "cpu/isa/portable/pack.hpp"

namespace ragdot::cpu::portable {
namespace {

using fault::Id;

/// One piece of a job.
struct Stage {
  const MultiplyJob& job;
  schedule::Piece piece;
  std::int64_t panel_depth = 0;  // of all pieces
  std::int64_t offset = 0;       // of the pieces before
  bool sets = false;             // acc holds nothing yet
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;

  /// Where the sums of a register block start in acc and in part; its rows are kBlockCols apart.
  [[nodiscard]] std::int64_t at(std::int64_t row, std::int64_t col) const { return col * job.strip_rows + row * kBlockCols; }
};

std::int64_t panel_bytes(Arithmetic arithmetic, std::int64_t outers, std::int64_t depth) {
  const std::int64_t widest = std::max(kBlockRows, kBlockCols);
  return schedule::ceil_div(outers, widest) * widest * depth *
         static_cast<std::int64_t>(arithmetic == Arithmetic::wide ? sizeof(double) : sizeof(float));
}

/// acc = fma(row scale * column scale, p, acc), or acc = p where nothing is scaled.
void finish_segment(const Stage& stage, std::int64_t row, std::int64_t col, const BlockSums& p) {
  float* acc = stage.job.acc + stage.at(row, col);
  for (std::int64_t r = 0; r < kBlockRows; ++r, acc += kBlockCols) {
    if (stage.row_scales == nullptr) {
      std::memcpy(acc, &p[r], sizeof p[r]);
      continue;
    }
    const float row_scale = stage.row_scales[row + r];
    const float* col_scales = stage.col_scales + col;
    for (std::int64_t c = 0; c < kBlockCols; ++c) {
      const float scale = row_scale * col_scales[c];
      const float before = stage.sets ? 0.0F : acc[c];
      if (fault::on(Id::segments_added_unfused)) {
        const float product = scale * p[r][c];
        acc[c] = before + product;
      } else if (fault::on(Id::scale_product_in_double)) {
        acc[c] = static_cast<float>(static_cast<double>(row_scale) * static_cast<double>(col_scales[c]) *
                                        static_cast<double>(p[r][c]) +
                                    static_cast<double>(before));
      } else {
        acc[c] = fma_f32(scale, p[r][c], before);
      }
    }
  }
}

using Part = double[kBlockRows][kBlockCols];

void load_part(const Stage& stage, std::int64_t row, std::int64_t col, Part& p) {
  std::memcpy(&p, reinterpret_cast<const double*>(stage.job.part) + stage.at(row, col), sizeof p);
}

void store_part(const Stage& stage, std::int64_t row, std::int64_t col, const Part& p) {
  std::memcpy(reinterpret_cast<double*>(stage.job.part) + stage.at(row, col), &p, sizeof p);
}

template <class To, class From>
void convert(const From (&from)[kBlockRows][kBlockCols], To (&to)[kBlockRows][kBlockCols]) {
  for (int r = 0; r < kBlockRows; ++r) {
    for (int c = 0; c < kBlockCols; ++c) to[r][c] = static_cast<To>(from[r][c]);
  }
}

template <class Chain>
void block(const Stage& stage, std::int64_t row, std::int64_t col, const typename Chain::Element* lhs,
           const typename Chain::Element* rhs) {
  Part part = {};
  BlockSums p = {};
  if (!stage.piece.first && !fault::on(Id::portable_part_restarted)) {
    load_part(stage, row, col, part);
    convert(part, p);
  }
  add_chunks<Chain>(lhs, rhs, stage.piece.depth(), p);
  if (stage.piece.last) {
    finish_segment(stage, row, col, p);
  } else {
    convert(p, part);
    store_part(stage, row, col, part);
  }
}

void integer_block(const Stage& stage, std::int64_t row, std::int64_t col, const float* lhs, const float* rhs) {
  Part part = {};
  if (!stage.piece.first) load_part(stage, row, col, part);
  add_integers(lhs, rhs, stage.piece.depth(), part);
  if (!stage.piece.last) return store_part(stage, row, col, part);
  BlockSums p;
  convert(part, p);
  finish_segment(stage, row, col, p);
}

template <class Element, class Block>
void for_blocks(const Stage& stage, Block block) {
  const auto* lhs = reinterpret_cast<const Element*>(stage.job.lhs_panel) + stage.offset * kBlockRows;
  const auto* rhs = reinterpret_cast<const Element*>(stage.job.rhs_panel) + stage.offset * kBlockCols;
  for (std::int64_t col = 0; col < stage.job.cols; col += kBlockCols) {
    for (std::int64_t row = 0; row < stage.job.rows; row += kBlockRows) {
      block(stage, row, col, lhs + (stage.job.row + row) * stage.panel_depth, rhs + col * stage.panel_depth);
    }
  }
}

void multiply_piece(const Stage& stage) {
  switch (stage.job.arithmetic) {
    case Arithmetic::fp8: return for_blocks<float>(stage, block<Fp8Chain>);
    case Arithmetic::wide: return for_blocks<double>(stage, block<WideChain>);
    case Arithmetic::f32: return for_blocks<float>(stage, block<F32Chain>);
    case Arithmetic::i8: return for_blocks<float>(stage, integer_block);
  }
}

void multiply(const MultiplyJob& job) {
  Stage stage{job, {}, 0, 0, job.first, job.row_scales, job.col_scales};
  for (const schedule::Piece& piece : job.pieces) stage.panel_depth += piece.depth();
  for (const schedule::Piece& piece : job.pieces) {
    stage.piece = piece;
    multiply_piece(stage);
    stage.offset += piece.depth();
    if (!piece.last) continue;
    stage.sets = false;
    if (job.row_scales == nullptr) continue;
    stage.row_scales += job.row_scales_stride;
    stage.col_scales += job.col_scales_stride;
  }
}

}  // namespace

constinit const Kernel kKernel = {
    .name = "portable",
    .refusal = []() -> const char* { return nullptr; },
    .declines = nullptr,
    .yields = nullptr,
    .block_rows = kBlockRows,
    .block_cols = kBlockCols,
    .inner_rows = 256,
    .inner_cols = 256,
    .part_bytes = sizeof(double),
    .most_of_i8 = kWholeAxis,
    .depth_unit = [](Arithmetic) -> std::int64_t { return 1; },
    .panel_bytes = panel_bytes,
    .pack_lhs = pack<kBlockRows>,
    .pack_rhs = pack<kBlockCols>,
    .multiply = multiply,
    .few_rows = {},
    .store = nullptr,
    .finish = nullptr,
    .stores = false,
    .asks_ahead = false,
    .enter = nullptr,
    .leave = nullptr,
};

}  // namespace ragdot::cpu::portable
