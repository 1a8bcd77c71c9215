// What is compared, and what came out: one entry and one row for each contender of a comparison.
#pragma once

#include <string>
#include <vector>

#include "bench/statistics.hpp"
#include "testing/problem.hpp"

namespace ragdot::bench {

/// Names of contenders in results.
inline constexpr const char* kRagdot = "ragdot";
inline constexpr const char* kOneDnn = "onednn_bf16";

/// What is timed: the product, or making or undoing the quantised lhs of the problem.
enum class Stage { product, quantize, quantize_both, dequantize };

/// One contender of a comparison, before it ran. The problem names kernel, tile and threads.
struct Entry {
  testing::Problem problem;
  std::string shape;   // "w0"
  std::string recipe;  // "blockwise"
  std::string contender = kRagdot;
  Stage stage = Stage::product;
};

/// Entries that are run interleaved on data from one seed.
struct Comparison {
  std::string title;
  std::vector<Entry> entries;
  enum class Caches { warm, cold } caches = Caches::warm;  // cold: weights rotate, so that no cache holds them
};

enum class Outcome {
  timed,
  impossible,  // not on this machine or not this problem
  wrong,       // computed something else, and was not timed
};

struct Row {
  Entry entry;
  std::string op;  // "gmm", "quantize"
  std::string kernel;
  std::string tile;  // as used
  int threads = 0;
  Outcome outcome = Outcome::timed;
  std::string refusal;  // why not timed
  Summary time;
  double operations = 0;
  double bytes = 0;  // at the least
  std::string peak;  // limit that `of_peak` refers to, "" for none
  // Parts of what the limits gave, whose samples are each held against the round before them; zero where there are none.
  Quotient of_peak;
  Quotient of_read_bandwidth;
  Quotient of_copy_bandwidth;  // where nothing is multiplied
  std::int64_t weight_copies = 1;

  [[nodiscard]] double tflops() const { return time.median > 0 ? operations / time.median * 1e-12 : 0; }
  [[nodiscard]] double gbs() const { return time.median > 0 ? bytes / time.median * 1e-9 : 0; }
};

}  // namespace ragdot::bench
