// Fuzzes legal products: small calls of every shape, format, grid, storage order, kernel and way to run, each output held to
// the bits of the reduction order, and every byte between the outputs to what it was.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "ragdot/ragdot.hpp"
#include "reference/fused.hpp"
#include "reference/oracle.hpp"
#include "testing/expected.hpp"
#include "tests/fuzz/input.hpp"
#include "tests/fuzz/serial_executor.hpp"
#include "tests/relaid.hpp"
#include "tests/sample.hpp"

namespace ragdot::fuzz {
namespace {

using suites::Data;
using suites::Grids;
using suites::Sample;
using suites::Shape;

constexpr std::int64_t kMostProducts = 2048;  // of one call: the oracle takes a tenth of a microsecond for each
constexpr std::byte kFill{0xcd};

constexpr Format kPairs[][2] = {{Format::e4m3, Format::e4m3}, {Format::e4m3, Format::e5m2}, {Format::e5m2, Format::e4m3},
                                {Format::e5m2, Format::e5m2}, {Format::bf16, Format::bf16}, {Format::bf16, Format::e4m3},
                                {Format::e5m2, Format::bf16}, {Format::f32, Format::f32},   {Format::i8, Format::i8}};
constexpr Format kScaleFormats[] = {Format::f32, Format::none, Format::e8m0, Format::bf16};
constexpr std::int64_t kBlocks[] = {1, 2, 3, 5, 7, 16, 32, 33, 64, kWholeAxis};
constexpr Format kOutFormats[] = {Format::f32, Format::bf16, Format::f16};
constexpr const char* kKernels[] = {"", "amx", "amx_standin", "avx512bf16", "avx512", "avx2", "portable"};
constexpr std::int64_t kTiles[] = {1, 7, 16, 32, 33, 64, 256};

bool is_quantised(Format f) { return f == Format::e4m3 || f == Format::e5m2 || f == Format::i8; }

Grids read_grids(Input& in) {
  Grids g;
  const auto& pair = in.pick(kPairs);
  g.lhs = pair[0];
  g.rhs = pair[1];
  if (is_quantised(g.lhs)) g.lhs_scale = in.pick(kScaleFormats);
  if (is_quantised(g.rhs)) g.rhs_scale = in.pick(kScaleFormats);
  g.lhs_rows = in.pick(kBlocks);
  g.lhs_cols = in.pick(kBlocks);
  g.rhs_rows = in.pick(kBlocks);
  g.rhs_cols = in.pick(kBlocks);
  g.origin = in.flag() ? ScaleOrigin::per_group : ScaleOrigin::global;
  return g;
}

/// Groups with gaps before and between them, and a tail; `most_rows` in all but the gaps.
Shape read_shape(Input& in, bool is_gmm) {
  Shape s;
  const std::int64_t groups = in.between(0, 4);
  std::int64_t at = 0;
  std::int64_t rows = 0;
  for (std::int64_t g = 0; g < groups; ++g) {
    at += std::max<std::int64_t>(0, in.between(-8, 2));
    const std::int64_t size = in.below(is_gmm ? 9 : 40);
    s.starts.push_back(at);
    s.sizes.push_back(size);
    at += size;
    rows += size;
  }
  s.m = at + std::max<std::int64_t>(0, in.between(-4, 3));
  const std::int64_t budget = kMostProducts / std::max<std::int64_t>(rows, 1);
  const std::int64_t most = is_gmm ? 150 : 40;
  s.k = std::min(in.below(most), budget);
  s.n = std::min(in.below(40), budget / std::max<std::int64_t>(s.k, 1));
  return s;
}

/// Codes of the input's own: NaN, Inf, zero and negative scales among them.
void poke(Input& in, std::vector<std::byte>& bytes, Format format) {
  const auto size = static_cast<std::size_t>(element_bytes(format));
  for (std::int64_t pokes = in.below(4); pokes > 0 && !bytes.empty(); --pokes) {
    const std::size_t at = in.number<std::uint16_t>() % (bytes.size() / size) * size;
    for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<std::byte>(in.byte());
  }
}

Sample read_sample(Input& in) {
  const bool is_gmm = in.flag();
  const Grids grids = read_grids(in);
  const Shape shape = read_shape(in, is_gmm);
  const auto data = static_cast<Data>(in.below(5));
  const std::uint64_t seed = in.byte();
  Sample s = is_gmm ? suites::make_gmm(grids, shape, data, seed) : suites::make_tgmm(grids, shape, data, seed);
  s.first_group = in.below(s.local + 1);
  s.local = in.below(s.local - s.first_group + 1);
  if (in.flag()) {
    s.local += s.first_group;  // from the first group on, as usual
    s.first_group = 0;
  }
  if (is_gmm) s.rhs.batch = s.local;
  s.out_format = in.pick(kOutFormats);
  if (in.below(4) == 1) s.out_mode = OutMode::accumulate;
  if (s.out_mode == OutMode::accumulate) s.out_format = Format::f32;
  s.rows_outside = in.flag() ? RowsOutside::leave : RowsOutside::zero;
  s.out_fill = kFill;
  if (is_gmm && in.below(4) == 1) {
    for (std::int64_t i = 0; i < s.local * s.rhs.cols; ++i) s.bias.push_back(static_cast<float>(i % 7 - 3) * 0.37F);
  }
  poke(in, s.lhs.values, s.lhs.format);
  poke(in, s.rhs.values, s.rhs.format);
  if (s.lhs.scale_format != Format::none) poke(in, s.lhs.scales, s.lhs.scale_format);
  if (s.rhs.scale_format != Format::none) poke(in, s.rhs.scales, s.rhs.scale_format);
  return s;
}

/// How a call runs, none of which changes a bit.
struct Way {
  std::string kernel;
  Options options;
  bool plans = false;
  bool packs = false;
};

Way read_way(Input& in, Executor& executor) {
  Way way;
  way.kernel = in.pick(kKernels);
  way.options.threads = static_cast<int>(in.between(1, 2));
  way.options.executor = &executor;
  if (in.flag()) way.options.tiling = Tiling{in.pick(kTiles), in.pick(kTiles), in.pick(kTiles)};
  way.plans = in.flag();
  way.packs = in.flag();
  return way;
}

void relay_some_way(Input& in, const Operand& dense, suites::Relaid& to) {
  const bool transposed = in.flag();
  const std::int64_t padding = in.below(4);
  suites::relay(dense, in.below(17), transposed, padding, to);
}

/// Out with strides of its own, in memory that ends with its last element.
struct Out {
  std::vector<std::byte> bytes;
  View view;

  Out(Input& in, const Sample& s) {
    const std::int64_t padding = in.below(4);
    const bool transposed = in.flag();
    view.format = s.out_format;
    view.batch = s.out_batch();
    view.rows = s.out_rows();
    view.cols = s.out_cols();
    view.row_stride = transposed ? 1 : view.cols + padding;
    view.col_stride = transposed ? view.rows + padding : 1;
    view.batch_stride = (transposed ? view.cols * view.col_stride : view.rows * view.row_stride) + padding;
    bytes.assign(static_cast<std::size_t>(view.batch * view.batch_stride * element_bytes(view.format)), kFill);
    view.data = bytes.data();
  }
  [[nodiscard]] std::int64_t index(std::int64_t b, std::int64_t r, std::int64_t c) const {
    return b * view.batch_stride + r * view.row_stride + c * view.col_stride;
  }
  void fill() { std::fill(bytes.begin(), bytes.end(), kFill); }
};

template <class Args>
Status run_planned(const Args& args, const Options& options) {
  const Result<Plan> plan = make_plan(args, options);
  if (!plan.ok()) return plan.status();
  const std::size_t bytes = plan.value().workspace_bytes();
  const std::unique_ptr<std::byte[]> workspace(new std::byte[bytes]);  // with what it held
  return run(plan.value(), args, {workspace.get(), bytes});
}

Status run_gmm(GmmArgs args, const Way& way, const Options& options) {
  if (way.packs) {
    Result<PackedRhs> packed = pack_rhs(args.rhs, options);
    if (!packed.ok()) return packed.status();
    args.packed_rhs = std::move(packed.value());
    args.rhs = {};
  }
  return way.plans ? run_planned(args, options) : gmm(args, options);
}

Status run_once(const Sample& s, const Operand& lhs, const Operand& rhs, const View& out, const Way& way,
                const std::string& kernel) {
  Options options = way.options;
  options.kernel = kernel;
  if (s.is_gmm) return run_gmm(s.gmm_args(lhs, rhs, out), way, options);
  const TgmmArgs args = s.tgmm_args(lhs, rhs, out);
  return way.plans ? run_planned(args, options) : tgmm(args, options);
}

float canonical(float x) { return std::isnan(x) ? std::bit_cast<float>(0x7fc00000U) : x; }

/// Behind the product: bias, accumulation.
float finished(const Sample& s, float product, float bias, float before) {
  if (!s.bias.empty()) product = canonical(reference::fused(1, product, bias));
  if (s.out_mode == OutMode::accumulate) product = canonical(reference::fused(1, before, product));
  return product;
}

bool is_expected(const Out& out, std::int64_t index, float value) {
  const std::byte* at = out.bytes.data() + index * element_bytes(out.view.format);
  if (std::isnan(value)) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, at, static_cast<std::size_t>(element_bytes(out.view.format)));
    return bits == (out.view.format == Format::f32 ? 0x7fc00000U : out.view.format == Format::bf16 ? 0x7fc0U : 0x7e00U);
  }
  const double expected = testing::rounded_to(out.view.format, static_cast<double>(value));
  const double got = testing::output_at(out.view.format, out.bytes.data(), index);
  return std::bit_cast<std::uint64_t>(expected) == std::bit_cast<std::uint64_t>(got);
}

/// Whether the call writes nothing at this output.
bool is_left(const Sample& s, std::int64_t b, std::int64_t r) {
  const bool accumulates = s.out_mode == OutMode::accumulate;
  if (!s.is_gmm) return accumulates && s.sizes[static_cast<std::size_t>(s.first_group + b)] == 0;
  for (std::int64_t g = s.first_group; g < s.first_group + s.local; ++g) {
    const auto i = static_cast<std::size_t>(g);
    if (r >= s.starts[i] && r < s.starts[i] + s.sizes[i]) return false;
  }
  return accumulates || s.rows_outside == RowsOutside::leave;
}

std::int64_t local_group(const Sample& s, std::int64_t row) {
  for (std::int64_t g = s.first_group; g < s.first_group + s.local; ++g) {
    const auto i = static_cast<std::size_t>(g);
    if (row >= s.starts[i] && row < s.starts[i] + s.sizes[i]) return g - s.first_group;
  }
  return -1;
}

std::string described(const Sample& s, const Way& way) {
  return fmt::format("{} lhs [{}, {}] {} scales {} {}x{}, rhs [{}, {}, {}] {} scales {} {}x{}, kernel {}, {} threads",
                     s.is_gmm ? "gmm" : "tgmm", s.lhs.rows, s.lhs.cols, name(s.lhs.format), name(s.lhs.scale_format),
                     s.lhs.block_rows, s.lhs.block_cols, s.rhs.batch, s.rhs.rows, s.rhs.cols, name(s.rhs.format),
                     name(s.rhs.scale_format), s.rhs.block_rows, s.rhs.block_cols, way.kernel, way.options.threads);
}

void check(const Sample& s, const Way& way, Out& out, const reference::Ordered& ordered) {
  float before = 0;
  std::memset(&before, static_cast<int>(kFill), sizeof before);
  const std::int64_t bytes = element_bytes(out.view.format);
  for (std::int64_t b = 0; b < out.view.batch; ++b) {
    for (std::int64_t r = 0; r < out.view.rows; ++r) {
      if (is_left(s, b, r)) continue;
      const std::int64_t group = s.is_gmm ? local_group(s, r) : b;
      for (std::int64_t c = 0; c < out.view.cols; ++c) {
        const std::int64_t index = out.index(b, r, c);
        const float bias = s.bias.empty() || group < 0 ? 0.0F : s.bias[static_cast<std::size_t>(group * out.view.cols + c)];
        const float product = ordered.at(b, r, c);
        const float expected = group < 0 ? 0.0F : finished(s, product, bias, before);
        if (!is_expected(out, index, expected)) {
          fail(fmt::format("({}, {}, {}): expected {:.9g}, got {:.9g}: {}", b, r, c, expected,
                           testing::output_at(out.view.format, out.bytes.data(), index), described(s, way)));
        }
        std::memset(out.bytes.data() + index * bytes, static_cast<int>(kFill), static_cast<std::size_t>(bytes));
      }
    }
  }
  for (const std::byte left : out.bytes) {
    if (left != kFill) fail("memory that is no output was written: " + described(s, way));
  }
}

void run_one(Input in) {
  const Sample s = read_sample(in);
  SerialExecutor executor;
  const Way way = read_way(in, executor);
  suites::Relaid lhs;
  suites::Relaid rhs;
  relay_some_way(in, s.lhs.operand(), lhs);
  relay_some_way(in, s.rhs.operand(), rhs);
  Out out(in, s);

  Status status = run_once(s, lhs.operand, rhs.operand, out.view, way, way.kernel);
  // A forced kernel may be missing here, or decline the formats.
  if (status.code() == Code::unsupported && !way.kernel.empty()) {
    status = run_once(s, lhs.operand, rhs.operand, out.view, way, "");
  }
  if (!status.ok()) fail(status.message() + ": " + described(s, way));
  const View shape = matrices(static_cast<void*>(nullptr), s.out_format, s.out_batch(), s.out_rows(), s.out_cols());
  check(s, way, out,
        s.is_gmm ? reference::Ordered(s.gmm_args(s.lhs.operand(), s.rhs.operand(), shape))
                 : reference::Ordered(s.tgmm_args(s.lhs.operand(), s.rhs.operand(), shape)));
}

}  // namespace
}  // namespace ragdot::fuzz

int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  for (const ragdot::KernelInfo& kernel : ragdot::list_kernels()) {
    std::fprintf(stderr, "product: kernel %s%s%s\n", kernel.name.c_str(),
                 kernel.usable ? "" : " is not run here: ", kernel.reason.c_str());
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ragdot::fuzz::run_one(ragdot::fuzz::Input(data, size));
  return 0;
}
