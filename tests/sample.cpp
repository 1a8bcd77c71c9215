// Makes the random calls of the suites; shares nothing with the library but its public headers.
#include "tests/sample.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "testing/kernels.hpp"

namespace ragdot::suites {
namespace {

std::int64_t blocks(std::int64_t dim, std::int64_t block) {
  return block == kWholeAxis ? 1 : dim / block + (dim % block != 0 ? 1 : 0);
}

void store_value(DenseOperand& operand, std::size_t i, Random& random, Data data) {
  std::byte* at = operand.values.data() + static_cast<std::int64_t>(i) * element_bytes(operand.format);
  const auto code = static_cast<std::uint8_t>(random.next());
  const auto small = static_cast<int>(random.between(-4, 4));
  if (operand.format == Format::e4m3 || operand.format == Format::e5m2) {
    const bool e4m3 = operand.format == Format::e4m3;
    std::uint8_t c = code;
    if (data == Data::subnormals) c = code & 0x8f;
    if (data == Data::mixed)
      c = static_cast<std::uint8_t>((code & 0x80) | (e4m3 ? 0x20 + (code & 0x3f) : 0x30 + (code & 0x1f)));
    if (e4m3 ? (c & 0x7f) == 0x7f : (c & 0x7c) == 0x7c) c = 0x38;
    if (data == Data::integers) {
      constexpr std::uint8_t kE4m3[] = {0x00, 0x38, 0x40, 0x44, 0x48};  // 0 1 2 3 4
      constexpr std::uint8_t kE5m2[] = {0x00, 0x3c, 0x40, 0x42, 0x44};
      c = static_cast<std::uint8_t>((e4m3 ? kE4m3 : kE5m2)[std::abs(small)] | (small < 0 ? 0x80 : 0));
    }
    *at = std::byte{c};
  } else if (operand.format == Format::i8) {
    *at = static_cast<std::byte>(data == Data::integers ? static_cast<std::uint8_t>(small) : code);
  } else {
    float v = static_cast<float>(random.between(-(1 << 24), 1 << 24)) * 0x1p-22F;
    if (data == Data::all_codes) v *= std::ldexp(1.0F, static_cast<int>(random.between(-20, 20)));
    if (data == Data::tiny) v *= 0x1p-63F;
    if (data == Data::integers) v = static_cast<float>(small);
    const auto bits = std::bit_cast<std::uint32_t>(v);
    const auto high = static_cast<std::uint16_t>(bits >> 16);
    if (operand.format == Format::bf16) {
      std::memcpy(at, &high, sizeof high);
    } else {
      std::memcpy(at, &bits, sizeof bits);
    }
  }
}

void store_scale(DenseOperand& operand, std::size_t i, Random& random, Data data) {
  const int exponent = data == Data::integers ? static_cast<int>(i % 5) - 2
                       : data == Data::tiny   ? static_cast<int>(random.between(-70, -62))
                                              : static_cast<int>(random.between(-6, 6));
  const float fraction = data == Data::integers ? 1.0F : 1.0F + static_cast<float>(random.between(0, 1000)) / 1024.0F;
  const auto bits = std::bit_cast<std::uint32_t>(std::ldexp(fraction, exponent));
  const auto high = static_cast<std::uint16_t>(bits >> 16);
  std::byte* at = operand.scales.data() + static_cast<std::int64_t>(i) * element_bytes(operand.scale_format);
  if (operand.scale_format == Format::e8m0) {
    *at = static_cast<std::byte>(127 + exponent);
  } else if (operand.scale_format == Format::bf16) {
    std::memcpy(at, &high, sizeof high);
  } else {
    std::memcpy(at, &bits, sizeof bits);
  }
}

DenseOperand make_operand(Format format, std::int64_t batch, std::int64_t rows, std::int64_t cols, Random& random, Data data) {
  DenseOperand operand;
  operand.format = format;
  operand.batch = batch;
  operand.rows = rows;
  operand.cols = cols;
  operand.values.resize(static_cast<std::size_t>(batch * rows * cols * element_bytes(format)));
  for (std::int64_t i = 0; i < batch * rows * cols; ++i) store_value(operand, static_cast<std::size_t>(i), random, data);
  return operand;
}

/// Adds scales; `sizes` when the rows are grouped and the grid is per_group.
void add_scales(DenseOperand& operand, Format format, std::int64_t block_rows, std::int64_t block_cols, ScaleOrigin origin,
                const std::vector<std::int64_t>* sizes, Random& random, Data data) {
  if (format == Format::none) return;
  operand.scale_format = format;
  operand.block_rows = block_rows;
  operand.block_cols = block_cols;
  operand.scale_rows = blocks(operand.rows, block_rows);
  operand.scale_cols = blocks(operand.cols, block_cols);
  if (sizes != nullptr && origin == ScaleOrigin::per_group) {
    operand.origin = origin;
    operand.scale_rows = 0;
    for (const std::int64_t size : *sizes) operand.scale_rows += blocks(size, block_rows);
  }
  const auto count = static_cast<std::size_t>(operand.batch * operand.scale_rows * operand.scale_cols);
  operand.scales.resize(count * static_cast<std::size_t>(element_bytes(format)));
  for (std::size_t i = 0; i < count; ++i) store_scale(operand, i, random, data);
}

}  // namespace

std::uint64_t Random::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::int64_t Random::between(std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(high - low + 1));
}

Operand DenseOperand::operand() const {
  Operand o = matrices(static_cast<const void*>(values.data()), format, batch, rows, cols);
  if (scale_format != Format::none) {
    o.scales = {matrices(static_cast<const void*>(scales.data()), scale_format, batch, scale_rows, scale_cols), block_rows,
                block_cols, origin};
  }
  return o;
}

std::byte* DenseOperand::value(std::int64_t b, std::int64_t r, std::int64_t c) {
  return values.data() + ((b * rows + r) * cols + c) * element_bytes(format);
}
const std::byte* DenseOperand::value(std::int64_t b, std::int64_t r, std::int64_t c) const {
  return values.data() + ((b * rows + r) * cols + c) * element_bytes(format);
}
std::byte* DenseOperand::scale(std::int64_t b, std::int64_t r, std::int64_t c) {
  return scales.data() + ((b * scale_rows + r) * scale_cols + c) * element_bytes(scale_format);
}
const std::byte* DenseOperand::scale(std::int64_t b, std::int64_t r, std::int64_t c) const {
  return scales.data() + ((b * scale_rows + r) * scale_cols + c) * element_bytes(scale_format);
}

const std::vector<Grids>& gmm_grids() {
  constexpr Format e4 = Format::e4m3, e5 = Format::e5m2, bf = Format::bf16, f32 = Format::f32, i8 = Format::i8,
                   e8 = Format::e8m0;
  constexpr std::int64_t all = kWholeAxis;
  static const std::vector<Grids> grids = {
      {"blockwise", e4, e4, f32, 1, 128, f32, 128, 128},
      {"blockwise_e8m0", e4, e4, e8, 1, 128, e8, 128, 128},
      {"channelwise", e4, e4, f32, 1, all, f32, all, 1},
      {"per_tensor_e5m2", e5, e4, f32, all, all, bf, all, all},
      {"mx", e4, e5, e8, 1, 32, e8, 32, 1},
      {"row_with_blocks", e4, e4, f32, 1, all, f32, 128, 128},
      {"e8m0_with_f32", e4, e4, e8, 1, 32, f32, 64, 48},
      {"odd", e4, e5, bf, 3, 5, f32, 7, 11},
      {"odd_per_group", e5, e4, f32, 3, 37, f32, 29, 13, ScaleOrigin::per_group},
      {"ones_between_twos", e4, e4, f32, 1, 2, f32, 5, 16},
      {"per_element", e4, e4, f32, 1, 1, f32, 1, 16},
      {"bf16", bf, bf},
      {"bf16_with_blocks", bf, e4, Format::none, all, all, f32, 128, 128},
      {"e4m3_unscaled", e4, e4},
      {"f32", f32, f32},
      {"i8_channelwise", i8, i8, f32, 1, all, f32, all, 1},
      {"i8_e8m0_blocks", i8, i8, e8, 1, 64, f32, 64, 64},
  };
  return grids;
}

const std::vector<Grids>& tgmm_grids() {
  constexpr Format e4 = Format::e4m3, e5 = Format::e5m2, bf = Format::bf16, f32 = Format::f32, i8 = Format::i8,
                   e8 = Format::e8m0;
  constexpr std::int64_t all = kWholeAxis;
  static const std::vector<Grids> grids = {
      {"blockwise", e4, e4, f32, 128, 1, f32, 128, 1},
      {"blockwise_per_group", e4, e5, f32, 128, 1, f32, 128, 1, ScaleOrigin::per_group},
      {"blockwise_e8m0", e4, e4, e8, 128, 1, e8, 128, 1},
      {"channelwise_per_group", e4, e4, f32, all, 1, f32, all, 1, ScaleOrigin::per_group},
      {"mx", e4, e4, e8, 32, 1, e8, 32, 1},
      {"blocks_with_rows", e4, e4, f32, 128, 1, f32, 1, 128},
      {"rows_with_rows", e4, e4, f32, 1, 128, f32, 1, 128},
      {"rows_in_sevens", e4, e4, f32, 1, 7, f32, 1, 16},
      {"bf16_with_rows", bf, e4, Format::none, all, all, f32, 1, 48},
      {"square_with_columns", e4, e4, f32, 16, 16, f32, 32, 1},
      {"odd", e5, e4, bf, 13, 5, f32, 9, 7},
      {"odd_per_group", e4, e4, f32, 13, 5, e8, 9, 7, ScaleOrigin::per_group},
      {"bf16", bf, bf},
      {"bf16_with_e5m2", bf, e5, Format::none, all, all, f32, 32, all},
      {"f32", f32, f32},
      {"i8_blocks", i8, i8, f32, 32, 1, f32, 64, 1},
  };
  return grids;
}

GmmArgs Sample::gmm_args(const Operand& l, const Operand& r, const View& out) const {
  GmmArgs args;
  args.lhs = l;
  args.rhs = r;
  args.groups = groups();
  args.out = out;
  if (!bias.empty()) args.bias = matrix(static_cast<const void*>(bias.data()), Format::f32, local, rhs.cols);
  args.activation = activation;
  args.rows_outside = rows_outside;
  args.out_mode = out_mode;
  args.first_group = first_group;
  return args;
}

TgmmArgs Sample::tgmm_args(const Operand& l, const Operand& r, const View& out) const {
  TgmmArgs args;
  args.lhs = l;
  args.rhs = r;
  args.groups = groups();
  args.out = out;
  args.out_mode = out_mode;
  args.first_group = first_group;
  return args;
}

namespace {

View out_view(const Sample& s, std::byte* bytes) {
  return matrices(static_cast<void*>(bytes), s.out_format, s.out_batch(), s.out_rows(), s.out_cols());
}

std::vector<std::byte> initial_out(const Sample& s) {
  return std::vector<std::byte>(
      static_cast<std::size_t>(s.out_batch() * s.out_rows() * s.out_cols() * element_bytes(s.out_format)), s.out_fill);
}

/// The same call with weights packed into memory of the test's own.
std::vector<std::byte> compute_packed_here(const Sample& s, GmmArgs args, const Operand& rhs, const Options& options) {
  std::vector<std::byte> bytes = initial_out(s);
  const std::vector<std::byte> packed = packed_values(rhs.values);
  args.packed_rhs = {};
  args.rhs = rhs;
  args.rhs.values.data = packed.data();
  args.rhs.values.batch_stride = args.rhs.values.row_stride = args.rhs.values.col_stride = -7;  // not read
  args.rhs_layout = RhsLayout::packed;
  args.out = out_view(s, bytes.data());
  const Status status = gmm(args, options);
  EXPECT_TRUE(status.ok()) << status.message();
  return bytes;
}

std::vector<std::byte> compute_packed(const Sample& s, const Operand& lhs, const Operand& rhs, const Options& options) {
  std::vector<std::byte> bytes = initial_out(s);
  GmmArgs args = s.gmm_args(lhs, {}, out_view(s, bytes.data()));
  const auto packed = pack_rhs(rhs, options);
  EXPECT_TRUE(packed.ok()) << packed.status().message();
  args.packed_rhs = packed.value();
  const Status status = gmm(args, options);
  EXPECT_TRUE(status.ok()) << status.message();
  if (rhs.values.cols % kPackedCols == 0) expect_same(s, bytes, compute_packed_here(s, args, rhs, options), "packed here");
  return bytes;
}

std::vector<std::byte> compute_once(const Sample& s, const Operand& lhs, const Operand& rhs, const Options& options) {
  std::vector<std::byte> bytes = initial_out(s);
  const View out = out_view(s, bytes.data());
  const Status status = s.is_gmm ? gmm(s.gmm_args(lhs, rhs, out), options) : tgmm(s.tgmm_args(lhs, rhs, out), options);
  EXPECT_TRUE(status.ok()) << status.message();
  return bytes;
}

}  // namespace

std::vector<std::byte> packed_values(const ConstView& rhs) {
  std::vector<std::byte> packed(static_cast<std::size_t>(rhs.batch * rhs.rows * rhs.cols * element_bytes(rhs.format)));
  const Status status = pack_values(rhs, packed);
  EXPECT_TRUE(status.ok()) << status.message();
  return packed;
}

std::vector<std::string> kernels_for(const Sample& s, const Operand& lhs, const Operand& rhs) {
  std::byte nothing;  // plans read shapes only
  return s.is_gmm ? testing::kernels_for(s.gmm_args(lhs, rhs, out_view(s, &nothing)))
                  : testing::kernels_for(s.tgmm_args(lhs, rhs, out_view(s, &nothing)));
}

std::vector<std::byte> compute(const Sample& s, const Operand& lhs, const Operand& rhs, const Options& options) {
  std::vector<std::byte> bytes = compute_once(s, lhs, rhs, options);
  if (!options.kernel.empty()) return bytes;
  std::vector<std::string> kernels = kernels_for(s, lhs, rhs);
#ifdef __SANITIZE_THREAD__  // threads share a driver, no kernel: the one that is taken and one more see as many races as all
  if (kernels.size() > 1) kernels = {kernels[1]};
#endif
  for (const std::string& kernel : kernels) {
    Options forced = options;
    forced.kernel = kernel;
    expect_same(s, bytes, compute_once(s, lhs, rhs, forced), "kernel " + kernel);
    // These have ways of their own with packed weights; others make panels of them as of any (Invariance.PackedWeights).
    const bool own_way = kernel == "amx_standin" || kernel == "avx512bf16" || kernel == "avx512";
    if (s.is_gmm && own_way) expect_same(s, bytes, compute_packed(s, lhs, rhs, forced), "packed, " + kernel);
  }
  return bytes;
}

std::vector<std::byte> compute(const Sample& s, const Options& options) {
  return compute(s, s.lhs.operand(), s.rhs.operand(), options);
}

Shape touching(const std::vector<std::int64_t>& sizes, std::int64_t m, std::int64_t k, std::int64_t n) {
  Shape shape{{}, sizes, m, k, n};
  std::int64_t at = 0;
  for (const std::int64_t size : sizes) {
    shape.starts.push_back(at);
    at += size;
  }
  return shape;
}

Sample make_gmm(const Grids& grids, const Shape& shape, Data data, std::uint64_t seed) {
  Random random(seed);
  Sample s;
  s.starts = shape.starts;
  s.sizes = shape.sizes;
  s.local = static_cast<std::int64_t>(shape.sizes.size());
  s.lhs = make_operand(grids.lhs, 1, shape.m, shape.k, random, data);
  s.rhs = make_operand(grids.rhs, s.local, shape.k, shape.n, random, data);
  add_scales(s.lhs, grids.lhs_scale, grids.lhs_rows, grids.lhs_cols, grids.origin, &s.sizes, random, data);
  add_scales(s.rhs, grids.rhs_scale, grids.rhs_rows, grids.rhs_cols, grids.origin, nullptr, random, data);
  return s;
}

Sample make_tgmm(const Grids& grids, const Shape& shape, Data data, std::uint64_t seed) {
  Random random(seed);
  Sample s;
  s.is_gmm = false;
  s.starts = shape.starts;
  s.sizes = shape.sizes;
  s.local = static_cast<std::int64_t>(shape.sizes.size());
  s.lhs = make_operand(grids.lhs, 1, shape.m, shape.k, random, data);
  s.rhs = make_operand(grids.rhs, 1, shape.m, shape.n, random, data);
  add_scales(s.lhs, grids.lhs_scale, grids.lhs_rows, grids.lhs_cols, grids.origin, &s.sizes, random, data);
  add_scales(s.rhs, grids.rhs_scale, grids.rhs_rows, grids.rhs_cols, grids.origin, &s.sizes, random, data);
  return s;
}

void expect_same(const Sample& sample, const std::vector<std::byte>& expected, const std::vector<std::byte>& got,
                 const std::string& what) {
  ASSERT_EQ(expected.size(), got.size()) << what;
  const auto bytes = static_cast<std::size_t>(element_bytes(sample.out_format));
  std::size_t differing = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < got.size(); i += bytes) {
    if (std::memcmp(expected.data() + i, got.data() + i, bytes) != 0 && differing++ == 0) first = i / bytes;
  }
  const auto place = static_cast<std::int64_t>(first);
  const std::int64_t cols = sample.out_cols();
  EXPECT_EQ(differing, 0U) << what << ": of " << got.size() / bytes << " outputs; first at ("
                           << place / (cols * sample.out_rows()) << ", " << place / cols % sample.out_rows() << ", "
                           << place % cols << ")";
}

std::vector<std::byte> rows_of(const Sample& sample, const std::vector<std::byte>& out, std::int64_t b, std::int64_t begin,
                               std::int64_t end) {
  const std::int64_t row = sample.out_cols() * element_bytes(sample.out_format);
  const auto first = out.begin() + (b * sample.out_rows() + begin) * row;
  return {first, first + (end - begin) * row};
}

}  // namespace ragdot::suites
