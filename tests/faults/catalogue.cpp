// The catalogue is checked to hold every identifier of fault::Id once.
#include "tests/faults/catalogue.hpp"

#include <array>

namespace ragdot::suites {
namespace {

using fault::Id;

constexpr auto kFaults = std::to_array<Fault>({
    {Id::segments_ignore_lhs_grid, "segments_ignore_lhs_grid", "segments are cut by the rhs grid alone"},
    {Id::segments_ignore_rhs_grid, "segments_ignore_rhs_grid", "segments are cut by the lhs grid alone"},
    {Id::phase_dropped, "phase_dropped", "a group's place inside a global scale block is ignored"},
    {Id::per_group_base_dropped, "per_group_base_dropped", "every group reads the scale rows of the first"},
    {Id::first_scale_for_all_segments, "first_scale_for_all_segments", "all segments take the first one's scales"},
    {Id::scale_of_previous_segment, "scale_of_previous_segment", "a segment takes the scales of the one before"},
    {Id::scale_of_wrong_group, "scale_of_wrong_group", "weights take the scales of the group before"},
    {Id::scale_product_in_double, "scale_product_in_double", "the product of both scales is not rounded to f32"},
    {Id::lhs_scale_forgotten, "lhs_scale_forgotten", "lhs scales count as 1"},
    {Id::e8m0_bias_off_by_one, "e8m0_bias_off_by_one", "e8m0 codes stand for half their value"},
    {Id::subnormals_flushed_in_decode, "subnormals_flushed_in_decode", "FP8 subnormals decode to zero"},
    {Id::last_depth_element_dropped, "last_depth_element_dropped", "the last element of the reduction axis is left out"},
    {Id::boundary_row_counted_twice, "boundary_row_counted_twice", "the row behind a group counts to it too"},
    {Id::first_row_of_group_skipped, "first_row_of_group_skipped", "the first row of a group is left out"},
    {Id::weights_of_previous_group, "weights_of_previous_group", "a group is multiplied with the weights before its own"},
    {Id::rhs_scale_of_first_column, "rhs_scale_of_first_column", "all columns of a tile take the first one's rhs scale"},
    {Id::odd_chain_before_even, "odd_chain_before_even", "the chains of a chunk are added one after the other"},
    {Id::one_chain_per_chunk, "one_chain_per_chunk", "a chunk is one chain instead of two"},
    {Id::chunk_of_64, "chunk_of_64", "chunks have 64 elements"},
    {Id::chunks_from_axis_start, "chunks_from_axis_start", "reduction tiles start new chunks in the middle of one"},
    {Id::bf16_accumulation, "bf16_accumulation", "block sums are kept in bf16"},
    {Id::segments_added_unfused, "segments_added_unfused", "a segment is added by a multiply and an add"},
    {Id::float_environment_not_set, "float_environment_not_set", "the caller's rounding mode and subnormals are used"},
    {Id::tail_included, "tail_included", "the last group runs to the end of the rows"},
    {Id::empty_group_unwritten, "empty_group_unwritten", "the slab of an empty group keeps what it held"},
    {Id::rows_outside_unwritten, "rows_outside_unwritten", "rows of no group keep what they held"},
    {Id::rows_outside_touched, "rows_outside_touched", "rows outside are zeroed where they should be left"},
    {Id::truncated_output, "truncated_output", "half-width outputs are truncated instead of rounded"},
    {Id::negative_zero_kept, "negative_zero_kept", "a zero result keeps its sign"},
    {Id::accumulate_overwrites, "accumulate_overwrites", "accumulation overwrites"},
    {Id::bias_after_activation, "bias_after_activation", "bias is added behind the activation"},
    {Id::bias_of_first_group, "bias_of_first_group", "every group takes the first one's bias"},
});

static_assert(kFaults.size() + 1 == static_cast<std::size_t>(Id::count));

constexpr bool in_order() {
  for (std::size_t i = 0; i < kFaults.size(); ++i) {
    if (kFaults[i].id != static_cast<Id>(i + 1)) return false;
  }
  return true;
}
static_assert(in_order());

}  // namespace

std::span<const Fault> fault_catalogue() { return kFaults; }

}  // namespace ragdot::suites
