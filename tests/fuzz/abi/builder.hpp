// Legal calls in the arena, small ones, as the input chooses: the start of every mutation.
#pragma once

#include <array>
#include <cstdint>

#include "ragdot/ragdot.h"
#include "tests/fuzz/abi/arena.hpp"

namespace ragdot::fuzz {

class Builder {
 public:
  Builder(Input& in, Arena& arena);

  [[nodiscard]] ragdot_gmm_args gmm();
  [[nodiscard]] ragdot_tgmm_args tgmm();
  [[nodiscard]] ragdot_groups groups() const { return groups_; }
  [[nodiscard]] ragdot_const_view plain(std::int32_t format);
  /// Values [M, K] with scales, on per_group rows where `grouped` allows it.
  [[nodiscard]] ragdot_operand operand(bool grouped);
  [[nodiscard]] ragdot_quantized_out quantized(bool grouped);
  [[nodiscard]] ragdot_view out(std::int32_t format, std::int64_t batch, std::int64_t rows, std::int64_t cols) {
    return view<ragdot_view>(format, batch, rows, cols);
  }
  /// Powers of two, mostly in e8m0's range.
  void fill_with_powers(const ragdot_const_view& f32, std::uint8_t first);
  [[nodiscard]] std::int64_t m() const { return m_; }
  [[nodiscard]] std::int64_t k() const { return k_; }
  [[nodiscard]] std::int64_t batch() const { return batch_; }
  void set_batch(std::int64_t batch) { batch_ = batch; }

 private:
  struct Grid {
    std::int64_t block_rows = 1;
    std::int64_t block_cols = 1;
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int32_t origin = RAGDOT_ORIGIN_GLOBAL;
  };

  void build_groups();
  template <class View>
  View view(std::int32_t format, std::int64_t batch, std::int64_t rows, std::int64_t cols);
  /// `grouped`: rows are those of the groups.
  Grid grid(std::int64_t rows, std::int64_t cols, bool grouped, bool per_group);
  ragdot_operand operand(std::int32_t format, std::int64_t batch, std::int64_t rows, std::int64_t cols, bool grouped);

  static constexpr std::int64_t kMostGroups = 4;

  Input& in_;
  Arena& arena_;
  std::int64_t m_ = 0;
  std::int64_t k_ = 0;
  std::int64_t n_ = 0;
  std::int64_t local_ = 0;
  std::int64_t first_ = 0;
  std::int64_t batch_ = 1;  // of what quantisers take
  std::int64_t count_ = 0;
  std::array<std::int64_t, kMostGroups> starts_{};
  std::array<std::int64_t, kMostGroups> sizes_{};
  ragdot_groups groups_{};
};

}  // namespace ragdot::fuzz
