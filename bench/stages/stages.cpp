// Micro-benchmarks of what one thread does for one tile: packing (decoding), multiplying, storing, on every kernel; and
// quantising.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cpu/isa/float_env.hpp"
#include "cpu/kernel.hpp"
#include "cpu/workspace.hpp"
#include "testing/case.hpp"

namespace ragdot::bench {
namespace {

using cpu::Kernel;
using schedule::Piece;

constexpr const char* kBf16 = "gmm g=1 m=256 k=512 n=256 lhs=bf16 rhs=bf16";
constexpr const char* kBlockwise = "gmm g=1 m=256 k=512 n=256 lhs=e4m3:1x128 rhs=e4m3:128x128";

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<std::byte, Free>;

Buffer buffer(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(cpu::padded(bytes, 64));
  Buffer made(static_cast<std::byte*>(std::aligned_alloc(64, size)));
  std::fill_n(made.get(), size, std::byte{0});
  return made;
}

/// One tile of a problem with one group, as the driver hands it to a kernel.
class Tile {
 public:
  Tile(const Kernel& kernel, const char* problem) : kernel_(kernel), case_(testing::parse_problem(problem).value()) {
    const testing::Problem& p = case_.problem;
    lhs_ = cpu::rows_outer(case_.lhs.operand, {{0, p.m}, 0});
    rhs_ = cpu::weights(case_.rhs.operand, 0, RhsLayout::strided);
    arithmetic_ = cpu::arithmetic_of(lhs_, rhs_);
    schedule::PieceWalk walk(lhs_.cuts(), rhs_.cuts(), p.k);
    while (!walk.done()) pieces_.push_back(walk.next(p.k));
    lhs_panel_ = buffer(kernel.panel_bytes(cpu::Arithmetic::wide, p.m, p.k));
    rhs_panel_ = buffer(kernel.panel_bytes(cpu::Arithmetic::wide, p.n, p.k));
    acc_ = buffer(4 * p.m * p.n);
    part_ = buffer(kernel.part_bytes * p.m * p.n);
    out_ = buffer(4 * p.m * p.n);
    row_scales_.assign(pieces_.size() * static_cast<std::size_t>(p.m), 1.0F);
    col_scales_.assign(pieces_.size() * static_cast<std::size_t>(p.n), 1.0F);
  }

  /// Why the kernel does not compute this problem, or null.
  [[nodiscard]] const char* refusal() const {
    if (const char* reason = kernel_.refusal()) return reason;
    const std::int64_t longest = lhs_.scaled() ? lhs_.depth_grid.block : case_.problem.k;
    return kernel_.declines == nullptr ? nullptr : kernel_.declines({arithmetic_, longest});
  }
  void pack_lhs() { kernel_.pack_lhs({&lhs_, arithmetic_, 0, case_.problem.m, pieces_, lhs_panel_.get()}); }
  void pack_rhs() { kernel_.pack_rhs({&rhs_, arithmetic_, 0, case_.problem.n, pieces_, rhs_panel_.get()}); }
  void multiply() {
    cpu::MultiplyJob job;
    job.arithmetic = arithmetic_;
    job.rows = case_.problem.m;
    job.cols = case_.problem.n;
    job.lhs_panel = lhs_panel_.get();
    job.rhs_panel = rhs_panel_.get();
    job.pieces = pieces_;
    job.first = true;
    if (lhs_.scaled()) {
      job.row_scales = row_scales_.data();
      job.col_scales = col_scales_.data();
      job.row_scales_stride = job.rows;
      job.col_scales_stride = job.cols;
    }
    job.acc = reinterpret_cast<float*>(acc_.get());
    job.part = part_.get();
    job.strip_rows = job.rows;
    kernel_.multiply(job);
  }
  void store() {
    const testing::Problem& p = case_.problem;
    kernel_.store({reinterpret_cast<const float*>(acc_.get()), p.m, p.m, p.n, Format::bf16, out_.get(), 2 * p.n});
  }
  [[nodiscard]] const Kernel& kernel() const { return kernel_; }
  [[nodiscard]] const testing::Problem& problem() const { return case_.problem; }

 private:
  const Kernel& kernel_;
  testing::Case case_;
  cpu::Side lhs_;
  cpu::Side rhs_;
  cpu::Arithmetic arithmetic_ = cpu::Arithmetic::fp8;
  std::vector<Piece> pieces_;
  Buffer lhs_panel_;
  Buffer rhs_panel_;
  Buffer acc_;
  Buffer part_;
  Buffer out_;
  std::vector<float> row_scales_;
  std::vector<float> col_scales_;
};

/// A stage of a tile, and what it counts: elements moved, or multiplications and additions.
struct Stage {
  const char* name;
  void (Tile::*run)();
  double (*count)(const testing::Problem& p);
};
constexpr Stage kStages[] = {
    {"pack_lhs", &Tile::pack_lhs, [](const testing::Problem& p) { return static_cast<double>(p.m * p.k); }},
    {"pack_rhs", &Tile::pack_rhs, [](const testing::Problem& p) { return static_cast<double>(p.n * p.k); }},
    {"multiply", &Tile::multiply, [](const testing::Problem& p) { return 2.0 * static_cast<double>(p.m * p.n * p.k); }},
    {"store", &Tile::store, [](const testing::Problem& p) { return static_cast<double>(p.m * p.n); }},
};

void run_stage(benchmark::State& state, const Kernel& kernel, const char* problem, const Stage& stage) {
  Tile tile(kernel, problem);
  if (const char* reason = tile.refusal()) return state.SkipWithError(reason);
  if (stage.run == &Tile::store && kernel.store == nullptr) return state.SkipWithError("the driver stores for this kernel");
  const cpu::FloatEnv environment;
  if (kernel.enter != nullptr) kernel.enter();
  tile.pack_lhs();
  tile.pack_rhs();
  tile.multiply();
  for (auto _ : state) {
    (tile.*stage.run)();
    benchmark::ClobberMemory();
  }
  if (kernel.leave != nullptr) kernel.leave();
  state.counters["per_second"] = benchmark::Counter(stage.count(tile.problem()), benchmark::Counter::kIsIterationInvariantRate);
}

/// 1 MiB of bf16 to e4m3 on one thread.
void run_quantise(benchmark::State& state, const char* block) {
  const testing::Case c(testing::parse_problem(fmt::format("gmm g=1 m=512 k=1024 n=1 lhs=e4m3:{}", block)).value());
  testing::Bytes values(c.lhs.values.size());
  testing::Bytes scales(c.lhs.scales.size());
  const Operand& like = c.lhs.operand;
  const ConstView& s = like.scales.view;
  QuantizeArgs args{c.lhs.plain, {}, {}};
  args.out.values = matrix(static_cast<void*>(values.data()), Format::e4m3, like.values.rows, like.values.cols);
  args.out.scales = {matrix(static_cast<void*>(scales.data()), s.format, s.rows, s.cols), like.scales.block_rows,
                     like.scales.block_cols};
  Options options;
  options.threads = 1;
  for (auto _ : state) {
    if (const Status status = quantize(args, options); !status.ok()) return state.SkipWithError(status.message().c_str());
  }
  state.counters["per_second"] =
      benchmark::Counter(static_cast<double>(values.size()), benchmark::Counter::kIsIterationInvariantRate);
}

void add_all() {
  for (const Kernel* kernel : cpu::kernels()) {
    for (const auto& [recipe, problem] : {std::pair{"bf16", kBf16}, std::pair{"blockwise", kBlockwise}}) {
      for (const Stage& stage : kStages) {
        benchmark::RegisterBenchmark(fmt::format("{}/{}/{}", kernel->name, recipe, stage.name).c_str(),
                                     [=](benchmark::State& state) { run_stage(state, *kernel, problem, stage); });
      }
    }
  }
  for (const char* block : {"1x128", "128x128"}) {
    benchmark::RegisterBenchmark(fmt::format("quantise/{}", block).c_str(),
                                 [=](benchmark::State& state) { run_quantise(state, block); });
  }
}

}  // namespace
}  // namespace ragdot::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  ragdot::bench::add_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
