// Makes, checks, times; a contender whose product is wrong gets no time.
#include "bench/comparison.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>

#include "bench/check.hpp"
#include "bench/contenders/quantisers.hpp"
#include "bench/peaks/bandwidth.hpp"
#include "bench/work.hpp"
#include "testing/words.hpp"

namespace ragdot::bench {
namespace {

using testing::Case;
using testing::Problem;

/// Of all bytes, at the speed of memory: eight sums, each word in its own times an odd number. Never 0.
std::size_t hash_of(const testing::Bytes& bytes) {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15ULL;
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  std::array<std::uint64_t, 8> sums = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::size_t step = sums.size() * kWord;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    std::array<std::uint64_t, 8> words{};
    std::memcpy(words.data(), bytes.data() + at, std::min(step, bytes.size() - at));
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = (sums[i] ^ words[i]) * kOdd;
  }
  std::uint64_t all = bytes.size();
  for (const std::uint64_t sum : sums) all = (all ^ (sum >> 32 | sum << 32)) * kOdd;
  return all | 1U;
}

int threads_of(const Problem& p) { return p.threads > 0 ? p.threads : default_executor().concurrency(); }

/// The data of a problem, which does not depend on how it is run.
Problem data_of(Problem p) {
  p.kernel.clear();
  p.tile.reset();
  p.threads = 0;
  return p;
}

/// Copies of all weights together pass two and a half last-level caches, and there are two at the least.
std::int64_t copies_for(const Comparison& comparison) {
  if (comparison.caches == Comparison::Caches::warm) return 1;
  double bytes = 0;
  for (const Entry& e : comparison.entries) {
    const Problem& p = e.problem;
    bytes += static_cast<double>(p.g) * static_cast<double>(p.k) * static_cast<double>(p.n) *
             static_cast<double>(element_bytes(p.rhs.format));
  }
  return std::max<std::int64_t>(2, static_cast<std::int64_t>(2.5 * static_cast<double>(last_cache_bytes()) / bytes) + 1);
}

std::string refusal_of(const Entry& entry, const Case& c, const testing::Bytes& out) {
  if (entry.stage != Stage::product) return refusal_of_quantiser(entry.stage, c, out);
  return entry.contender == kRagdot ? refusal_by_oracle(c, out) : refusal_by_library(c, out);
}

const char* op_of(const Entry& entry) {
  switch (entry.stage) {
    case Stage::product: return testing::word_of(testing::kOps, entry.problem.op);
    case Stage::quantize: return "quantize";
    case Stage::quantize_both: return "quantize_both";
    case Stage::dequantize: return "dequantize";
  }
  return "?";
}

Row row_of(const Entry& entry, std::int64_t copies) {
  Row row;
  row.entry = entry;
  row.op = op_of(entry);
  row.threads = threads_of(entry.problem);
  row.weight_copies = entry.problem.op == testing::Op::tgmm ? 1 : copies;
  return row;
}

double bytes_of(std::int64_t rows, std::int64_t cols, Format format) {
  return static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(element_bytes(format));
}

}  // namespace

MadeContender make_contender(const Entry& entry, const std::shared_ptr<const Case>& c, const Weights& weights) {
  if (entry.stage != Stage::product) return make_quantiser(entry.stage, entry.problem, c);
  return entry.contender == kOneDnn ? make_onednn(entry.problem, c, weights) : make_ragdot(entry.problem, c, weights);
}

Trial::Trial(const Comparison& comparison, const Settings& settings) : settings_(settings) {
  const std::int64_t copies = copies_for(comparison);
  for (const Entry& entry : comparison.entries) runners_.emplace_back().row = row_of(entry, copies);
}

double Trial::data_bytes(const Comparison& comparison) {
  std::map<std::string, double> bytes;
  for (const Entry& entry : comparison.entries) {
    const Problem& p = entry.problem;
    const auto stored = [&](std::int64_t rows, std::int64_t cols, Format format) {
      return bytes_of(rows, cols, format) + bytes_of(rows, cols, Format::bf16);  // with its original
    };
    const bool is_tgmm = p.op == testing::Op::tgmm;
    const double lhs = stored(p.m, p.op == testing::Op::dlhs ? p.n : p.k, p.lhs.format);
    const double rhs = is_tgmm ? stored(p.m, p.n, p.rhs.format) : stored(p.g * p.k, p.n, p.rhs.format);
    const double out = is_tgmm ? bytes_of(p.g * p.k, p.n, p.out) : bytes_of(p.m, std::max(p.k, p.n), p.out);
    bytes[to_string(data_of(p))] = lhs + rhs + out;
  }
  double all = 0;
  for (const auto& [problem, one] : bytes) all += one;
  return all;
}

const std::shared_ptr<const Case>& Trial::case_of(const Problem& problem) {
  auto& c = cases_[to_string(data_of(problem))];
  if (!c) c = std::make_shared<const Case>(data_of(problem));
  return c;
}

void Trial::progress(const std::string& what) const {
  settings_.progress(fmt::format("start {} of {}, {}", samplings_.size(), settings_.starts, what));
}

void Trial::refuse(Runner& runner, Outcome outcome, const std::string& sentence) {
  runner.row.outcome = outcome;
  runner.row.refusal = sentence;
  runner.starts.clear();
  runner.contender.reset();
}

/// Makes the contender, runs it once and holds its product against what is right.
void Trial::prepare(Runner& runner) {
  Row& row = runner.row;
  const std::shared_ptr<const Case>& c = case_of(row.entry.problem);
  if (!c->status.ok()) return refuse(runner, Outcome::impossible, c->status.message());
  auto made = settings_.make(row.entry, c, {row.weight_copies});
  if (!made.ok()) return refuse(runner, Outcome::impossible, made.status().message());
  runner.contender = std::move(made.value());
  row.kernel = runner.contender->kernel();
  row.tile = runner.contender->tile();
  row.peak = runner.contender->peak();
  const Work work = work_of(row.entry.stage, *c);
  row.operations = work.operations;
  row.bytes = work.bytes;
  const double begin = steady_seconds();
  if (Status s = runner.contender->run(); !s.ok()) return refuse(runner, Outcome::impossible, s.message());
  runner.last_seconds = steady_seconds() - begin;
  runner.contender->leave();
  check(runner, *c);
}

/// The bits of a product that was found right need no second look.
void Trial::check(Runner& runner, const Case& c) {
  const Entry& entry = runner.row.entry;
  const testing::Bytes& out = runner.contender->out();
  const std::size_t hash = hash_of(out);
  if (runner.checked != 0 && runner.checked == hash) return;
  if (runner.checked != 0 && entry.contender == kRagdot)
    return refuse(runner, Outcome::wrong, "its product changed from one start to the next");
  if (const std::string wrong = refusal_of(entry, c, out); !wrong.empty()) return refuse(runner, Outcome::wrong, wrong);
  if (c.problem.out_mode == OutMode::overwrite) runner.checked = hash;
}

/// Kernels, tilings and threads of the library must agree in every bit, so all but the first are held against the first.
void Trial::check_bits() {
  std::map<std::string, std::size_t> first;
  for (Runner& r : runners_) {
    if (!r.contender || r.checked == 0 || r.row.entry.contender != kRagdot) continue;
    const auto [found, is_first] = first.try_emplace(r.row.op + to_string(data_of(r.row.entry.problem)), r.checked);
    if (!is_first && found->second != r.checked)
      refuse(r, Outcome::wrong, "its bits differ from those of the first kernel, tile and thread count of this comparison");
  }
}

void Trial::time_all(Meter& meter) {
  std::vector<Participant> participants;
  std::vector<Runner*> timed;
  std::set<std::pair<std::string, int>> wanted;
  for (Runner& r : runners_) {
    if (!r.contender) continue;
    Contender* contender = r.contender.get();
    participants.push_back({[contender, &r] {
                              if (Status s = contender->run(); !s.ok()) r.row.refusal = s.message();
                            },
                            [contender] { contender->leave(); }, r.last_seconds});
    timed.push_back(&r);
    wanted.insert({r.row.entry.stage == Stage::product ? kRead : kCopy, r.row.threads});
    if (!r.row.peak.empty()) wanted.insert({r.row.peak, r.row.threads});
  }
  // Limits may take a fifth of the time; each start samples them once in any case.
  constexpr double kPart = 0.2;
  double sampling = 0;
  const double start = steady_seconds();
  Sampling& samples = samplings_.back();
  const auto after_round = [&](std::int64_t rounds) {
    progress(fmt::format("round {}", rounds));
    if (rounds > 1 && sampling > kPart * (steady_seconds() - start)) return;
    const double begin = steady_seconds();
    for (const auto& [limit, threads] : wanted) meter.sample(limit, threads, samples.limits);
    samples.rounds.push_back(static_cast<std::size_t>(rounds - 1));
    sampling += steady_seconds() - begin;
  };
  const auto seconds = measure(participants, settings_.budget, after_round);
  for (std::size_t i = 0; i < timed.size(); ++i) timed[i]->starts.push_back(seconds[i]);
}

/// The product is still the one that was checked; the contender ends.
void Trial::leave_start(Runner& runner) {
  if (!runner.contender) return;
  if (!runner.row.refusal.empty()) return refuse(runner, Outcome::impossible, runner.row.refusal);
  const bool is_library = runner.row.entry.contender == kRagdot;
  if (is_library && runner.checked != 0 && runner.checked != hash_of(runner.contender->out()))
    return refuse(runner, Outcome::wrong, "its product changed while it was timed");
  runner.contender.reset();
}

void Trial::start(Meter& meter) {
  samplings_.emplace_back();
  for (Runner& runner : runners_) {
    if (runner.row.outcome != Outcome::timed) continue;
    progress(fmt::format("prepare {} {}", runner.row.entry.recipe, runner.row.entry.contender));
    prepare(runner);
  }
  check_bits();
  time_all(meter);
  for (Runner& runner : runners_) leave_start(runner);
}

/// Of the operations or bytes a second that the limit gave, those that a call of the runner gave in the round before.
Quotient Trial::part_of(const std::string& limit, const Runner& runner, double amount) const {
  std::vector<Timings> starts;
  for (std::size_t s = 0; s < runner.starts.size(); ++s) {
    const Sampling& samples = samplings_[s];
    const std::span<const double> rates = samples.limits.rates(limit, runner.row.threads);
    Timings& parts = starts.emplace_back(rates.size());
    for (std::size_t i = 0; i < rates.size(); ++i) parts[i] = amount / runner.starts[s][samples.rounds[i]] / rates[i];
  }
  return quotient_of(starts);
}

std::vector<Row> Trial::finish(LimitSamples& limits) {
  std::vector<Row> rows;
  for (Runner& runner : runners_) {
    Row& row = runner.row;
    row.time = summarise(runner.starts);
    row.of_peak = part_of(row.peak, runner, row.operations);
    row.of_read_bandwidth = part_of(kRead, runner, row.bytes);
    row.of_copy_bandwidth = part_of(kCopy, runner, row.bytes);
    rows.push_back(std::move(row));
  }
  for (const Sampling& samples : samplings_) limits.add(samples.limits);
  return rows;
}

}  // namespace ragdot::bench
