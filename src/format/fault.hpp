// Planted mistakes for the fault suite: a test build can switch on one at a time; every other build has none of it.
#pragma once

#ifdef RAGDOT_FAULTS
#include <atomic>
#endif

namespace ragdot::fault {

enum class Id : int {
  none = 0,
  // schedule
  segments_ignore_lhs_grid,
  segments_ignore_rhs_grid,
  phase_dropped,
  per_group_base_dropped,
  // scales
  first_scale_for_all_segments,
  scale_of_previous_segment,
  scale_of_wrong_group,
  scale_product_in_double,
  lhs_scale_forgotten,
  e8m0_bias_off_by_one,
  // operands
  subnormals_flushed_in_decode,
  last_depth_element_dropped,
  boundary_row_counted_twice,
  first_row_of_group_skipped,
  weights_of_previous_group,
  rhs_scale_of_first_column,
  // reduction
  odd_chain_before_even,
  one_chain_per_chunk,
  chunk_of_64,
  chunks_from_axis_start,
  bf16_accumulation,
  segments_added_unfused,
  float_environment_not_set,
  // out
  tail_included,
  empty_group_unwritten,
  rows_outside_unwritten,
  rows_outside_touched,
  truncated_output,
  negative_zero_kept,
  accumulate_overwrites,
  bias_after_activation,
  bias_of_first_group,
  count
};

#ifdef RAGDOT_FAULTS
inline std::atomic<int> active{0};
inline bool on(Id id) { return active.load(std::memory_order_relaxed) == static_cast<int>(id); }
#else
constexpr bool on(Id) { return false; }
#endif

}  // namespace ragdot::fault
