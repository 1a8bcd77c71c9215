// The f32 fma of the reduction order on integers: round to nearest even, subnormals zero on both ends.
#pragma once

namespace ragdot::reference {

[[nodiscard]] float fused(float a, float b, float c);

}  // namespace ragdot::reference
