// The catalogue is checked to hold every identifier of fault::Id once.
#include "tests/faults/catalogue.hpp"

#include <array>

namespace ragdot::suites {
namespace {

using fault::Id;

constexpr auto kFaults = std::to_array<Fault>({
    // codecs
    {Id::subnormals_flushed_in_decode, "subnormals_flushed_in_decode", "", "FP8 subnormals decode to zero"},
    {Id::ties_away_in_codec, "ties_away_in_codec", "", "values halfway between two codes round away from zero"},
    {Id::e4m3_overflows_to_nan, "e4m3_overflows_to_nan", "", "what lies above 448 becomes NaN instead of 448"},
    {Id::bf16_nan_rounded, "bf16_nan_rounded", "", "NaN is rounded to bf16 as a number is"},
    // schedule
    {Id::segments_ignore_lhs_grid, "segments_ignore_lhs_grid", "", "segments are cut by the rhs grid alone"},
    {Id::segments_ignore_rhs_grid, "segments_ignore_rhs_grid", "", "segments are cut by the lhs grid alone"},
    {Id::phase_dropped, "phase_dropped", "", "a group's place inside a global scale block is ignored"},
    {Id::cuts_ignore_phase, "cuts_ignore_phase", "", "segments are cut as if every group began a scale block"},
    {Id::per_group_base_dropped, "per_group_base_dropped", "", "every group reads the scale rows of the first"},
    {Id::short_block_has_no_scale_row, "short_block_has_no_scale_row", "", "the last, short block of a group has no scale row"},
    {Id::last_column_tile_dropped, "last_column_tile_dropped", "", "the item list ends before the last column tile of a group"},
    {Id::item_runs_for_its_neighbour, "item_runs_for_its_neighbour", "", "every second item computes the tile before its own"},
    // threads
    {Id::last_item_dropped, "last_item_dropped", "", "the last item of a call is not computed"},
    {Id::item_run_twice, "item_run_twice", "", "every item is computed twice"},
    {Id::scratch_shared, "scratch_shared", "", "all threads pack into one scratch area"},
    // scales
    {Id::first_scale_for_all_segments, "first_scale_for_all_segments", "", "all segments take the first one's scales"},
    {Id::scale_of_previous_segment, "scale_of_previous_segment", "", "a segment takes the scales of the one before"},
    {Id::scale_of_wrong_group, "scale_of_wrong_group", "", "weights take the scales of the group before"},
    {Id::scale_product_in_double, "scale_product_in_double", "", "the product of both scales is not rounded to f32"},
    {Id::lhs_scale_forgotten, "lhs_scale_forgotten", "", "lhs scales count as 1"},
    {Id::rhs_scale_of_first_column, "rhs_scale_of_first_column", "", "all columns of a tile take the first one's rhs scale"},
    {Id::scale_run_from_block_start, "scale_run_from_block_start", "",
     "a tile that begins inside a scale block counts the block from there"},
    {Id::rhs_scale_rows_of_lhs, "rhs_scale_rows_of_lhs", "", "tgmm's rhs takes the scale rows of the lhs"},
    {Id::e8m0_bias_off_by_one, "e8m0_bias_off_by_one", "", "e8m0 codes stand for half their value"},
    {Id::i8_scale_nan_is_inf, "i8_scale_nan_is_inf", "", "e8m0 code 255 is Inf where it scales int8 sums"},
    // operands
    {Id::last_depth_element_dropped, "last_depth_element_dropped", "", "the last element of the reduction axis is left out"},
    {Id::boundary_row_counted_twice, "boundary_row_counted_twice", "", "the row behind a group counts to it too"},
    {Id::first_row_of_group_skipped, "first_row_of_group_skipped", "", "the first row of a group is left out"},
    {Id::weights_of_previous_group, "weights_of_previous_group", "", "a group is multiplied with the weights before its own"},
    // packed weights
    {Id::packed_tail_columns_dense, "packed_tail_columns_dense", "",
     "the last columns are packed without the rest of their block"},
    {Id::packed_scales_of_first_matrix, "packed_scales_of_first_matrix", "", "all packed matrices hold the first one's scales"},
    {Id::packed_matrices_overlap, "packed_matrices_overlap", "",
     "a packed matrix is looked for without the last column block of those before"},
    // reduction
    {Id::odd_chain_before_even, "odd_chain_before_even", "", "the chains of a chunk are added one after the other"},
    {Id::one_chain_per_chunk, "one_chain_per_chunk", "", "a chunk is one chain instead of two"},
    {Id::chunk_of_64, "chunk_of_64", "", "chunks have 64 elements"},
    {Id::chunks_from_axis_start, "chunks_from_axis_start", "", "reduction tiles start new chunks in the middle of one"},
    {Id::bf16_accumulation, "bf16_accumulation", "", "block sums are kept in bf16"},
    {Id::segments_added_unfused, "segments_added_unfused", "", "a segment is added by a multiply and an add"},
    {Id::float_environment_not_set, "float_environment_not_set", "", "the caller's rounding mode and subnormals are used"},
    // portable
    {Id::portable_part_restarted, "portable_part_restarted", "portable",
     "a segment that two reduction tiles share begins again in the second"},
    {Id::portable_e8m0_nan_is_inf, "portable_e8m0_nan_is_inf", "portable", "e8m0 code 255 is a power of two"},
    {Id::portable_fold_keeps_subnormals, "portable_fold_keeps_subnormals", "portable",
     "folded values below bf16's normal range are kept"},
    // vectors of f32 and int16 pairs
    {Id::chains_carry_dropped, "chains_carry_dropped", "avx2", "a segment begins again with every visit of its block"},
    {Id::run_scales_stand_still, "run_scales_stand_still", "avx2",
     "segments of one element all take the first one's column scales"},
    {Id::row_scales_taken_alike, "row_scales_taken_alike", "avx2",
     "all rows of a block take the first one's scale in segments of one element"},
    {Id::vector_e8m0_nan_is_inf, "vector_e8m0_nan_is_inf", "avx2", "e8m0 code 255 is a power of two"},
    {Id::code_0_in_one_step, "code_0_in_one_step", "avx2", "e8m0 code 0 is a subnormal factor, which counts as zero"},
    {Id::i8_odd_depth_repeated, "i8_odd_depth_repeated", "avx2", "the last int8 of an odd segment counts twice"},
    {Id::avx2_nan_code_is_480, "avx2_nan_code_is_480", "avx2", "e4m3's NaN decodes as the number that would stand there"},
    {Id::avx2_bf16_ties_up, "avx2_bf16_ties_up", "avx2", "bf16 outputs halfway between two values round up"},
    {Id::avx2_last_column_unstored, "avx2_last_column_unstored", "avx2", "the last column of a narrow tile is not written"},
    {Id::avx2_transpose_rows_exchanged, "avx2_transpose_rows_exchanged", "avx2",
     "transposed operands have pairs of lines exchanged"},
    {Id::avx512_last_even_in_odd_chain, "avx512_last_even_in_odd_chain", "avx512",
     "the last element of an odd chunk goes to the odd chain"},
    {Id::avx512_last_column_unstored, "avx512_last_column_unstored", "avx512",
     "the last column of a narrow tile is not written"},
    {Id::avx512_second_line_not_streamed, "avx512_second_line_not_streamed", "avx512",
     "of two lines of a large out the second is not written"},
    {Id::chains_rest_unstored, "chains_rest_unstored", "avx512", "columns behind the last whole strip are not written"},
    // granules of bf16 pairs
    {Id::table_of_lower_codes, "table_of_lower_codes", "amx_standin", "codes above 63 decode with low bytes of those below"},
    {Id::granule_depth_tail_unmasked, "granule_depth_tail_unmasked", "amx_standin",
     "what lies behind the reduction axis is packed along"},
    {Id::granule_transpose_rows_exchanged, "granule_transpose_rows_exchanged", "amx_standin",
     "transposed operands have rows exchanged"},
    {Id::granule_scale_dropped, "granule_scale_dropped", "amx_standin",
     "an e8m0 scale that a whole granule shares counts as 1"},
    {Id::granule_scale_change_missed, "granule_scale_change_missed", "amx_standin",
     "an e8m0 scale that changes inside a granule is taken for all of it"},
    {Id::far_codes_folded_as_near, "far_codes_folded_as_near", "amx_standin",
     "scales that leave bf16's range move the exponent all the same"},
    {Id::bf16_last_pair_dropped, "bf16_last_pair_dropped", "avx512bf16", "the last pair of a chunk is left out"},
    {Id::first_granule_for_all_rows, "first_granule_for_all_rows", "avx512bf16",
     "rows behind the 32nd are those of the first granule"},
    {Id::quads_first_starts_for_all_turns, "quads_first_starts_for_all_turns", "avx512",
     "128 times the first turn's columns is taken away from the sums of all turns"},
    {Id::quads_last_dropped, "quads_last_dropped", "avx512", "the last four int8 of a segment are left out"},
    // few rows
    {Id::few_rows_last_even_in_odd_chain, "few_rows_last_even_in_odd_chain", "avx512",
     "few rows: the last element of an odd chunk goes to the odd chain"},
    {Id::few_rows_second_block_is_the_first, "few_rows_second_block_is_the_first", "avx512",
     "few rows: the second of two blocks of packed weights is the first one again"},
    {Id::few_rows_first_scale_for_all_depths, "few_rows_first_scale_for_all_depths", "avx512",
     "few rows: a piece's first e8m0 scale is taken for all of it"},
    {Id::packed_turns_take_first_weights, "packed_turns_take_first_weights", "avx512bf16",
     "few rows: turns that are taken together all have the first one's weights"},
    {Id::codes_first_scale_for_all_turns, "codes_first_scale_for_all_turns", "avx512bf16",
     "few rows: all turns have the first one's e8m0 scale"},
    {Id::codes_carry_out_of_order, "codes_carry_out_of_order", "avx512bf16",
     "few rows: what is carried from turn to turn is taken up with its columns exchanged"},
    {Id::columns_first_chunk_repeated, "columns_first_chunk_repeated", "avx512bf16",
     "few rows: of weights with contiguous columns a turn's first chunk is decoded for all of it"},
    {Id::column_chunks_in_order_of_lanes, "column_chunks_in_order_of_lanes", "avx512bf16",
     "a column's chunk sums are added in the order of the vectors that hold them"},
    {Id::column_carry_dropped, "column_carry_dropped", "avx512bf16",
     "few rows times a column forget the part of a segment before their reduction tile"},
    {Id::column_tail_unmasked, "column_tail_unmasked", "avx512bf16",
     "a column's last granule reads what lies behind the column"},
    {Id::pair_chunks_take_first_rows, "pair_chunks_take_first_rows", "avx512bf16",
     "packed bf16 weights of all chunks of a turn are multiplied by the first chunk of lhs"},
    {Id::run_sums_in_order_of_pairs, "run_sums_in_order_of_pairs", "avx512bf16",
     "few rows times contiguous rows of FP8 leave their sums in the order in which codes become pairs"},
    {Id::run_carry_dropped, "run_carry_dropped", "avx512bf16",
     "few rows times contiguous rows forget the part of a segment before their reduction tile"},
    {Id::run_scale_of_first_columns, "run_scale_of_first_columns", "avx512bf16",
     "contiguous rows of FP8 are decoded with the e8m0 scale of their first columns"},
    // tiles
    {Id::amx_last_block_unsettled, "amx_last_block_unsettled", "amx_standin",
     "the sums of the last block stay in the tile registers"},
    {Id::amx_later_tiles_set, "amx_later_tiles_set", "amx_standin", "each reduction tile sets the sums that it should add to"},
    {Id::amx_row_17_forgotten, "amx_row_17_forgotten", "amx_standin", "17 rows are taken for one tile of 16"},
    {Id::amx_carry_dropped, "amx_carry_dropped", "amx_standin", "a segment begins again with every visit of its block"},
    {Id::amx_waiting_segment_forgotten, "amx_waiting_segment_forgotten", "amx_standin",
     "a segment that waits for the next one is not added with it"},
    {Id::amx_weights_of_next_turn, "amx_weights_of_next_turn", "amx_standin",
     "few rows are multiplied with packed weights decoded for the next turn"},
    {Id::amx_col_scales_of_first_segment, "amx_col_scales_of_first_segment", "amx_standin",
     "all segments take the first one's column scales"},
    {Id::amx_column_tail_unstored, "amx_column_tail_unstored", "amx_standin",
     "columns behind the last whole block are not written"},
    {Id::amx_tiles_left_at_few_rows, "amx_tiles_left_at_few_rows", "amx_standin",
     "behind a product of few rows the tiles stay set to as many"},
    // out
    {Id::tail_included, "tail_included", "", "the last group runs to the end of the rows"},
    {Id::empty_group_unwritten, "empty_group_unwritten", "", "the slab of an empty group keeps what it held"},
    {Id::rows_outside_unwritten, "rows_outside_unwritten", "", "rows of no group keep what they held"},
    {Id::rows_outside_touched, "rows_outside_touched", "", "rows outside are zeroed where they should be left"},
    {Id::truncated_output, "truncated_output", "", "half-width outputs are truncated instead of rounded"},
    {Id::negative_zero_kept, "negative_zero_kept", "", "a zero result keeps its sign"},
    {Id::accumulate_overwrites, "accumulate_overwrites", "", "accumulation overwrites"},
    {Id::bias_after_activation, "bias_after_activation", "", "bias is added behind the activation"},
    {Id::bias_of_first_lanes, "bias_of_first_lanes", "avx2", "every vector of a row takes the bias of the first"},
    {Id::finish_tail_unwritten, "finish_tail_unwritten", "avx2", "a row's last column is not written behind an activation"},
    {Id::tanh_series_everywhere, "tanh_series_everywhere", "", "tanh takes the series that holds near zero for all numbers"},
    {Id::bias_of_first_group, "bias_of_first_group", "", "every group takes the first one's bias"},
    // validation
    {Id::overlap_of_one_byte_missed, "overlap_of_one_byte_missed", "", "out may share its first or last byte with an input"},
    {Id::negative_size_accepted, "negative_size_accepted", "", "a group may have a negative size"},
    {Id::sum_one_above_rows_accepted, "sum_one_above_rows_accepted", "",
     "group sizes may add up to one more than there are rows"},
    {Id::falling_ends_accepted, "falling_ends_accepted", "", "a group may end before it begins"},
    {Id::strict_ignored, "strict_ignored", "", "strict calls take any scale"},
    {Id::stride_one_short_accepted, "stride_one_short_accepted", "", "a row may overlap the next by one element"},
    {Id::scale_columns_unchecked, "scale_columns_unchecked", "", "any number of scale columns is accepted"},
    {Id::inner_sizes_unchecked, "inner_sizes_unchecked", "", "lhs and rhs of gmm may differ in K"},
    {Id::workspace_one_short_accepted, "workspace_one_short_accepted", "", "a workspace may lack one byte"},
    // plans
    {Id::forced_kernel_ignored, "forced_kernel_ignored", "", "the best kernel is taken whatever is forced"},
    {Id::plan_takes_more_rows, "plan_takes_more_rows", "", "a plan runs calls with more rows than it was made for"},
    {Id::plan_forgets_activation, "plan_forgets_activation", "", "a plan does not tell activations apart"},
    // quantisers
    {Id::amax_misses_last_row, "amax_misses_last_row", "", "the last row of a band is not measured"},
    {Id::inf_counts_in_amax, "inf_counts_in_amax", "", "Inf counts as the largest magnitude of its block"},
    {Id::shared_amax_overwritten, "shared_amax_overwritten", "",
     "threads that measure one block overwrite each other's maximum"},
    {Id::zero_block_has_smallest_scale, "zero_block_has_smallest_scale", "",
     "blocks of zeros get the smallest scale instead of 1"},
    {Id::bf16_scale_rounded_down, "bf16_scale_rounded_down", "", "bf16 scales are rounded down"},
    {Id::pow2_scale_rounded_down, "pow2_scale_rounded_down", "", "powers of two are rounded down"},
    {Id::mx_exponent_of_e4m3, "mx_exponent_of_e4m3", "", "recipe mx takes e4m3's largest exponent for e5m2"},
    {Id::i8_reaches_minus_128, "i8_reaches_minus_128", "", "int8 saturates at -128"},
    {Id::avx2_quantiser_unsaturated, "avx2_quantiser_unsaturated", "avx2",
     "quotients above the format's range are not saturated"},
    {Id::vector_quantiser_tail_dropped, "vector_quantiser_tail_dropped", "avx2",
     "the end of a row that fills no vector is not encoded"},
    {Id::quantiser_odd_factors_are_even, "quantiser_odd_factors_are_even", "avx2",
     "bf16 elements in odd places take the factors of those before them"},
    {Id::sign_of_given_scale_ignored, "sign_of_given_scale_ignored", "avx2",
     "codes keep the sign of bf16 elements under negative given scales"},
    {Id::given_scales_read_once, "given_scales_read_once", "", "given scales are read for the first rows alone"},
    {Id::input_scales_of_first_row, "input_scales_of_first_row", "",
     "scaled inputs are read with the scales of their group's first row"},
    {Id::empty_group_has_no_scale_row, "empty_group_has_no_scale_row", "",
     "a group without rows takes no scale row of a whole-axis grid"},
    {Id::quantiser_leaves_rows_outside, "quantiser_leaves_rows_outside", "", "rows of no group keep what they held"},
    {Id::last_tile_unwritten, "last_tile_unwritten", "", "the last rows of a transposed copy are not written"},
    {Id::quantiser_flushes_subnormals, "quantiser_flushes_subnormals", "", "subnormal inputs and quotients count as zero"},
    {Id::claimed_task_dropped, "claimed_task_dropped", "", "what a thread has claimed early is not done"},
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
