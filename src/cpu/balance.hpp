// Work that threads finish together, however skewed the groups are: known when a call comes with its group sizes.
#pragma once

#include <span>

#include "cpu/drive.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {

/// Gives each of a call's spans its tile, the call's or, where the plan was not asked for it, a part of it, and puts those with
/// most rows first.
void balance(std::span<schedule::Span> spans, const Call& call, const Plan::Choice& choice);

}  // namespace ragdot::cpu
