// Names the CPU backend for the registry without knowing anything of it.
#pragma once

namespace ragdot::plan {

class Backend;
[[nodiscard]] const Backend& cpu_backend();

}  // namespace ragdot::plan
