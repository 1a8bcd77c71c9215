// Data families, quantisation by the library's own quantisers, and the views of each operation.
#include "testing/case.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include "testing/random.hpp"
#include "testing/sizes.hpp"

namespace ragdot::testing {
namespace {

std::int64_t blocks(std::int64_t dim, std::int64_t block) {
  return block == kWholeAxis ? 1 : dim / block + (dim % block != 0 ? 1 : 0);
}

std::uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
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

/// An integer |v| <= 4 in a format.
void store_integer(Format format, int v, std::byte* at) {
  constexpr std::uint8_t kE4m3[] = {0x00, 0x38, 0x40, 0x44, 0x48};
  constexpr std::uint8_t kE5m2[] = {0x00, 0x3c, 0x40, 0x42, 0x44};
  const auto x = static_cast<float>(v);
  const std::uint16_t half = to_bf16(x);
  const auto sign = static_cast<std::uint8_t>(v < 0 ? 0x80 : 0);
  switch (format) {
    case Format::f32: std::memcpy(at, &x, 4); break;
    case Format::bf16: std::memcpy(at, &half, 2); break;
    case Format::e4m3: *at = std::byte{static_cast<std::uint8_t>(kE4m3[std::abs(v)] | sign)}; break;
    case Format::e5m2: *at = std::byte{static_cast<std::uint8_t>(kE5m2[std::abs(v)] | sign)}; break;
    default: *at = static_cast<std::byte>(v);
  }
}

/// Any finite code of an 8-bit format; a wide range of values for the others.
void store_code(Format format, Random& random, std::byte* at) {
  const float x = random.normal() * std::ldexp(1.0F, static_cast<int>(random.below(41)) - 20);
  const std::uint16_t half = to_bf16(x);
  auto code = static_cast<std::uint8_t>(random.next());
  if (format == Format::e4m3 && (code & 0x7f) == 0x7f) code = 0x7e;
  if (format == Format::e5m2 && (code & 0x7c) == 0x7c) code = 0x7b;
  switch (format) {
    case Format::f32: std::memcpy(at, &x, 4); break;
    case Format::bf16: std::memcpy(at, &half, 2); break;
    default: *at = std::byte{code};
  }
}

/// Distinct powers of two for integers, any moderate scale otherwise.
void store_made_scale(Format format, Family family, std::int64_t i, Random& random, std::byte* at) {
  const int exponent = family == Family::integers ? static_cast<int>(i % 5) - 2 : static_cast<int>(random.below(13)) - 6;
  const float x = std::ldexp(
      family == Family::integers || format == Format::e8m0 ? 1.0F : 1.0F + static_cast<float>(random.unit()), exponent);
  const std::uint16_t half = to_bf16(x);
  switch (format) {
    case Format::f32: std::memcpy(at, &x, 4); break;
    case Format::bf16: std::memcpy(at, &half, 2); break;
    default: *at = static_cast<std::byte>(127 + exponent);
  }
}

struct GroupTable {
  const std::vector<std::int64_t>* sizes = nullptr;  // null: the rows are not grouped
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
    if (groups.per_group()) args.groups = Groups::from_sizes(std::span(*groups.sizes));
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
  if (p.data == Family::integers || p.data == Family::codes) {
    for (std::int64_t i = 0; i < o.batch * o.rows * o.cols; ++i) {
      std::byte* at = o.values.data() + i * bytes;
      p.data == Family::integers ? store_integer(spec.format, static_cast<int>(random.below(9)) - 4, at)
                                 : store_code(spec.format, random, at);
    }
    const ConstView& s = o.operand.scales.view;
    for (std::int64_t i = 0; spec.scaled && i < s.batch * s.rows * s.cols; ++i) {
      store_made_scale(spec.scale, p.data, i, random, o.scales.data() + i * element_bytes(spec.scale));
    }
    return {};
  }
  fill_original(o, p.data, random);
  if (spec.format != Format::f32 && spec.format != Format::bf16) return quantize_original(o, spec, p.recipe, groups);
  widen_original(o, spec.format);
  return {};
}

/// NaN bytes (-1 for i8) in every row that belongs to no group.
void poison_outside(StoredOperand& o, std::int64_t covered) {
  const std::int64_t row = o.cols * element_bytes(o.operand.values.format);
  std::memset(o.values.data() + covered * row, 0xff, static_cast<std::size_t>((o.rows - covered) * row));
}

}  // namespace

Case::Case(const Problem& given, Contents contents) : problem(given), sizes(group_sizes(given)) {
  const Problem& p = problem;
  Random random(p.seed);
  std::int64_t covered = 0;
  for (const std::int64_t size : sizes) covered += size;
  const GroupTable grouped{&sizes, p.origin};
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
  poison_outside(lhs, covered);
  if (!is_gmm()) poison_outside(rhs, covered);
  for (std::int64_t i = 0; p.bias && i < local() * out_cols(); ++i) bias.push_back(random.normal());
  const std::int64_t outputs = out_batch() * out_rows() * out_cols();
  initial_out.assign(static_cast<std::size_t>(outputs * element_bytes(p.out)), std::byte{0xff});
  for (std::int64_t i = 0; p.out_mode == OutMode::accumulate && i < outputs; ++i) {
    const float x = random.normal();
    std::memcpy(initial_out.data() + 4 * i, &x, 4);
  }
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
  args.groups = Groups::from_sizes(std::span(sizes));
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
  args.groups = Groups::from_sizes(std::span(sizes));
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
    args.groups = Groups::from_sizes(std::span(sizes));
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

Status run(const Case& c, const Options& options, Bytes& out) {
  out = c.initial_out;
  return c.is_gmm() ? gmm(c.gmm_args(out.data()), options) : tgmm(c.tgmm_args(out.data()), options);
}

}  // namespace ragdot::testing
