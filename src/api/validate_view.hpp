// The rules that every view keeps, whichever call it belongs to, and how views are written in sentences.
#pragma once

#include <cstdint>
#include <string>

#include "ragdot/execution.hpp"
#include "ragdot/status.hpp"
#include "ragdot/view.hpp"

namespace ragdot::api {

/// What starts a sentence: the operation and the operand, "gmm" and "rhs scales".
struct Subject {
  const char* op;
  const char* what;
};

/// matrix: [rows, cols], its batch is 1. batch: [batch, rows, cols].
enum class Rank : std::int32_t { matrix, batch };

/// "[7168, 4096]" or "[8, 7168, 4096]".
[[nodiscard]] std::string shape_text(const ConstView& view, Rank rank);

/// Format is one, dimensions are not negative, sizes in bytes fit int64, no element lies on another.
[[nodiscard]] Status check_view(const Subject& subject, const ConstView& view, Rank rank);

/// Rows or columns are contiguous.
[[nodiscard]] Status check_contiguous(const Subject& subject, const ConstView& view, Rank rank);

/// data is not null where there are elements, and all of them lie in the address space.
[[nodiscard]] Status check_data(const Subject& subject, const ConstView& view, Rank rank);

/// Refuses `choice` outside [0, last]; `names` tells the reader what the numbers mean: "0 (zero) and 1 (leave)".
[[nodiscard]] Status check_choice(const Subject& subject, std::int32_t choice, std::int32_t last, const char* names);

/// Threads and strictness, which every call has.
[[nodiscard]] Status check_execution(const char* op, const Options& options);

/// out is f32, bf16 or f16.
[[nodiscard]] Status check_float_out(const char* op, const View& out);

}  // namespace ragdot::api
