// What every public call goes through: the caller's floating-point environment is put aside, and no allocation failure comes
// out as an exception.
#pragma once

#include "cpu/isa/float_env.hpp"
#include "plan/environment.hpp"
#include "plan/out_of_memory.hpp"

namespace ragdot::api {

/// The sentence of calls that allocate little.
inline constexpr char kNoTasks[] = "a sentence or the executor's tasks could not be allocated; free memory";

/// Runs the body of a call, which gives a Status or a Result, in the plain environment: checks compare numbers that may be NaN,
/// which must neither trap nor leave flags with the caller, and oneTBB puts flags down. `sentence` says what could not be
/// allocated and the way out.
template <class Call>
[[nodiscard]] auto door(const char* op, const char* sentence, Call call) {
  const cpu::FloatEnv environment(cpu::FloatEnv::kPlain);
  return plan::catching(op, sentence, [&] {
    static_cast<void>(plan::environment());  // read by the first call, whether it needs it or not
    return call();
  });
}

}  // namespace ragdot::api
