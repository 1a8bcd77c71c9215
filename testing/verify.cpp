// One run is held against the oracle; all others must have its bits.
#include "testing/verify.hpp"

#include <fmt/format.h>

#include "testing/compare.hpp"
#include "testing/kernels.hpp"

namespace ragdot::testing {
namespace {

constexpr std::int64_t kOrderSamples = 2000;

/// One way to run the case, and its name in a failure.
struct Way {
  Options options;
  std::string name;
};

std::string text_of(const Tiling& t) { return fmt::format("{}x{}x{}", t.tm, t.tk, t.tn); }

/// The kernels to compare: the problem's, or all that take it.
std::vector<std::string> kernels_of(const Case& c) {
  if (!c.problem.kernel.empty()) return {c.problem.kernel};
  std::byte out;  // plans read shapes only
  return c.is_gmm() ? kernels_for(c.gmm_args(&out)) : kernels_for(c.tgmm_args(&out));
}

Options base_options(const Problem& problem, const std::string& kernel) {
  Options options = options_of(problem);
  options.kernel = kernel;
  return options;
}

std::vector<Way> ways(const Problem& problem, const std::vector<Tiling>& tilings, const std::vector<std::string>& kernels) {
  std::vector<Way> all;
  for (const std::string& kernel : kernels) {
    const Options base = base_options(problem, kernel);
    if (&kernel != &kernels.front()) all.push_back({base, fmt::format("kernel {}", kernel)});
    for (const Tiling& tiling : tilings) {
      Way way{base, fmt::format("kernel {} tile {}", kernel, text_of(tiling))};
      way.options.tiling = tiling;
      all.push_back(way);
    }
    for (const int threads : {1, 2, 3}) {
      Way way{base, fmt::format("kernel {} threads {}", kernel, threads)};
      way.options.threads = threads;
      all.push_back(way);
    }
  }
  return all;
}

void fail(VerifyReport& report, const std::string& sentence) {
  if (report.failure.empty()) report.failure = sentence;
}

void refuse(VerifyReport& report, const Status& status) {
  report.refusal = status.code();
  report.failure = status.message();
}

void check_values(const Case& c, const Bytes& out, const std::vector<OutRow>& rows, VerifyReport& report) {
  const Comparison oracle = compare_with_oracle(c, out, rows);
  report.outputs_checked = oracle.checked;
  report.worst_over_bound = oracle.worst;
  if (oracle.wrong > 0)
    fail(report,
         fmt::format("{} of {} outputs are outside the error bound; first {}", oracle.wrong, oracle.checked, oracle.first_bad));
  if (!has_order(c)) return;
  const Comparison order = compare_with_order(c, out, kOrderSamples);
  report.order_checked = order.checked;
  if (order.wrong > 0)
    fail(report, fmt::format("{} of {} outputs are not those of the reduction order; first {}", order.wrong, order.checked,
                             order.first_bad));
}

}  // namespace

VerifyReport verify(const Problem& problem, const VerifyOptions& options) {
  VerifyReport report;
  report.problem = to_string(problem);
  const Case c(problem);
  if (c.status.ok()) report.kernels = kernels_of(c);
  report.kernel = report.kernels.empty() ? "" : report.kernels.front();
  report.outputs = c.out_batch() * c.out_rows() * c.out_cols();
  Bytes first;
  Status status = c.status;
  if (status.ok()) status = options.compute(c, base_options(problem, report.kernel), first);
  if (!status.ok()) {
    refuse(report, status);
    return report;
  }
  const std::vector<OutRow> rows = rows_to_check(c);
  check_values(c, first, rows, report);
  std::vector<float> plain;
  report.has_cosine = c.has_plain() && is_bare(c);
  if (report.has_cosine) {
    if (Status s = c.plain_product(plain); !s.ok()) {
      refuse(report, s);
      return report;
    }
    report.cosine_to_bf16 = cosine(c, first, plain, rows);
  }
  const std::vector<Tiling> usual = {{128, 128, 128}, {33, 97, 65}};
  const std::vector<Tiling>& tilings = options.tilings.empty() ? usual : options.tilings;
  report.tilings = static_cast<std::int64_t>(tilings.size());
  for (const Way& way : ways(problem, tilings, report.kernels)) {
    Bytes out;
    if (Status s = options.compute(c, way.options, out); !s.ok()) {
      fail(report, fmt::format("{}: {}", way.name, s.message()));
      continue;
    }
    const Comparison bits = compare_bits(c, first, out);
    report.differing_bits += bits.wrong;
    if (bits.wrong > 0)
      fail(report,
           fmt::format("{} has other bits in {} of {} outputs; first {}", way.name, bits.wrong, bits.checked, bits.first_bad));
    if (report.has_cosine && way.options.tiling) report.tiling_cosines.push_back(cosine(c, out, plain, rows));
  }
  report.ok = report.failure.empty();
  return report;
}

}  // namespace ragdot::testing
