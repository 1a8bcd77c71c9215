// How fast this CPU can multiply at all: loops of one instruction on registers, without any memory access.
#pragma once

#include <cstdint>
#include <span>

namespace ragdot::bench {

/// A loop that does nothing but one multiplying instruction on independent accumulators.
struct PeakLoop {
  const char* name;      // as in results: "amx_bf16"
  const char* mnemonic;  // "tdpbf16ps"
  bool (*available)();
  std::int64_t operations;  // multiplications and additions of one iteration
  std::int64_t iterations;  // that take a millisecond or two
  void (*loop)(std::int64_t iterations);
};

/// All loops of this build, whether this CPU has the instruction or not.
[[nodiscard]] std::span<const PeakLoop> peak_loops();

/// Operations a second on that many threads at once. Only where the instruction is available.
[[nodiscard]] double peak_rate(const PeakLoop& loop, int threads);

}  // namespace ragdot::bench
