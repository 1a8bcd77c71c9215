// Work that threads finish together, however skewed the groups are: known when a call comes with its group sizes.
#pragma once

#include <span>

#include "cpu/kernel.hpp"
#include "plan/backend.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {

/// Gives each span its tile, the plan's or, where that was not asked for, a part of it, and puts those with most rows first.
void balance(std::span<schedule::Span> spans, const Plan::Choice& choice, const Kernel& kernel);

}  // namespace ragdot::cpu
