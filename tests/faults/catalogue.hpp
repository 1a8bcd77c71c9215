// The planted mistakes by name, with what each one does.
#pragma once

#include <span>

#include "format/fault.hpp"

namespace ragdot::suites {

struct Fault {
  fault::Id id;
  const char* name;
  const char* kernel;  // without this kernel the CPU cannot run what is wrong; "" where every CPU can
  const char* what;
};

[[nodiscard]] std::span<const Fault> fault_catalogue();

}  // namespace ragdot::suites
