// Offsets and row numbers that no 32-bit integer holds: the same bits, in address space of which few pages are ever touched.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "ragdot/quantize.hpp"
#include "testing/relay.hpp"
#include "tests/cases.hpp"
#include "tests/promises/guarded.hpp"

namespace ragdot::suites {
namespace {

/// Address space without memory behind it until it is touched.
class Sparse {
 public:
  explicit Sparse(std::size_t bytes) : bytes_(bytes) {
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at != MAP_FAILED) data_ = static_cast<std::byte*>(at);
  }
  ~Sparse() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  std::size_t bytes_;
  std::byte* data_ = nullptr;
};

/// Whether this machine lends address space beyond its memory (vm.overcommit_memory 2 does not).
bool lends_address_space() { return Sparse(std::size_t{1} << 41).data() != nullptr; }
#define RAGDOT_NEEDS_ADDRESS_SPACE() \
  if (!lends_address_space()) GTEST_SKIP() << "the system lends no address space beyond its memory (vm.overcommit_memory)"

/// A view of the same shape whose rows (columns where it is transposed) are `apart` elements apart.
ConstView spread(const ConstView& view, bool transposed, std::int64_t apart) {
  ConstView to = testing::relaid(view, {transposed}, nullptr);
  (transposed ? to.col_stride : to.row_stride) = apart;
  to.batch_stride = (transposed ? view.cols : view.rows) * apart;
  return to;
}

struct FarView {
  FarView(const ConstView& from, bool transposed, std::int64_t apart)
      : view(spread(from, transposed, apart)), memory(testing::extent_bytes(view)) {
    view.data = memory.data();
  }
  [[nodiscard]] View writable() const {
    return {memory.data(), view.format, view.batch, view.rows, view.cols, view.batch_stride, view.row_stride, view.col_stride};
  }
  ConstView view;
  Sparse memory;
};

struct FarOperand {
  FarOperand(const Operand& from, bool transposed, std::int64_t apart)
      : values(from.values, transposed, apart), scales(from.scales.view, transposed, apart), operand(from) {
    testing::copy_elements(from.values, values.view, values.memory.data());
    operand.values = values.view;
    if (!from.scales.present()) return;
    testing::copy_elements(from.scales.view, scales.view, scales.memory.data());
    operand.scales.view = scales.view;
  }
  FarView values;
  FarView scales;
  Operand operand;
};

std::vector<std::byte> dense(const ConstView& view) {
  const ConstView to = testing::relaid(view, {false}, nullptr);
  std::vector<std::byte> bytes(testing::extent_bytes(to));
  testing::copy_elements(view, to, bytes.data());
  return bytes;
}

constexpr std::int64_t kApart[] = {(std::int64_t{1} << 31) + 7, (std::int64_t{1} << 32) + 11};

class Far : public ::testing::TestWithParam<SuiteCase> {
 protected:
  Far() : sample_(make_sample(GetParam(), touching({5, 0, 3}, 9, 37, 35))), expected_(compute(sample_)) {}

  /// One call on every kernel that takes it.
  void expect_equal(const Operand& lhs, const Operand& rhs, const View& out, std::byte* memory, const std::string& what) {
    const std::vector<std::byte> fill(expected_.size(), sample_.out_fill);
    for (const std::string& kernel : kernels_for(sample_, lhs, rhs)) {
      Options options;
      options.kernel = kernel;
      options.threads = 2;
      say_on_fault(what + ", kernel " + kernel);
      const ConstView from = matrices(static_cast<const void*>(fill.data()), out.format, out.batch, out.rows, out.cols);
      testing::copy_elements(from, out, memory);
      const Status status =
          sample_.is_gmm ? gmm(sample_.gmm_args(lhs, rhs, out), options) : tgmm(sample_.tgmm_args(lhs, rhs, out), options);
      ASSERT_TRUE(status.ok()) << status.message();
      expect_same(sample_, expected_, dense(out), what + ", kernel " + kernel);
    }
  }

  Sample sample_;
  std::vector<std::byte> expected_;
};

std::vector<SuiteCase> far_cases() {
  std::vector<SuiteCase> cases;
  for (const SuiteCase& c : all_cases()) {
    for (const char* name : {"blockwise", "odd", "odd_per_group", "mx", "bf16", "f32", "i8_channelwise", "i8_blocks"}) {
      if (c.grids.name == name) cases.push_back(c);
    }
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(All, Far, ::testing::ValuesIn(far_cases()), case_name);

TEST_P(Far, Strides) {
  RAGDOT_NEEDS_ADDRESS_SPACE();
  for (const std::int64_t apart : kApart) {
    for (const bool transposed : {false, true}) {
      const FarOperand lhs(sample_.lhs.operand(), transposed, apart);
      const FarOperand rhs(sample_.rhs.operand(), transposed, apart);
      const ConstView shape =
          matrices(static_cast<const void*>(nullptr), Format::f32, sample_.out_batch(), sample_.out_rows(), sample_.out_cols());
      const FarView out(shape, transposed, apart);
      expect_equal(lhs.operand, rhs.operand, out.writable(), out.memory.data(),
                   std::to_string(apart) + (transposed ? " elements between columns" : " elements between rows"));
    }
  }
}

TEST_P(Far, PackedWeights) {
  if (!sample_.is_gmm) GTEST_SKIP() << "only gmm has weights to pack";
  RAGDOT_NEEDS_ADDRESS_SPACE();
  const FarOperand rhs(sample_.rhs.operand(), true, kApart[1]);
  const auto packed = pack_rhs(rhs.operand);
  ASSERT_TRUE(packed.ok()) << packed.status().message();
  std::vector<std::byte> out(expected_.size());
  GmmArgs args = sample_.gmm_args(sample_.lhs.operand(), {},
                                  matrix(static_cast<void*>(out.data()), Format::f32, sample_.out_rows(), sample_.out_cols()));
  args.packed_rhs = packed.value();
  ASSERT_TRUE(gmm(args).ok());
  expect_same(sample_, expected_, out, "packed from far memory");
}

/// The same groups behind 2^32 rows that belong to none. Blocks of rows begin alike: 2^32 is a multiple of those of the cases.
TEST_P(Far, RowNumbers) {
  const Scales lhs_scales = sample_.lhs.operand().scales;
  const std::int64_t row_block = lhs_scales.present() ? lhs_scales.block_rows : 1;
  constexpr std::int64_t kRows = std::int64_t{1} << 32;
  if (lhs_scales.origin == ScaleOrigin::global && row_block != kWholeAxis && kRows % row_block != 0)
    GTEST_SKIP() << "2^32 rows are no whole number of blocks of this grid";
  RAGDOT_NEEDS_ADDRESS_SPACE();
  std::vector<std::int64_t> starts = sample_.starts;
  for (std::int64_t& start : starts) start += kRows;
  const auto behind = [&](const Operand& from, Sparse& values, Sparse& scales) {
    Operand to = from;
    const auto shift = [](ConstView& view, std::int64_t rows, Sparse& memory) {
      std::memcpy(memory.data() + rows * view.row_stride * element_bytes(view.format), view.data, testing::extent_bytes(view));
      view.data = memory.data();
      view.rows += rows;
    };
    shift(to.values, kRows, values);
    if (!from.scales.present()) return to;
    const bool fixed = from.scales.origin == ScaleOrigin::per_group || from.scales.block_rows == kWholeAxis;
    shift(to.scales.view, fixed ? 0 : kRows / from.scales.block_rows, scales);
    return to;
  };
  constexpr std::size_t kRoom = std::size_t{1} << 40;
  Sparse lhs_values(kRoom), lhs_scale_memory(kRoom), rhs_values(kRoom), rhs_scale_memory(kRoom), out_memory(kRoom);
  const Operand lhs = behind(sample_.lhs.operand(), lhs_values, lhs_scale_memory);
  const Operand rhs = sample_.is_gmm ? sample_.rhs.operand() : behind(sample_.rhs.operand(), rhs_values, rhs_scale_memory);
  const std::int64_t out_rows = sample_.out_rows() + (sample_.is_gmm ? kRows : 0);
  const View out =
      matrices(static_cast<void*>(out_memory.data()), Format::f32, sample_.out_batch(), out_rows, sample_.out_cols());
  std::byte* near = out_memory.data() + (sample_.is_gmm ? kRows * sample_.out_cols() * 4 : 0);
  for (const std::string& kernel : kernels_for(sample_, lhs, rhs)) {
    Options options;
    options.kernel = kernel;
    std::memset(near, 0, expected_.size());
    GmmArgs args = sample_.gmm_args(lhs, rhs, out);
    TgmmArgs transposed = sample_.tgmm_args(lhs, rhs, out);
    args.groups = transposed.groups = Groups::from_starts_and_sizes(std::span(starts), std::span(sample_.sizes));
    args.rows_outside = RowsOutside::leave;  // so that nothing is written in between
    const Status status = sample_.is_gmm ? gmm(args, options) : tgmm(transposed, options);
    ASSERT_TRUE(status.ok()) << status.message();
    expect_same(sample_, expected_, {near, near + expected_.size()}, "behind 2^32 rows, kernel " + kernel);
  }
}

/// Large outputs go past the caches by stores of their own; they end where their rows end, too.
TEST(Streamed, OutputsEndWhereTheirRowsEnd) {
  RAGDOT_NEEDS_ADDRESS_SPACE();
  Guarded memory(std::size_t{9} << 20, Access::write);
  const Sparse lhs_memory(std::size_t{1} << 26);
  for (std::int64_t n = 8; n <= 130; n += n % 16 == 0 ? 1 : 3) {
    const Sample s = make_gmm({"unscaled", Format::e4m3, Format::e4m3}, touching({4, 0, 5}, 9, 37, n), Data::mixed, 5);
    const std::vector<std::byte> expected = compute(s);
    const std::int64_t ahead = (std::int64_t{4} << 20) / (4 * n) + 1;  // rows, which make the output large
    const std::int64_t apart = (n + 15) / 16 * 16;                     // whole cache lines
    Operand lhs = s.lhs.operand();
    std::memcpy(lhs_memory.data() + ahead * 37, lhs.values.data, 9 * 37);
    lhs.values.data = lhs_memory.data();
    lhs.values.rows += ahead;
    const std::vector<std::int64_t> starts = {ahead, ahead + 4, ahead + 4};
    for (const std::string& kernel : kernels_for(s, lhs, s.rhs.operand())) {
      const std::string what = "kernel " + kernel + ", " + std::to_string(n) + " columns";
      say_on_fault(what);
      memory.place(static_cast<std::size_t>((ahead + 9) * apart * 4), Edge::back);
      View out = matrix(static_cast<void*>(memory.data()), Format::f32, ahead + 9, n, apart);
      GmmArgs args = s.gmm_args(lhs, s.rhs.operand(), out);
      args.groups = Groups::from_starts_and_sizes(std::span(starts), std::span(s.sizes));
      args.rows_outside = RowsOutside::leave;
      Options options;
      options.kernel = kernel;
      options.threads = 1;
      const Status status = gmm(args, options);
      ASSERT_TRUE(status.ok()) << status.message();
      out.data = memory.data() + ahead * apart * 4;
      out.rows = 9;
      expect_same(s, expected, dense(out), what);
      memory.expect_canaries(what);
    }
  }
}

TEST(FarQuantisers, Strides) {
  RAGDOT_NEEDS_ADDRESS_SPACE();
  constexpr std::int64_t kRows = 9;
  constexpr std::int64_t kCols = 70;
  Random random(3);
  std::vector<std::byte> bytes(kRows * kCols * 2);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next() & 0x3f);
  const ConstView input = matrix(static_cast<const void*>(bytes.data()), Format::bf16, kRows, kCols);
  const auto copy = [](void* values, void* scales) {
    return QuantizedOut{matrix(values, Format::e4m3, kRows, kCols), {matrix(scales, Format::f32, 3, 2), 4, 48}};
  };
  std::vector<std::byte> values(kRows * kCols);
  std::vector<std::byte> scales(3 * 2 * 4);
  ASSERT_TRUE(quantize({input, std::nullopt, copy(values.data(), scales.data())}).ok());
  for (const KernelInfo& kernel : list_kernels()) {
    if (!kernel.usable) continue;
    for (const std::int64_t apart : kApart) {
      for (const bool transposed : {false, true}) {
        const std::string what =
            "kernel " + kernel.name + ", " + std::to_string(apart) + (transposed ? " by columns" : " by rows");
        Options options;
        options.kernel = kernel.name;
        const FarView from(input, transposed, apart);
        testing::copy_elements(input, from.view, from.memory.data());
        QuantizedOut out = copy(nullptr, nullptr);
        const FarView far_values(out.values, transposed, apart);
        const FarView far_scales(out.scales.view, transposed, apart);
        out.values = far_values.writable();
        out.scales.view = far_scales.writable();
        ASSERT_TRUE(quantize({from.view, std::nullopt, out}, options).ok()) << what;
        EXPECT_EQ(dense(out.values), values) << what;
        EXPECT_EQ(dense(out.scales.view), scales) << what;
        const Operand scaled = {out.values, {out.scales.view, 4, 48, ScaleOrigin::global}};
        const FarView back(input, transposed, apart);
        ASSERT_TRUE(dequantize({scaled, std::nullopt, back.writable()}, options).ok()) << what;
        std::vector<std::byte> near(bytes.size());
        const Operand near_scaled = {copy(values.data(), nullptr).values,
                                     {copy(nullptr, scales.data()).scales.view, 4, 48, ScaleOrigin::global}};
        const View near_out = matrix(static_cast<void*>(near.data()), Format::bf16, kRows, kCols);
        ASSERT_TRUE(dequantize({near_scaled, std::nullopt, near_out}, options).ok()) << what;
        EXPECT_EQ(dense(back.view), near) << what;
      }
    }
  }
}

}  // namespace
}  // namespace ragdot::suites
