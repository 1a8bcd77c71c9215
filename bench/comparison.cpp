// Makes, checks, times; a contender whose product is wrong gets no time.
#include "bench/comparison.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "bench/check.hpp"
#include "bench/contenders/quantisers.hpp"
#include "bench/peaks/bandwidth.hpp"
#include "bench/work.hpp"
#include "testing/words.hpp"

namespace ragdot::bench {
namespace {

using testing::Case;
using testing::Problem;

/// An entry on its way through a comparison.
struct Runner {
  Row row;
  std::unique_ptr<Contender> contender;
  std::size_t checked = 0;  // hash of its product when it was checked, 0: a call adds to the product
};

std::size_t hash_of(const testing::Bytes& bytes) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

int threads_of(const Problem& p) { return p.threads > 0 ? p.threads : default_executor().concurrency(); }

/// The data of a problem, which does not depend on how it is run.
Problem data_of(Problem p) {
  p.kernel.clear();
  p.tile.reset();
  p.threads = 0;
  return p;
}

std::shared_ptr<const Case> case_of(const Problem& p, std::map<std::string, std::shared_ptr<const Case>>& cases) {
  auto& c = cases[to_string(data_of(p))];
  if (!c) c = std::make_shared<const Case>(data_of(p));
  return c;
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

void refuse(Runner& runner, Outcome outcome, const std::string& sentence) {
  runner.row.outcome = outcome;
  runner.row.refusal = sentence;
  runner.row.time = {};
  runner.contender.reset();
}

std::string refusal_of(const Entry& entry, const Case& c, const testing::Bytes& out) {
  if (entry.stage != Stage::product) return refusal_of_quantiser(entry.stage, c, out);
  return entry.contender == kRagdot ? refusal_by_oracle(c, out) : refusal_by_library(c, out);
}

/// Makes the contender, runs it once and holds its product against what is right.
void prepare(Runner& runner, const std::shared_ptr<const Case>& c, const Settings& settings) {
  Row& row = runner.row;
  if (!c->status.ok()) return refuse(runner, Outcome::impossible, c->status.message());
  auto made = settings.make(row.entry, c, {row.weight_copies});
  if (!made.ok()) return refuse(runner, Outcome::impossible, made.status().message());
  runner.contender = std::move(made.value());
  row.kernel = runner.contender->kernel();
  row.tile = runner.contender->tile();
  row.peak = runner.contender->peak();
  const Work work = work_of(row.entry.stage, *c);
  row.operations = work.operations;
  row.bytes = work.bytes;
  if (Status s = runner.contender->run(); !s.ok()) return refuse(runner, Outcome::impossible, s.message());
  runner.contender->leave();
  const testing::Bytes& out = runner.contender->out();
  if (const std::string wrong = refusal_of(row.entry, *c, out); !wrong.empty()) return refuse(runner, Outcome::wrong, wrong);
  if (c->problem.out_mode == OutMode::overwrite && row.entry.contender == kRagdot) runner.checked = hash_of(out);
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

/// Kernels, tilings and threads of the library must agree in every bit, so all but the first are held against the first.
void check_bits(std::vector<Runner>& runners) {
  std::map<std::string, std::size_t> first;
  for (Runner& r : runners) {
    if (r.checked == 0) continue;
    const auto [found, is_first] = first.try_emplace(r.row.op + to_string(data_of(r.row.entry.problem)), r.checked);
    if (!is_first && found->second != r.checked)
      refuse(r, Outcome::wrong, "its bits differ from those of the first kernel, tile and thread count of this comparison");
  }
}

void time_all(std::vector<Runner>& runners, const Settings& settings, Meter& meter, LimitSamples& samples) {
  std::vector<Participant> participants;
  std::vector<Runner*> timed;
  std::set<std::pair<std::string, int>> wanted;
  for (Runner& r : runners) {
    if (!r.contender) continue;
    Contender* contender = r.contender.get();
    participants.push_back({[contender, &r] {
                              if (Status s = contender->run(); !s.ok()) r.row.refusal = s.message();
                            },
                            [contender] { contender->leave(); }});
    timed.push_back(&r);
    wanted.insert({r.row.entry.stage == Stage::product ? kRead : kCopy, r.row.threads});
    if (!r.row.peak.empty()) wanted.insert({r.row.peak, r.row.threads});
  }
  // Limits may take a fifth of the time; three samples are taken in any case.
  constexpr double kPart = 0.2;
  double sampling = 0;
  const double start = steady_seconds();
  const auto after_round = [&](std::int64_t round) {
    settings.progress(fmt::format("round {}", round));
    if (round > 3 && sampling > kPart * (steady_seconds() - start)) return;
    const double begin = steady_seconds();
    for (const auto& [limit, threads] : wanted) meter.sample(limit, threads, samples);
    sampling += steady_seconds() - begin;
  };
  const auto seconds = measure(participants, settings.budget, after_round);
  for (std::size_t i = 0; i < timed.size(); ++i) timed[i]->row.time = summarise(seconds[i]);
}

void finish(Runner& runner, const LimitSamples& samples) {
  Row& row = runner.row;
  if (!runner.contender) return;
  if (!row.refusal.empty()) return refuse(runner, Outcome::impossible, row.refusal);
  if (runner.checked != 0 && runner.checked != hash_of(runner.contender->out()))
    return refuse(runner, Outcome::wrong, "its product changed while it was timed");
  const auto part = [](double rate, double limit) { return limit > 0 ? rate / limit : 0; };
  row.of_peak = part(row.tflops() * 1e12, samples.median(row.peak, row.threads));
  row.of_read_bandwidth = part(row.gbs() * 1e9, samples.median(kRead, row.threads));
  row.of_copy_bandwidth = part(row.gbs() * 1e9, samples.median(kCopy, row.threads));
}

}  // namespace

MadeContender make_contender(const Entry& entry, const std::shared_ptr<const Case>& c, const Weights& weights) {
  if (entry.stage != Stage::product) return make_quantiser(entry.stage, entry.problem, c);
  return entry.contender == kOneDnn ? make_onednn(entry.problem, c, weights) : make_ragdot(entry.problem, c, weights);
}

std::vector<Row> run_comparison(const Comparison& comparison, const Settings& settings, Meter& meter, LimitSamples& limits) {
  std::map<std::string, std::shared_ptr<const Case>> cases;
  std::vector<Runner> runners;
  const std::int64_t copies = copies_for(comparison);
  for (const Entry& entry : comparison.entries) {
    settings.progress(fmt::format("check {} {}", entry.recipe, entry.contender));
    Runner& runner = runners.emplace_back();
    runner.row = row_of(entry, copies);
    prepare(runner, case_of(entry.problem, cases), settings);
  }
  check_bits(runners);
  LimitSamples samples;
  time_all(runners, settings, meter, samples);
  std::vector<Row> rows;
  for (Runner& runner : runners) {
    finish(runner, samples);
    rows.push_back(std::move(runner.row));
  }
  limits.add(samples);
  return rows;
}

}  // namespace ragdot::bench
