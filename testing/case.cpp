// Data families, quantisation by the library's own quantisers, and the views of each operation.
#include "testing/case.hpp"

#include <cmath>
#include <cstring>

#include "testing/made.hpp"
#include "testing/random.hpp"
#include "testing/sizes.hpp"

namespace ragdot::testing {
namespace {

std::int64_t blocks(std::int64_t dim, std::int64_t block) {
  return block == kWholeAxis ? 1 : dim / block + (dim % block != 0 ? 1 : 0);
}

/// The originals of gaussian, spread and outlier data.
void fill_original(StoredOperand& o, Family family, Random& random) {
  o.original.resize(static_cast<std::size_t>(o.batch * o.rows * o.cols));
  constexpr std::int64_t kRun = 32;
  float magnitude = 1;
  for (std::size_t i = 0; i < o.original.size(); ++i) {
    if (family == Family::spread && i % kRun == 0) magnitude = std::ldexp(1.0F, static_cast<int>(random.below(13)) - 6);
    float x = random.normal() * magnitude;
    if (family == Family::outlier) x = i % 257 == 100 ? 448.0F : x * 0x1p-8F;
    o.original[i] = to_bf16(x);
  }
  o.plain = matrices(static_cast<const void*>(o.original.data()), Format::bf16, o.batch, o.rows, o.cols);
}

struct GroupTable {
  const std::vector<std::int64_t>* sizes = nullptr;  // null: the rows are not grouped
  Groups groups = {};
  ScaleOrigin origin = ScaleOrigin::global;

  [[nodiscard]] bool per_group() const { return sizes != nullptr && origin == ScaleOrigin::per_group; }
};

/// Shapes, formats and scale grid of an operand whose extents are set; no memory.
void shape(StoredOperand& o, const OperandSpec& spec, const GroupTable& groups) {
  const void* const none = nullptr;
  o.operand.values = matrices(none, spec.format, o.batch, o.rows, o.cols);
  if (!spec.scaled) return;
  std::int64_t rows = blocks(o.rows, spec.block_rows);
  if (groups.per_group()) {
    rows = 0;
    for (const std::int64_t size : *groups.sizes) rows += blocks(size, spec.block_rows);
  }
  const std::int64_t cols = blocks(o.cols, spec.block_cols);
  o.operand.scales = {matrices(none, spec.scale, o.batch, rows, cols), spec.block_rows, spec.block_cols,
                      groups.per_group() ? ScaleOrigin::per_group : ScaleOrigin::global};
}

/// Memory for what a view describes.
void allocate(ConstView& view, Bytes& buffer) {
  buffer.resize(static_cast<std::size_t>(view.batch * view.rows * view.cols * element_bytes(view.format)));
  view.data = buffer.data();
}

/// Quantises the original; an unscaled FP8 operand takes the fixed scale 1.
Status quantize_original(StoredOperand& o, const OperandSpec& spec, Recipe recipe, const GroupTable& groups) {
  QuantizeArgs args;
  args.input = o.plain;
  args.out.values = matrices(static_cast<void*>(o.values.data()), spec.format, o.batch, o.rows, o.cols);
  std::vector<float> ones(static_cast<std::size_t>(o.batch), 1.0F);
  if (spec.scaled) {
    const ConstView& s = o.operand.scales.view;
    args.out.scales = {matrices(static_cast<void*>(o.scales.data()), s.format, s.batch, s.rows, s.cols), spec.block_rows,
                       spec.block_cols};
    args.out.recipe = recipe;
    if (groups.per_group()) args.groups = groups.groups;
  } else {
    args.out.scales = {matrices(static_cast<void*>(ones.data()), Format::f32, o.batch, 1, 1), kWholeAxis, kWholeAxis};
    args.out.recipe = Recipe::fixed;
  }
  return quantize(args);
}

void widen_original(StoredOperand& o, Format format) {
  for (std::size_t i = 0; i < o.original.size(); ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(o.original[i]) << 16;
    if (format == Format::f32) {
      std::memcpy(o.values.data() + 4 * i, &bits, 4);
    } else {
      std::memcpy(o.values.data() + 2 * i, &o.original[i], 2);
    }
  }
}

Status fill(StoredOperand& o, const OperandSpec& spec, const Problem& p, const GroupTable& groups, Random& random) {
  const std::int64_t bytes = element_bytes(spec.format);
  allocate(o.operand.values, o.values);
  if (spec.scaled) allocate(o.operand.scales.view, o.scales);
  if (is_made(p.data)) {
    Maker maker(p.data, random);
    for (std::int64_t i = 0; i < o.batch * o.rows * o.cols; ++i) maker.store_value(spec.format, o.values.data() + i * bytes);
    const ConstView& s = o.operand.scales.view;
    for (std::int64_t i = 0; spec.scaled && i < s.batch * s.rows * s.cols; ++i)
      maker.store_scale(spec.scale, i, o.scales.data() + i * element_bytes(spec.scale));
    return {};
  }
  fill_original(o, p.data, random);
  if (spec.format != Format::f32 && spec.format != Format::bf16) return quantize_original(o, spec, p.recipe, groups);
  widen_original(o, spec.format);
  return {};
}

/// NaN bytes (-1 for i8) in every row that belongs to no group.
void poison_outside(StoredOperand& o, const Case& c) {
  const std::int64_t row = o.cols * element_bytes(o.operand.values.format);
  std::int64_t end = 0;
  const auto poison_up_to = [&](std::int64_t begin) {
    std::fill(o.values.begin() + end * row, o.values.begin() + begin * row, std::byte{0xff});
  };
  for (std::size_t g = 0; g < c.sizes.size(); ++g) {
    poison_up_to(c.starts[g]);
    end = c.starts[g] + c.sizes[g];
  }
  poison_up_to(o.rows);
}

}  // namespace

Case::Case(const Problem& given, Contents contents) : problem(given), sizes(group_sizes(given)) {
  const Problem& p = problem;
  Random random(p.seed);
  starts = p.starts;
  std::int64_t end = 0;
  for (std::size_t g = 0; p.starts.empty() && g < sizes.size(); ++g) {
    starts.push_back(end);
    end += sizes[g];
  }
  const GroupTable grouped{&sizes, groups(), p.origin};
  lhs.rows = p.m;
  lhs.cols = p.op == Op::dlhs ? p.n : p.k;
  rhs.batch = is_gmm() ? local() : 1;
  rhs.rows = !is_gmm() ? p.m : p.order == Order::kn ? p.k : p.n;
  rhs.cols = is_gmm() && p.order == Order::nk ? p.k : p.n;
  const GroupTable rhs_groups = is_gmm() ? GroupTable{} : grouped;
  shape(lhs, p.lhs, grouped);
  shape(rhs, p.rhs, rhs_groups);
  if (contents == Contents::none) return;
  status = fill(lhs, p.lhs, p, grouped, random);
  if (!status.ok()) return;
  status = fill(rhs, p.rhs, p, rhs_groups, random);
  if (!status.ok()) return;
  poison_outside(lhs, *this);
  if (!is_gmm()) poison_outside(rhs, *this);
  // What is added to sums near the ends of the formats lies there too, half of it.
  const auto added = [&] { return random.normal() * (p.data == Family::edges && random.normal() > 0 ? 0x1p-126F : 1.0F); };
  for (std::int64_t i = 0; p.bias && i < local() * out_cols(); ++i) bias.push_back(added());
  const std::int64_t outputs = out_batch() * out_rows() * out_cols();
  initial_out.assign(static_cast<std::size_t>(outputs * element_bytes(p.out)), std::byte{0xff});
  const bool accumulates = p.out_mode == OutMode::accumulate && p.out == Format::f32;  // the call refuses other formats
  for (std::int64_t i = 0; accumulates && i < outputs; ++i) {
    const float x = added();
    std::memcpy(initial_out.data() + 4 * i, &x, 4);
  }
}

Groups Case::groups() const {
  return problem.starts.empty() ? Groups::from_sizes(std::span(sizes))
                                : Groups::from_starts_and_sizes(std::span(starts), std::span(sizes));
}
std::int64_t Case::out_batch() const { return is_gmm() ? 1 : local(); }
std::int64_t Case::out_rows() const { return is_gmm() ? problem.m : problem.k; }
std::int64_t Case::out_cols() const { return problem.op == Op::dlhs ? problem.k : problem.n; }

namespace {

/// Stored weights as gmm wants them: [L, inner, outer].
template <class T>
T logical(const T& stored, const Problem& p) {
  return (p.op == Op::dlhs) == (p.order == Order::kn) ? stored.transposed() : stored;
}

}  // namespace

GmmArgs Case::gmm_args(void* out) const {
  GmmArgs args;
  args.lhs = lhs.operand;
  args.rhs = logical(rhs.operand, problem);
  args.groups = groups();
  args.out = matrix(out, problem.out, out_rows(), out_cols());
  if (problem.bias) args.bias = matrix(static_cast<const void*>(bias.data()), Format::f32, local(), out_cols());
  args.activation = problem.act;
  args.rows_outside = problem.rows_outside;
  args.out_mode = problem.out_mode;
  args.first_group = problem.first;
  return args;
}

TgmmArgs Case::tgmm_args(void* out) const {
  TgmmArgs args;
  args.lhs = lhs.operand;
  args.rhs = rhs.operand;
  args.groups = groups();
  args.out = matrices(out, problem.out, local(), problem.k, problem.n);
  args.out_mode = problem.out_mode;
  args.first_group = problem.first;
  return args;
}

Status Case::plain_product(std::vector<float>& out) const {
  out.assign(static_cast<std::size_t>(out_batch() * out_rows() * out_cols()), 0.0F);
  if (is_gmm()) {
    GmmArgs args;
    args.lhs = lhs.plain;
    args.rhs = logical(rhs.plain, problem);
    args.groups = groups();
    args.out = matrix(static_cast<void*>(out.data()), Format::f32, out_rows(), out_cols());
    args.first_group = problem.first;
    return gmm(args);
  }
  TgmmArgs args = tgmm_args(out.data());
  args.lhs = lhs.plain;
  args.rhs = rhs.plain;
  args.out = matrices(static_cast<void*>(out.data()), Format::f32, local(), problem.k, problem.n);
  args.out_mode = OutMode::overwrite;
  return tgmm(args);
}

Options options_of(const Problem& problem) {
  Options options;
  options.kernel = problem.kernel;
  options.tiling = problem.tile;
  options.threads = problem.threads;
  return options;
}

Result<Plan> plan_of(const Problem& problem) {
  const Case shapes(problem, Contents::none);
  const Options options = options_of(problem);
  return shapes.is_gmm() ? make_plan(shapes.gmm_args(nullptr), options) : make_plan(shapes.tgmm_args(nullptr), options);
}

Status run(const Case& c, const Options& options, Bytes& out) {
  out = c.initial_out;
  return c.is_gmm() ? gmm(c.gmm_args(out.data()), options) : tgmm(c.tgmm_args(out.data()), options);
}

}  // namespace ragdot::testing
