// Planted mistakes: a test build can switch on one at a time, other builds have none. A const that on() alone decides is none.
#pragma once

#ifdef RAGDOT_FAULTS
#include <atomic>
#include <type_traits>
#endif
#ifdef RAGDOT_BLIND_TO_FAULTS
#error \
    "Objects that see format/fault.hpp cannot be shared with the program of faults: add the file to sees_faults (tests/CMakeLists.txt)"
#endif

namespace ragdot::fault {

enum class Id : int {
  none = 0,
  // codecs
  subnormals_flushed_in_decode,
  ties_away_in_codec,
  e4m3_overflows_to_nan,
  bf16_nan_rounded,
  // schedule
  segments_ignore_lhs_grid,
  segments_ignore_rhs_grid,
  phase_dropped,
  cuts_ignore_phase,
  per_group_base_dropped,
  short_block_has_no_scale_row,
  last_column_tile_dropped,
  item_runs_for_its_neighbour,
  // threads
  last_item_dropped,
  item_run_twice,
  scratch_shared,
  // scales
  first_scale_for_all_segments,
  scale_of_previous_segment,
  scale_of_wrong_group,
  scale_product_in_double,
  lhs_scale_forgotten,
  rhs_scale_of_first_column,
  scale_run_from_block_start,
  rhs_scale_rows_of_lhs,
  e8m0_bias_off_by_one,
  i8_scale_nan_is_inf,
  // operands
  last_depth_element_dropped,
  boundary_row_counted_twice,
  first_row_of_group_skipped,
  weights_of_previous_group,
  // packed weights
  packed_tail_columns_dense,
  packed_scales_of_first_matrix,
  packed_matrices_overlap,
  // reduction
  odd_chain_before_even,
  one_chain_per_chunk,
  chunk_of_64,
  chunks_from_axis_start,
  bf16_accumulation,
  segments_added_unfused,
  long_i8_sums_wrap,
  float_environment_not_set,
  // portable
  portable_part_restarted,
  portable_e8m0_nan_is_inf,
  portable_fold_keeps_subnormals,
  // vectors of f32 and int16 pairs
  chains_carry_dropped,
  run_scales_stand_still,
  row_scales_taken_alike,
  vector_e8m0_nan_is_inf,
  code_0_in_one_step,
  i8_odd_depth_repeated,
  avx2_nan_code_is_480,
  avx2_bf16_ties_up,
  avx2_last_column_unstored,
  avx2_transpose_rows_exchanged,
  avx512_last_even_in_odd_chain,
  avx512_last_column_unstored,
  avx512_second_line_not_streamed,
  chains_rest_unstored,
  // granules of bf16 pairs
  table_of_lower_codes,
  granule_depth_tail_unmasked,
  granule_transpose_rows_exchanged,
  granule_scale_dropped,
  granule_scale_change_missed,
  far_codes_folded_as_near,
  bf16_last_pair_dropped,
  first_granule_for_all_rows,
  quads_first_starts_for_all_turns,
  quads_last_dropped,
  // few rows
  few_rows_last_even_in_odd_chain,
  few_rows_second_block_is_the_first,
  few_rows_first_scale_for_all_depths,
  packed_turns_take_first_weights,
  codes_first_scale_for_all_turns,
  codes_carry_out_of_order,
  columns_first_chunk_repeated,
  column_chunks_in_order_of_lanes,
  column_carry_dropped,
  column_tail_unmasked,
  pair_chunks_take_first_rows,
  run_sums_in_order_of_pairs,
  run_carry_dropped,
  run_scale_of_first_columns,
  // tiles
  amx_last_block_unsettled,
  amx_later_tiles_set,
  amx_row_17_forgotten,
  amx_carry_dropped,
  amx_waiting_segment_forgotten,
  amx_weights_of_next_turn,
  amx_col_scales_of_first_segment,
  amx_column_tail_unstored,
  amx_tiles_left_at_few_rows,
  // out
  tail_included,
  empty_group_unwritten,
  rows_outside_unwritten,
  rows_outside_touched,
  truncated_output,
  negative_zero_kept,
  added_zeros_canonical,
  accumulate_overwrites,
  bias_after_activation,
  bias_of_first_lanes,
  finish_tail_unwritten,
  tanh_series_everywhere,
  bias_of_first_group,
  // validation
  overlap_of_one_byte_missed,
  negative_size_accepted,
  sum_one_above_rows_accepted,
  falling_ends_accepted,
  strict_ignored,
  stride_one_short_accepted,
  scale_columns_unchecked,
  inner_sizes_unchecked,
  workspace_one_short_accepted,
  workspace_overlap_accepted,
  // plans
  forced_kernel_ignored,
  plan_takes_more_rows,
  plan_forgets_activation,
  // quantisers
  amax_misses_last_row,
  inf_counts_in_amax,
  shared_amax_overwritten,
  zero_block_has_smallest_scale,
  bf16_scale_rounded_down,
  pow2_scale_rounded_down,
  mx_exponent_of_e4m3,
  i8_reaches_minus_128,
  avx2_quantiser_unsaturated,
  vector_quantiser_tail_dropped,
  quantiser_odd_factors_are_even,
  sign_of_given_scale_ignored,
  given_scales_read_once,
  input_scales_of_first_row,
  empty_group_has_no_scale_row,
  quantiser_leaves_rows_outside,
  last_tile_unwritten,
  quantiser_flushes_subnormals,
  claimed_task_dropped,
  count
};

#ifdef RAGDOT_FAULTS
inline std::atomic<int> active{0};
constexpr bool on(Id id) {
  return !std::is_constant_evaluated() && active.load(std::memory_order_relaxed) == static_cast<int>(id);
}
#else
constexpr bool on(Id) { return false; }
#endif

}  // namespace ragdot::fault
