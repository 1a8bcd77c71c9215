// A kernel's plan may refuse a call: that is counted with its reason. A call that is planned must succeed.
#include "testing/examine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "testing/answers.hpp"

namespace ragdot::testing {
namespace {

/// A result against the answers, and against the first kernel's where those leave room.
std::string check(const Case& c, const Answers& answers, const Bytes& first, const Bytes& out, Tally& tally) {
  const Comparison bound = answers.compare_with_bound(out);
  const Comparison order = answers.compare_with_order(out);
  const Comparison others = answers.has_bits() ? Comparison() : compare_bits(c, first, out);
  tally.outputs += order.checked;
  tally.differing_bits += order.wrong + others.wrong;
  if (c.problem.out == Format::f32 && is_bare(c)) tally.worst_over_bound = std::max(tally.worst_over_bound, bound.worst);
  if (order.wrong > 0)
    return fmt::format("{} of {} outputs are not those of the reduction order; first {}", order.wrong, order.checked,
                       order.first_bad);
  if (bound.wrong > 0)
    return fmt::format("{} of {} outputs are outside the error bound; first {}", bound.wrong, bound.checked, bound.first_bad);
  if (others.wrong > 0)
    return fmt::format("{} of {} outputs have other bits than on the first kernel; first {}", others.wrong, others.checked,
                       others.first_bad);
  return "";
}

/// The kernel's own words in a refusal that names all kernels: "...: amx: WORDS; avx2: ...".
std::string reason_of(const std::string& kernel, const std::string& refusal) {
  const std::string before = " " + kernel + ": ";
  const std::size_t at = refusal.find(before);
  if (at == std::string::npos) return refusal;
  const std::size_t begin = at + before.size();
  return refusal.substr(begin, refusal.find("; ", begin) - begin);
}

}  // namespace

Examined examine(const RandomCase& random, const std::vector<std::string>& kernels, const Spoil& spoil) {
  Examined examined;
  const auto fail = [&](const std::string& kernel, const std::string& sentence, bool refused) {
    if (!examined.failure.empty()) return;
    examined.kernel = kernel;
    examined.failure = sentence;
    examined.refused = refused;
  };
  const Case c(random.problem);
  if (!c.status.ok()) {
    fail("", c.status.message(), true);
    return examined;
  }
  const LaidCase laid(c, random.call);
  const Answers answers(c);
  Bytes first;
  for (const std::string& kernel : kernels) {
    Tally& tally = examined.tallies[kernel];
    Options options;
    options.kernel = kernel;
    options.tiling = c.problem.tile;
    options.threads = c.problem.threads;
    if (Status s = laid.planned(options); !s.ok()) {
      ++tally.skipped[reason_of(kernel, s.message())];
      continue;
    }
    ++tally.cases;
    Bytes out;
    if (Status s = laid.run(options, out); !s.ok()) {
      fail(kernel, s.message(), true);
      continue;
    }
    if (spoil) spoil(c, kernel, out);
    if (first.empty()) first = out;
    const std::string wrong = check(c, answers, first, out, tally);
    if (!wrong.empty()) fail(kernel, wrong, false);
  }
  return examined;
}

}  // namespace ragdot::testing
