// Which way the driver takes: few rows one of the kernel's ways without a panel of weights, everything else panels. Results do
// not tell, so a kernel's functions are replaced by ones that note that they were called; they compute nothing, and run on CPUs
// that lack the kernel's instructions too.
#include "cpu/drive.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <ostream>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu/isa/features.hpp"
#include "cpu/tile_size.hpp"

namespace ragdot::cpu {
namespace {

using plan::Weights;

constexpr std::size_t kWays = std::tuple_size_v<WaysOfFewRows>;
constexpr std::size_t kPanels = kWays;

/// Multiplications by each of the kernel's ways, and behind them those of panels.
std::array<int, kWays + 1> taken;

void pack_nothing(const PackJob& /*job*/) {}

template <std::size_t kWay>
void note(const MultiplyJob& /*job*/, const PackJob& weights) {
  EXPECT_EQ(weights.panel, nullptr) << "a way of few rows has no panel of weights";
  ++taken[kWay];
}

/// A kernel that chooses as the real one does.
class Hollow {
 public:
  explicit Hollow(const Kernel& real) : kernel_(real) {
    kernel_.pack_lhs = kernel_.pack_rhs = pack_nothing;
    kernel_.multiply = [](const MultiplyJob& job) {
      EXPECT_NE(job.rhs_panel, nullptr);
      ++taken[kPanels];
    };
    kernel_.store = [](const StoreJob&) {};
    kernel_.stores = true;
    kernel_.enter = kernel_.leave = nullptr;
    replace(std::make_index_sequence<kWays>());
  }

  [[nodiscard]] const Kernel& kernel() const { return kernel_; }

 private:
  template <std::size_t... kEach>
  void replace(std::index_sequence<kEach...> /*ways*/) {
    (replace_one<kEach>(), ...);
  }
  template <std::size_t kWay>
  void replace_one() {
    if (kernel_.few_rows[kWay] == nullptr) return;
    ways_[kWay] = *kernel_.few_rows[kWay];
    ways_[kWay].pack_lhs = pack_nothing;
    ways_[kWay].multiply = note<kWay>;
    kernel_.few_rows[kWay] = &ways_[kWay];
  }

  Kernel kernel_;
  std::array<FewRows, kWays> ways_{};
};

/// Scales of both operands.
enum class Grid : std::int32_t { none, blocks, within_chunks, powers, powers_by_column };

struct Case {
  Weights weights = Weights::packed;
  Format format = Format::e4m3;
  Grid grid = Grid::none;
  std::int64_t depth = 0;
  std::int64_t rows = 0;
  std::size_t way = kPanels;

  friend void PrintTo(const Case& c, std::ostream* out) {
    constexpr std::array kWeights = {"[K, N]", "[N, K]", "packed"};
    constexpr std::array kGrids = {"no scales", "f32 blocks of 128", "f32 blocks of 48", "e8m0 blocks of 128", "mx"};
    *out << kWeights[static_cast<std::size_t>(c.weights)] << " " << name(c.format) << ", "
         << kGrids[static_cast<std::size_t>(c.grid)] << ", depth " << c.depth << ", " << c.rows << " rows";
  }
};

constexpr std::int64_t kCols = 64;

/// Operands that are all zeros, with scales that are all ones.
class Product {
 public:
  explicit Product(const Case& c) : case_(c), values_(static_cast<std::size_t>(2 * c.depth * std::max(c.rows, kCols))) {
    lhs_ = matrix(memory(), c.format, c.rows, c.depth);
    rhs_ = c.weights == Weights::columns ? Operand(matrices(memory(), c.format, 1, kCols, c.depth)).transposed()
                                         : Operand(matrices(memory(), c.format, 1, c.depth, kCols));
    switch (c.grid) {
      case Grid::none: break;
      case Grid::blocks: scale(Format::f32, 128, 128); break;
      case Grid::within_chunks: scale(Format::f32, 48, 64); break;
      case Grid::powers: scale(Format::e8m0, 128, 128); break;
      case Grid::powers_by_column: scale(Format::e8m0, 32, 1); break;
    }
  }

  void run(const Kernel& kernel) {
    std::vector<float> out(static_cast<std::size_t>(case_.rows * kCols));
    GmmArgs args;
    args.lhs = lhs_;
    args.rhs = rhs_;
    args.groups = Groups::from_sizes(std::span<const std::int64_t>(&case_.rows, 1));
    args.out = matrix(static_cast<void*>(out.data()), Format::f32, case_.rows, kCols);
    Plan::Choice choice;
    choice.problem = plan::problem_of(args);
    choice.problem.weights = case_.weights;
    choice.effective = effective_tile(choice.problem, kernel, {}, 1);
    Call call;
    call.kernel = &kernel;
    call.tile = choice.effective;
    call.depth = case_.depth;
    call.lhs = lhs_;
    call.rhs = rhs_;
    call.rhs_layout = case_.weights == Weights::packed ? RhsLayout::packed : RhsLayout::strided;
    call.out = args.out;
    call.layout = layout_of(choice, kernel);
    struct alignas(kWorkspaceAlignment) Line {
      std::byte bytes[kWorkspaceAlignment];
    };
    std::vector<Line> workspace(call.layout.total / sizeof(Line) + 1);
    call.workspace = workspace.front().bytes;
    std::array<schedule::Span, 1> spans = {{{{0, case_.rows}, 0, 0, 0, call.tile.tm, call.tile.tn}}};
    call.spans = spans;
    call.items = schedule::number_items(spans, -1, kCols);
    drive(call, default_executor());
  }

 private:
  [[nodiscard]] const void* memory() const { return values_.data(); }

  /// Blocks of `depth` x `cols` of rhs, and of a row by `depth` of lhs.
  void scale(Format format, std::int64_t depth, std::int64_t cols) {
    const std::int64_t along = schedule::ceil_div(case_.depth, depth);
    const std::int64_t across = schedule::ceil_div(kCols, cols);
    const std::int64_t count = along * std::max(across, case_.rows);
    ones_.assign(static_cast<std::size_t>(count), 1.0F);
    powers_.assign(static_cast<std::size_t>(count), 127);
    const void* at = format == Format::f32 ? static_cast<const void*>(ones_.data()) : powers_.data();
    lhs_.scales = {matrix(at, format, case_.rows, along), 1, depth};
    if (case_.weights == Weights::columns) {
      rhs_ = rhs_.transposed();
      rhs_.scales = {matrices(at, format, 1, across, along), cols, depth};
      rhs_ = rhs_.transposed();
    } else {
      rhs_.scales = {matrices(at, format, 1, along, across), depth, cols};
    }
  }

  Case case_;
  std::vector<std::byte> values_;
  std::vector<float> ones_;
  std::vector<std::uint8_t> powers_;
  Operand lhs_;
  Operand rhs_;
};

/// The ways that a kernel takes are those of the cases.
void check(const Kernel& kernel, const std::vector<Case>& cases) {
  const Hollow hollow(kernel);
  for (const Case& c : cases) {
    taken.fill(0);
    Product(c).run(hollow.kernel());
    for (std::size_t way = 0; way <= kWays; ++way) {
      EXPECT_EQ(taken[way] > 0, way == c.way) << kernel.name << ", " << testing::PrintToString(c) << ": "
                                              << (way == kPanels ? "panels" : "way " + std::to_string(way));
    }
  }
}

/// Numbers in the lists of the kernels.
namespace bf16 {
constexpr std::size_t kCodes = 0, kFma = 1, kPairs = 2, kDecodedRows = 3, kChunks = 4, kDecodedColumns = 5, kRuns = 6;
}
namespace amx {
constexpr std::size_t kFma = 0, kTiles = 1;
}
namespace fma {
constexpr std::size_t kFma = 0;
}

/// Tests of one kernel.
class Ways : public ::testing::Test {
 protected:
  void SetUp() override {
    // What decides is compiled for them.
    const bool decides = features().avx512() && features().avx512vbmi && features().avx512bf16;
    if (!decides) GTEST_SKIP() << "this CPU has no AVX-512 with VBMI and BF16";
  }

  static void check(std::string_view name, const std::vector<Case>& cases) {
    const auto kernels = listed_kernels();
    const auto at = std::find_if(kernels.begin(), kernels.end(), [&](const Kernel* kernel) { return kernel->name == name; });
    if (at == kernels.end()) GTEST_SKIP() << "this build has no " << name;
    cpu::check(**at, cases);
  }
};

constexpr Format kE4m3 = Format::e4m3;
constexpr Format kBf16 = Format::bf16;

TEST_F(Ways, OfAvx512bf16WithPackedWeights) {
  constexpr Weights kPacked = Weights::packed;
  std::vector<Case> cases;
  for (const std::int64_t rows : {1, 4, 16, 32}) {
    cases.push_back({kPacked, kE4m3, Grid::blocks, 640, rows, bf16::kCodes});
    cases.push_back({kPacked, kE4m3, Grid::powers, 640, rows, bf16::kCodes});
    cases.push_back({kPacked, Format::e5m2, Grid::none, 640, rows, bf16::kCodes});
    cases.push_back({kPacked, kE4m3, Grid::none, 8192, rows, bf16::kCodes});  // reduction tiles
    // Scales that differ between the columns of a block.
    cases.push_back({kPacked, kE4m3, Grid::powers_by_column, 640, rows, bf16::kDecodedRows});
    // A tail of a chunk, segments that end within one: fma for one or two rows.
    cases.push_back({kPacked, kE4m3, Grid::none, 650, rows, rows <= 2 ? bf16::kFma : bf16::kDecodedRows});
    cases.push_back({kPacked, kE4m3, Grid::within_chunks, 640, rows, rows <= 2 ? bf16::kFma : bf16::kDecodedRows});
    cases.push_back({kPacked, kBf16, Grid::none, 640, rows, rows <= 4 ? bf16::kFma : bf16::kPairs});
    cases.push_back({kPacked, kBf16, Grid::none, 650, rows, rows <= 4 ? bf16::kFma : bf16::kDecodedRows});
  }
  cases.push_back({kPacked, kE4m3, Grid::none, 650, 2, bf16::kFma});
  cases.push_back({kPacked, kE4m3, Grid::none, 650, 3, bf16::kDecodedRows});
  cases.push_back({kPacked, kBf16, Grid::none, 640, 5, bf16::kPairs});
  for (const Format format : {kE4m3, kBf16}) {
    for (const std::int64_t rows : {33, 64, 300}) cases.push_back({kPacked, format, Grid::none, 640, rows, kPanels});
  }
  check("avx512bf16", cases);
}

TEST_F(Ways, OfAvx512bf16WithContiguousColumns) {
  constexpr Weights kColumns = Weights::columns;
  check("avx512bf16",
        {
            // Up to 5 rows of FP8 and 8 of bf16 by chunks, a few more decoded into the L1 cache, then panels.
            {kColumns, kE4m3, Grid::blocks, 1024, 1, bf16::kChunks},
            {kColumns, kE4m3, Grid::blocks, 1024, 4, bf16::kChunks},
            {kColumns, kE4m3, Grid::blocks, 1024, 5, bf16::kChunks},
            {kColumns, kE4m3, Grid::blocks, 1024, 6, bf16::kDecodedColumns},
            {kColumns, kE4m3, Grid::blocks, 1024, 8, bf16::kDecodedColumns},
            {kColumns, kE4m3, Grid::blocks, 1024, 9, kPanels},
            {kColumns, kE4m3, Grid::blocks, 1024, 16, kPanels},
            {kColumns, kBf16, Grid::none, 1024, 1, bf16::kChunks},
            {kColumns, kBf16, Grid::none, 1024, 4, bf16::kChunks},
            {kColumns, kBf16, Grid::none, 1024, 8, bf16::kChunks},
            {kColumns, kBf16, Grid::none, 1024, 9, bf16::kDecodedColumns},
            {kColumns, kBf16, Grid::none, 1024, 16, bf16::kDecodedColumns},
            {kColumns, kBf16, Grid::none, 1024, 32, bf16::kDecodedColumns},
            {kColumns, kBf16, Grid::none, 1024, 33, kPanels},
            // e8m0 scales, segments that end within a chunk.
            {kColumns, kE4m3, Grid::powers, 1024, 1, bf16::kDecodedColumns},
            {kColumns, kE4m3, Grid::within_chunks, 1024, 1, bf16::kDecodedColumns},
            // Columns that are too short, or fill too little of their granules of 1024: 0.6 for two rows, 5/6 for more.
            {kColumns, kE4m3, Grid::none, 500, 1, bf16::kDecodedColumns},
            {kColumns, kE4m3, Grid::none, 600, 1, bf16::kDecodedColumns},
            {kColumns, kE4m3, Grid::none, 620, 2, bf16::kChunks},
            {kColumns, kE4m3, Grid::none, 620, 3, bf16::kDecodedColumns},
            {kColumns, kE4m3, Grid::none, 860, 3, bf16::kChunks},
            // Columns in parts: FP8 of one or two rows alone.
            {kColumns, kE4m3, Grid::none, 4096, 4, bf16::kChunks},
            {kColumns, kE4m3, Grid::none, 8192, 2, bf16::kChunks},
            {kColumns, kE4m3, Grid::none, 8192, 3, bf16::kDecodedColumns},
            {kColumns, kBf16, Grid::none, 8192, 1, bf16::kDecodedColumns},
            // What lhs takes of the L1 cache.
            {kColumns, kBf16, Grid::none, 4096, 4, bf16::kChunks},
            {kColumns, kBf16, Grid::none, 4096, 5, bf16::kDecodedColumns},
        });
}

TEST_F(Ways, OfAvx512bf16WithContiguousRows) {
  constexpr Weights kRows = Weights::rows;
  std::vector<Case> cases;
  for (const std::int64_t rows : {1, 4, 12, 16}) {
    const std::size_t fp8 = rows <= 12 ? bf16::kRuns : kPanels;
    cases.push_back({kRows, kE4m3, Grid::blocks, 640, rows, fp8});
    cases.push_back({kRows, kE4m3, Grid::powers, 640, rows, fp8});
    cases.push_back({kRows, kE4m3, Grid::none, 8192, rows, fp8});
    cases.push_back({kRows, kBf16, Grid::none, 640, rows, bf16::kRuns});
    // Reductions that are no multiple of a chunk, segments that end within one, scales by column.
    for (const Format format : {kE4m3, kBf16}) cases.push_back({kRows, format, Grid::none, 650, rows, kPanels});
    cases.push_back({kRows, kE4m3, Grid::within_chunks, 640, rows, kPanels});
    cases.push_back({kRows, kE4m3, Grid::powers_by_column, 640, rows, kPanels});
  }
  for (const Format format : {kE4m3, kBf16}) {
    for (const std::int64_t rows : {17, 300}) cases.push_back({kRows, format, Grid::none, 640, rows, kPanels});
  }
  check("avx512bf16", cases);
}

TEST_F(Ways, OfAmxAreForPackedWeights) {
  std::vector<Case> cases;
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 16, 64, 65}) {
    const std::size_t more = rows <= 64 ? amx::kTiles : kPanels;
    cases.push_back({Weights::packed, kE4m3, Grid::blocks, 640, rows, rows <= 2 ? amx::kFma : more});
    cases.push_back({Weights::packed, kBf16, Grid::none, 650, rows, rows <= 4 ? amx::kFma : more});
    cases.push_back({Weights::packed, kE4m3, Grid::powers_by_column, 640, rows, more});
    for (const Weights weights : {Weights::rows, Weights::columns})
      cases.push_back({weights, kE4m3, Grid::blocks, 1024, rows, kPanels});
  }
  check("amx", cases);
}

TEST_F(Ways, OfAvx512AreForPackedWeights) {
  std::vector<Case> cases;
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 16}) {
    cases.push_back({Weights::packed, kE4m3, Grid::blocks, 650, rows, rows <= 2 ? fma::kFma : kPanels});
    cases.push_back({Weights::packed, kBf16, Grid::none, 640, rows, rows <= 4 ? fma::kFma : kPanels});
    for (const Weights weights : {Weights::rows, Weights::columns})
      cases.push_back({weights, kE4m3, Grid::blocks, 1024, rows, kPanels});
  }
  check("avx512", cases);
}

TEST(WaysOfOtherKernels, ArePanels) {
  std::vector<Case> cases;
  for (const Weights weights : {Weights::rows, Weights::columns, Weights::packed})
    cases.push_back({weights, kE4m3, Grid::blocks, 640, 1, kPanels});
  for (const Kernel* kernel : listed_kernels()) {
    const std::string_view name = kernel->name;
    if (name == "avx2" || name == "portable") check(*kernel, cases);
  }
}

}  // namespace
}  // namespace ragdot::cpu
