// Whether two strided views share a byte: exact, so that column slices of one buffer may be input and output of one call.
#pragma once

#include "ragdot/view.hpp"

namespace ragdot::api {

/// Whether some byte belongs to an element of both. Needs views that check_view and check_data (validate_view.hpp) accept: no
/// view overlaps itself and none reaches beyond the address space. Empty and absent views share nothing. O(1) where the address
/// ranges are apart or one view is dense; otherwise O(runs of contiguous bytes of the view that has fewer).
[[nodiscard]] bool overlaps(const ConstView& a, const ConstView& b);

}  // namespace ragdot::api
