// Quantisers touch no byte outside the extents of their views: input and copies lie between inaccessible pages, inputs are
// read-only, for every tail of both axes.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "ragdot/quantize.hpp"
#include "testing/relay.hpp"
#include "tests/promises/guarded.hpp"
#include "tests/sample.hpp"

namespace ragdot::suites {
namespace {

/// One way to quantise.
struct Copy {
  const char* name;
  Format input;
  Format values;
  Format scales;
  std::int64_t block_rows;
  std::int64_t block_cols;
  Recipe recipe;
  bool transposed;
};
constexpr std::int64_t kAll = kWholeAxis;
constexpr std::array<Copy, 8> kCopies = {
    {{"rows", Format::bf16, Format::e4m3, Format::f32, 1, 128, Recipe::absmax, false},
     {"columns", Format::f32, Format::e4m3, Format::f32, 128, 1, Recipe::absmax, true},
     {"squares", Format::f16, Format::e5m2, Format::bf16, 16, 48, Recipe::absmax, false},
     {"squares_transposed", Format::bf16, Format::e4m3, Format::f32, 48, 16, Recipe::pow2, true},
     {"mx", Format::bf16, Format::e4m3, Format::e8m0, 1, 32, Recipe::mx, false},
     {"channels", Format::f32, Format::i8, Format::f32, 1, kAll, Recipe::absmax, false},
     {"tensor", Format::bf16, Format::e5m2, Format::f32, kAll, kAll, Recipe::absmax, true},
     {"elements", Format::f32, Format::e4m3, Format::f32, 1, 1, Recipe::absmax, false}}};

std::int64_t blocks(std::int64_t dim, std::int64_t block) { return block == kWholeAxis ? 1 : (dim + block - 1) / block; }

/// A view of `format` in guarded memory, dense or transposed.
View room(Format format, std::int64_t rows, std::int64_t cols, bool transposed, Edge edge, Guarded& memory) {
  View view = matrix(static_cast<void*>(nullptr), format, rows, cols);
  if (transposed) {
    view.row_stride = 1;
    view.col_stride = rows;
  }
  memory.place(testing::extent_bytes(view), edge);
  view.data = memory.data();
  return view;
}

/// A random input, its quantised copy in ordinary memory, and guarded memory for calls that must give the same.
class QuantiserGuards : public ::testing::TestWithParam<Copy> {
 protected:
  static constexpr std::size_t kMost = 1U << 17;

  void prepare(std::int64_t rows, std::int64_t cols) {
    rows_ = rows;
    cols_ = cols;
    input_.resize(static_cast<std::size_t>(rows * cols * element_bytes(GetParam().input)));
    for (std::byte& b : input_) b = static_cast<std::byte>(random_.next() & 0x3f);  // finite in every format
    values_.resize(static_cast<std::size_t>(rows * cols));
    scale_rows_ = blocks(rows, GetParam().block_rows);
    scale_cols_ = blocks(cols, GetParam().block_cols);
    scales_.resize(static_cast<std::size_t>(scale_rows_ * scale_cols_ * element_bytes(GetParam().scales)));
    dequantised_.resize(static_cast<std::size_t>(rows * cols * 2));
    const QuantizedOut out = {matrix(static_cast<void*>(values_.data()), GetParam().values, rows, cols), scales(scales_.data()),
                              GetParam().recipe};
    ASSERT_TRUE(quantize({plain_input(), std::nullopt, out}, portable_).ok());
    ASSERT_TRUE(
        dequantize({scaled(out), std::nullopt, matrix(static_cast<void*>(dequantised_.data()), Format::bf16, rows, cols)},
                   portable_)
            .ok());
  }

  [[nodiscard]] ConstView plain_input() const {
    return matrix(static_cast<const void*>(input_.data()), GetParam().input, rows_, cols_);
  }
  [[nodiscard]] ScalesOut scales(void* data) const {
    return {matrix(data, GetParam().scales, scale_rows_, scale_cols_), GetParam().block_rows, GetParam().block_cols};
  }
  static Operand scaled(const QuantizedOut& out) {
    return {out.values, {out.scales.view, out.scales.block_rows, out.scales.block_cols, ScaleOrigin::global}};
  }

  /// The bytes of a dense view of guarded memory against the ones in ordinary memory.
  static void expect_bytes(const View& got, const std::vector<std::byte>& expected, const std::string& what) {
    std::vector<std::byte> dense(expected.size());
    testing::copy_elements(got, testing::relaid(got, {false}, nullptr), dense.data());
    EXPECT_EQ(dense, expected) << what;
  }

  void run(const std::string& kernel, Edge edge) {
    const std::string what = std::string(GetParam().name) + ", kernel " + kernel +
                             (edge == Edge::front ? ", front [" : ", back [") + std::to_string(rows_) + ", " +
                             std::to_string(cols_) + "]";
    say_on_fault(what);
    Options options;
    options.kernel = kernel;
    options.threads = 1;
    std::memcpy(guarded_input_.place(input_.size(), edge), input_.data(), input_.size());
    const ConstView input = matrix(static_cast<const void*>(guarded_input_.data()), GetParam().input, rows_, cols_);
    const QuantizedOut out = {room(GetParam().values, rows_, cols_, GetParam().transposed, edge, guarded_values_),
                              {room(GetParam().scales, scale_rows_, scale_cols_, GetParam().transposed, edge, guarded_scales_),
                               GetParam().block_rows, GetParam().block_cols},
                              GetParam().recipe};
    ASSERT_TRUE(quantize({input, std::nullopt, out}, options).ok()) << what;
    expect_bytes(out.values, values_, what);
    expect_bytes(out.scales.view, scales_, what + ", scales");
    run_from_copy(out, options, edge, what);
    guarded_values_.expect_canaries(what + ", values");
    guarded_scales_.expect_canaries(what + ", scales");
    guarded_out_.expect_canaries(what + ", out");
  }

  /// Both copies at once, and the ways back, from the copy that quantize made.
  void run_from_copy(const QuantizedOut& out, const Options& options, Edge edge, const std::string& what) {
    const View back = room(Format::bf16, rows_, cols_, GetParam().transposed, edge, guarded_out_);
    ASSERT_TRUE(dequantize({scaled(out), std::nullopt, back}, options).ok()) << what;
    expect_bytes(back, dequantised_, what + ", dequantised");
    const QuantizedOut again = {room(Format::e4m3, rows_, cols_, !GetParam().transposed, edge, guarded_out_),
                                {room(Format::f32, 1, 1, false, edge, guarded_more_scales_)}};
    ASSERT_TRUE(requantize({scaled(out), std::nullopt, again}, options).ok()) << what;
    const ConstView input = matrix(static_cast<const void*>(guarded_input_.data()), GetParam().input, rows_, cols_);
    ASSERT_TRUE(quantize_both({input, std::nullopt, out, again}, options).ok()) << what;
    expect_bytes(out.values, values_, what + ", of both");
    expect_bytes(out.scales.view, scales_, what + ", scales of both");
    guarded_more_scales_.expect_canaries(what + ", more scales");
  }

  Random random_{7};
  Options portable_ = [] {
    Options options;
    options.kernel = "portable";
    options.threads = 1;
    return options;
  }();
  std::int64_t rows_ = 0, cols_ = 0, scale_rows_ = 0, scale_cols_ = 0;
  std::vector<std::byte> input_, values_, scales_, dequantised_;
  Guarded guarded_input_{kMost, Access::read};
  Guarded guarded_values_{kMost, Access::write};
  Guarded guarded_scales_{kMost, Access::write};
  Guarded guarded_out_{kMost, Access::write};
  Guarded guarded_more_scales_{kMost, Access::write};
};

INSTANTIATE_TEST_SUITE_P(All, QuantiserGuards, ::testing::ValuesIn(kCopies),
                         [](const auto& of) { return std::string(of.param.name); });

TEST_P(QuantiserGuards, EveryTailOfBothAxes) {
  std::vector<std::string> kernels;
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.usable) kernels.push_back(kernel.name);
  }
  for (std::int64_t tail = 1; tail <= 130; ++tail) {
    for (const bool rows : {true, false}) {
      prepare(rows ? tail : 5, rows ? 19 : tail);
      for (const std::string& kernel : kernels) {
        run(kernel, Edge::back);
        if (tail % 8 == 1) run(kernel, Edge::front);
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace ragdot::suites
