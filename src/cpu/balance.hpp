// Work that threads finish together, however skewed the groups are: known when a call comes with its group sizes.
#pragma once

#include <span>

#include "cpu/kernel.hpp"
#include "plan/backend.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {

/// Whether spans may get smaller tiles than the plan's: it chose them itself, for several threads, and they can be cut.
[[nodiscard]] bool cuts_tiles(const Plan::Choice& choice, const Kernel& kernel);

/// Gives each span its tile, the plan's or a part of it, and puts those with most rows first.
void balance(std::span<schedule::Span> spans, const Plan::Choice& choice, const Kernel& kernel);

}  // namespace ragdot::cpu
