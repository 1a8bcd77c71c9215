// Sizes around every edge, random grids and groups, and offsets beyond 2^31 and 2^32: all with the bits of the reduction order.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>

#include <cstring>

#include "reference/oracle.hpp"
#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

/// Outputs of local groups that differ from the reduction order, and the first of them.
struct Difference {
  std::size_t count = 0;
  std::string first;
};

template <class Args>
Difference difference(const Sample& s, const Args& args, const std::vector<std::byte>& out) {
  const reference::Ordered ordered(args);
  Difference found;
  for (std::int64_t b = 0, i = 0; b < s.out_batch(); ++b) {
    for (std::int64_t r = 0; r < s.out_rows(); ++r) {
      for (std::int64_t c = 0; c < s.out_cols(); ++c, ++i) {  // a gmm row of no group is 0 in both
        float got = 0;
        std::memcpy(&got, out.data() + 4 * i, 4);
        const float expected = ordered.at(b, r, c);
        if (std::memcmp(&got, &expected, 4) != 0 && found.count++ == 0)
          found.first = fmt::format("({}, {}, {}): {} not {}", b, r, c, got, expected);
      }
    }
  }
  return found;
}

Difference difference(const Sample& s, const Options& options = {}) {
  const View none = matrices(static_cast<void*>(nullptr), Format::f32, s.out_batch(), s.out_rows(), s.out_cols());
  const std::vector<std::byte> out = compute(s, options);
  const Operand lhs = s.lhs.operand();
  const Operand rhs = s.rhs.operand();
  return s.is_gmm ? difference(s, s.gmm_args(lhs, rhs, none), out) : difference(s, s.tgmm_args(lhs, rhs, none), out);
}

TEST(Shapes, TailsOfEveryAxisFrom1To130) {
  const Grids square{"square", Format::e4m3, Format::e4m3, Format::f32, 1, 32, Format::f32, 32, 32};
  const Grids rows{"rows", Format::e4m3, Format::e4m3, Format::f32, 32, 1, Format::f32, 32, 32};
  for (std::int64_t t = 1; t <= 130; ++t) {
    for (const auto& [m, k, n] : {std::tuple{t, std::int64_t{40}, std::int64_t{9}}, {5, t, 9}, {5, 40, t}}) {
      const Shape shape = touching({m / 3, 0, m - m / 3}, m, k, n);
      const Difference forward = difference(make_gmm(square, shape, Data::mixed, static_cast<std::uint64_t>(t)));
      ASSERT_EQ(forward.count, 0U) << "gmm m=" << m << " k=" << k << " n=" << n << ": " << forward.first;
      const Difference gradient = difference(make_tgmm(rows, shape, Data::mixed, static_cast<std::uint64_t>(t)));
      ASSERT_EQ(gradient.count, 0U) << "tgmm m=" << m << " k=" << k << " n=" << n << ": " << gradient.first;
    }
  }
}

Format any_format() { return *rc::gen::element(Format::bf16, Format::e4m3, Format::e5m2); }
std::int64_t any_block() {
  return *rc::gen::oneOf(rc::gen::element<std::int64_t>(1, 32, 128, kWholeAxis), rc::gen::inRange<std::int64_t>(1, 100));
}

void any_scale(Format values, Format& scale, std::int64_t& rows, std::int64_t& cols) {
  if (values == Format::bf16 || values == Format::f32) return;
  scale = *rc::gen::element(Format::none, Format::f32, Format::bf16, Format::e8m0);
  rows = any_block();
  cols = any_block();
}

Grids any_grids() {
  Grids g;
  g.name = "random";
  g.lhs = any_format();
  g.rhs = any_format();
  if (*rc::gen::inRange(0, 5) == 0) g.lhs = g.rhs = *rc::gen::element(Format::i8, Format::f32);
  any_scale(g.lhs, g.lhs_scale, g.lhs_rows, g.lhs_cols);
  any_scale(g.rhs, g.rhs_scale, g.rhs_rows, g.rhs_cols);
  g.origin = *rc::gen::element(ScaleOrigin::global, ScaleOrigin::per_group);
  return g;
}

Shape any_shape() {
  Shape shape;
  const auto gaps = *rc::gen::arbitrary<bool>();
  const auto groups = *rc::gen::inRange(0, 6);
  for (int g = 0; g < groups; ++g) {
    shape.m += gaps ? *rc::gen::inRange<std::int64_t>(0, 5) : 0;
    shape.starts.push_back(shape.m);
    shape.sizes.push_back(*rc::gen::weightedOneOf<std::int64_t>(
        {{1, rc::gen::just<std::int64_t>(0)}, {3, rc::gen::inRange<std::int64_t>(1, 60)}}));
    shape.m += shape.sizes.back();
  }
  shape.m += *rc::gen::inRange<std::int64_t>(0, 5);
  shape.k = *rc::gen::inRange<std::int64_t>(1, 120);
  shape.n = *rc::gen::inRange<std::int64_t>(1, 24);
  return shape;
}

/// More segments of one element than a kernel takes at once. Rows have one scale, in blocks, or each its own.
TEST(Shapes, ManySegmentsOfOneElement) {
  const Shape shape = touching({150, 0, 90}, 240, 300, 70);
  for (const std::int64_t rows : {kWholeAxis, std::int64_t{50}, std::int64_t{1}}) {
    const Difference forward = difference(
        make_gmm({"", Format::e4m3, Format::e5m2, Format::f32, rows, 1, Format::bf16, 1, 8}, shape, Data::mixed, 11));
    EXPECT_EQ(forward.count, 0U) << "gmm, " << rows << ": " << forward.first;
    const Difference gradient = difference(
        make_tgmm({"", Format::e4m3, Format::e5m2, Format::f32, 1, rows, Format::bf16, 1, 8}, shape, Data::mixed, 12));
    EXPECT_EQ(gradient.count, 0U) << "tgmm, " << rows << ": " << gradient.first;
  }
}

TEST(Shapes, RandomGridsGroupsAndTilings) {
  EXPECT_TRUE(rc::check([] {
    const Grids grids = any_grids();
    const Shape shape = any_shape();
    const auto is_gmm = *rc::gen::arbitrary<bool>();
    const auto seed = *rc::gen::inRange<std::uint64_t>(1, 1000);
    Options options;
    options.threads = *rc::gen::inRange(1, 4);
    if (*rc::gen::arbitrary<bool>())
      options.tiling = Tiling{*rc::gen::inRange<std::int64_t>(1, 70), *rc::gen::inRange<std::int64_t>(1, 150),
                              *rc::gen::inRange<std::int64_t>(1, 70)};
    const Sample s = is_gmm ? make_gmm(grids, shape, Data::mixed, seed) : make_tgmm(grids, shape, Data::mixed, seed);
    const Difference d = difference(s, options);
    RC_ASSERT(d.first == "");
  }));
}

/// Address space without memory behind it until it is written.
class Sparse {
 public:
  explicit Sparse(std::size_t bytes)
      : bytes_(bytes),
        at_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Sparse() {
    if (at_ != MAP_FAILED) ::munmap(at_, bytes_);
  }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  [[nodiscard]] bool ok() const { return at_ != MAP_FAILED; }
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(at_); }

 private:
  std::size_t bytes_;
  void* at_;
};

/// Copies a dense view into `to` with the given strides.
ConstView spread(const ConstView& from, std::byte* to, std::int64_t batch_stride, std::int64_t row_stride) {
  const std::int64_t bytes = element_bytes(from.format);
  ConstView v = from;
  v.data = to;
  v.batch_stride = batch_stride;
  v.row_stride = row_stride;
  for (std::int64_t b = 0; b < from.batch; ++b) {
    for (std::int64_t r = 0; r < from.rows; ++r) {
      std::memcpy(to + (b * batch_stride + r * row_stride) * bytes,
                  static_cast<const std::byte*>(from.data) + (b * from.batch_stride + r * from.row_stride) * bytes,
                  static_cast<std::size_t>(from.cols * bytes));
    }
  }
  return v;
}

TEST(Shapes, OffsetsBeyond2To32) {
  constexpr std::int64_t kRow = (1LL << 31) + 7;    // elements from row to row of lhs
  constexpr std::int64_t kBatch = (1LL << 32) + 3;  // from matrix to matrix of rhs
  constexpr std::int64_t kOut = (1LL << 30) + 5;    // f32 from row to row of out: bytes pass 2^32
  const Sparse lhs_memory(4 * kRow);
  const Sparse rhs_memory(2 * kBatch);
  const Sparse out_memory(4 * 4 * kOut);
  if (!lhs_memory.ok() || !rhs_memory.ok() || !out_memory.ok()) GTEST_SKIP() << "no address space for 40 GB of sparse mappings";
  const Sample s = make_gmm(gmm_grids().front(), touching({2, 2}, 4, 150, 20), Data::mixed, 3);
  Operand lhs = s.lhs.operand();
  Operand rhs = s.rhs.operand();
  lhs.values = spread(lhs.values, lhs_memory.data(), 0, kRow);
  rhs.values = spread(rhs.values, rhs_memory.data(), kBatch, 20);
  const View out = matrix(static_cast<void*>(out_memory.data()), Format::f32, 4, 20, kOut);
  const Status status = gmm(s.gmm_args(lhs, rhs, out));
  ASSERT_TRUE(status.ok()) << status.message();
  const std::vector<std::byte> expected = compute(s);
  for (std::int64_t r = 0; r < 4; ++r) {
    EXPECT_EQ(std::memcmp(out_memory.data() + r * kOut * 4, expected.data() + r * 80, 80), 0) << "row " << r;
  }
}

}  // namespace
}  // namespace ragdot::suites
