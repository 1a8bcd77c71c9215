// Many random cases on every kernel: each against the reduction order's bits and the error bound.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "testing/random_case.hpp"

namespace ragdot::testing {

/// A mistake that a test puts into a kernel's result.
using Spoil = std::function<void(const Case&, std::string_view kernel, Bytes& out)>;

struct CampaignOptions {
  std::uint64_t seed = 1;
  std::uint64_t first = 0;  // index of the first case
  std::int64_t cases = 0;
  double seconds = 0;         // no case begins after that many; 0: no limit
  std::string kernel;         // empty: all that are usable
  int workers = 0;            // cases at once; 0: one for each CPU
  std::int64_t failures = 5;  // stop after that many cases failed
  Spoil spoil;                // nothing but in tests
  /// Called now and then with the number of cases done.
  std::function<void(std::int64_t)> progress;
};

/// What became of the cases of one operation on one kernel.
struct Tally {
  std::int64_t cases = 0;
  std::int64_t outputs = 0;
  std::int64_t differing_bits = 0;  // outputs that are not the reduction order's
  double worst_over_bound = 0;      // of f32 products without bias, activation and accumulation: what the bound is about
  std::map<std::string, std::int64_t> skipped;  // by the reason that the plan gave

  void add(const Tally& other);
};

/// By kernel and operation.
using Tallies = std::map<std::pair<std::string, Op>, Tally>;

struct CampaignFailure {
  std::uint64_t index = 0;
  std::string kernel;    // empty: the case cannot be made
  std::string sentence;  // what is wrong, with the first bad place
  RandomCase random;
};

struct CampaignReport {
  std::int64_t cases = 0;
  double seconds = 0;
  Tallies tallies;
  Coverage coverage;
  std::vector<CampaignFailure> failures;  // the first of each case that failed, in order
};

/// Runs cases [first, first + cases) and returns what was found; the same for the same cases, however many workers there are.
[[nodiscard]] CampaignReport run_campaign(const CampaignOptions& options);

/// A problem as small as halving and leaving out can make it that `kernel` still gets wrong when called plainly; empty where
/// the failure needs the way of calling, or the case was refused.
[[nodiscard]] std::string shrunk(const CampaignFailure& failure, const Spoil& spoil = {});

}  // namespace ragdot::testing
