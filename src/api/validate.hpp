// Every rule of what a legal call is, and the sentence a caller gets who breaks one. Nothing is written before these pass.
#pragma once

#include <cstdint>
#include <span>

#include "ragdot/gmm.hpp"
#include "ragdot/quantize.hpp"
#include "ragdot/tgmm.hpp"
#include "schedule/rows.hpp"

namespace ragdot::api {

/// Rules that need neither pointers nor group numbers: enums, formats, dimensions, strides, grids, tiling. Enough for a plan.
[[nodiscard]] Status check_shapes(const GmmArgs& args, const Options& options);
[[nodiscard]] Status check_shapes(const TgmmArgs& args, const Options& options);

/// Groups of a call are fewer than this: it keeps tables of ranges and of work, in bytes, far within int64.
inline constexpr std::int64_t kGroupsEnd = std::int64_t{1} << 50;

/// Makes the values of a packed rhs in caller's memory a dense view of it. Refuses columns that are no whole blocks.
[[nodiscard]] Status make_dense(ConstView& values);

/// Form, index type and count of `groups`, not the numbers. `op` starts the sentence.
[[nodiscard]] Status check_groups(const char* op, const Groups& groups);

/// Null pointers where `groups` has numbers, and addresses beyond the address space. Reads none of them.
[[nodiscard]] Status check_group_data(const char* op, const Groups& groups);

/// Reads `groups` (any of the four forms) into out[0 .. G): checks null, negative, unordered, overlapping, overflowing and
/// out-of-range numbers against `rows`. Does what check_groups does first.
[[nodiscard]] Status read_groups(const char* op, const Groups& groups, std::int64_t rows, std::span<RowRange> out);

/// Numbers of a group array as a view: only its bytes matter.
[[nodiscard]] ConstView index_view(const Groups& groups, const void* data, std::int64_t count);

/// What of the group metadata shares a byte with `view`, in words, or null: "the group numbers", "the group sizes".
[[nodiscard]] const char* overlapped_numbers(const Groups& groups, const ConstView& view);

/// Rules that need pointers, none of which is followed: null data, that of groups first, overlap of out with an input.
[[nodiscard]] Status check_memory(const GmmArgs& args);
[[nodiscard]] Status check_memory(const TgmmArgs& args);

/// Behind check_memory: a caller's workspace shares no memory with out and the inputs.
[[nodiscard]] Status check_workspace(const GmmArgs& args, std::span<const std::byte> workspace);
[[nodiscard]] Status check_workspace(const TgmmArgs& args, std::span<const std::byte> workspace);

/// Rules that need group numbers, behind check_memory: per_group scale rows, strict scales.
[[nodiscard]] Status check_scales(const GmmArgs& args, std::span<const RowRange> groups, Strictness strictness);
[[nodiscard]] Status check_scales(const TgmmArgs& args, std::span<const RowRange> groups, Strictness strictness);

}  // namespace ragdot::api
