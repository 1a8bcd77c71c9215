// Every choice is a byte; extents, strides and scale grids follow from them by the text of the header.
#include "tests/fuzz/abi/builder.hpp"

#include <algorithm>

namespace ragdot::fuzz {
namespace {

constexpr std::int32_t kPairs[][2] = {{RAGDOT_E4M3, RAGDOT_E4M3}, {RAGDOT_E5M2, RAGDOT_E4M3}, {RAGDOT_BF16, RAGDOT_BF16},
                                      {RAGDOT_BF16, RAGDOT_E4M3}, {RAGDOT_F32, RAGDOT_F32},   {RAGDOT_I8, RAGDOT_I8}};
constexpr std::int32_t kScaleFormats[] = {RAGDOT_F32, RAGDOT_NONE, RAGDOT_E8M0, RAGDOT_BF16};
constexpr std::int32_t kOutFormats[] = {RAGDOT_F32, RAGDOT_BF16, RAGDOT_F16};
constexpr std::int32_t kQuantised[] = {RAGDOT_E4M3, RAGDOT_E5M2, RAGDOT_I8};
constexpr std::int32_t kAnyValues[] = {RAGDOT_E4M3, RAGDOT_E5M2, RAGDOT_I8, RAGDOT_BF16, RAGDOT_F32, RAGDOT_F16};
constexpr std::int64_t kBlocks[] = {1, 2, 3, 8, RAGDOT_WHOLE_AXIS};

std::int64_t bytes_of(std::int32_t format) {
  return format == RAGDOT_F32 ? 4 : format == RAGDOT_BF16 || format == RAGDOT_F16 ? 2 : 1;
}

bool is_quantised(std::int32_t format) { return format == RAGDOT_E4M3 || format == RAGDOT_E5M2 || format == RAGDOT_I8; }

std::int64_t blocks(std::int64_t extent, std::int64_t block) {
  return block == RAGDOT_WHOLE_AXIS ? 1 : (extent + block - 1) / block;
}

template <class T>
const void* stored(Arena& arena, const std::int64_t* numbers, std::int64_t count) {
  std::byte* at = arena.take(count * static_cast<std::int64_t>(sizeof(T)), 0);
  for (std::int64_t i = 0; i < count && at != nullptr; ++i) {
    const auto number = static_cast<T>(numbers[i]);
    std::memcpy(at + i * static_cast<std::int64_t>(sizeof number), &number, sizeof number);
  }
  return at;
}

}  // namespace

Builder::Builder(Input& in, Arena& arena) : in_(in), arena_(arena) {
  arena.reset(in.byte(), in.flag() ? 0x38 : -1);  // 0x38 makes numbers near 1 in every format
  build_groups();
  k_ = in.below(24);
  n_ = in.below(12);
}

void Builder::build_groups() {
  const std::int64_t kind = in_.below(4);
  count_ = in_.below(kMostGroups + 1);
  std::array<std::int64_t, kMostGroups + 1> ends{};
  std::int64_t at = kind == RAGDOT_OFFSETS || kind == RAGDOT_STARTS_AND_SIZES ? in_.below(3) : 0;
  ends[0] = at;
  for (std::int64_t g = 0; g < count_; ++g) {
    const auto i = static_cast<std::size_t>(g);
    if (kind == RAGDOT_STARTS_AND_SIZES) at += in_.below(2);
    starts_[i] = at;
    sizes_[i] = in_.below(5);
    at += sizes_[i];
    ends[i + 1] = at;
  }
  m_ = at + in_.below(3);
  first_ = in_.below(count_ + 1);
  local_ = count_ - first_ - in_.below(count_ - first_ + 1);

  const bool wide = in_.flag();
  const auto store = [&](const std::int64_t* numbers, std::int64_t count) {
    return wide ? stored<std::int64_t>(arena_, numbers, count) : stored<std::int32_t>(arena_, numbers, count);
  };
  groups_.kind = static_cast<std::int32_t>(kind);
  groups_.index = wide ? RAGDOT_INDEX_I64 : RAGDOT_INDEX_I32;
  groups_.count = count_;
  switch (kind) {
    case RAGDOT_SIZES: groups_.data = store(sizes_.data(), count_); break;
    case RAGDOT_ENDS: groups_.data = store(ends.data() + 1, count_); break;
    case RAGDOT_OFFSETS: groups_.data = store(ends.data(), count_ + 1); break;
    default: groups_.data = store(starts_.data(), count_); groups_.sizes = store(sizes_.data(), count_);
  }
}

template <class View>
View Builder::view(std::int32_t format, std::int64_t batch, std::int64_t rows, std::int64_t cols) {
  View v{};
  v.format = format;
  v.batch = batch;
  v.rows = rows;
  v.cols = cols;
  const std::int64_t way = in_.below(4);
  const std::int64_t padding = way >= 2 ? 3 : 0;
  const bool transposed = way % 2 == 1;
  v.row_stride = transposed ? 1 : cols + padding;
  v.col_stride = transposed ? rows + padding : 1;
  v.batch_stride = rows * cols + padding * (transposed ? cols : rows);
  if (batch > 0 && rows > 0 && cols > 0) {
    const std::int64_t last = (batch - 1) * v.batch_stride + (rows - 1) * v.row_stride + (cols - 1) * v.col_stride;
    v.data = arena_.take((last + 1) * bytes_of(format), padding);
  }
  return v;
}

Builder::Grid Builder::grid(std::int64_t rows, std::int64_t cols, bool grouped, bool per_group) {
  Grid g;
  g.block_rows = in_.pick(kBlocks);
  g.block_cols = in_.pick(kBlocks);
  g.rows = blocks(rows, g.block_rows);
  g.cols = blocks(cols, g.block_cols);
  if (grouped && per_group) {
    g.origin = RAGDOT_ORIGIN_PER_GROUP;
    g.rows = 0;
    for (std::int64_t i = 0; i < count_; ++i) g.rows += blocks(sizes_[static_cast<std::size_t>(i)], g.block_rows);
  }
  return g;
}

ragdot_operand Builder::operand(std::int32_t format, std::int64_t batch, std::int64_t rows, std::int64_t cols, bool grouped) {
  ragdot_operand o{};
  o.values = view<ragdot_const_view>(format, batch, rows, cols);
  const std::int32_t scales = is_quantised(format) ? in_.pick(kScaleFormats) : RAGDOT_NONE;
  if (scales == RAGDOT_NONE) return o;
  const Grid g = grid(rows, cols, grouped, grouped && in_.flag());
  o.scales = {view<ragdot_const_view>(scales, batch, g.rows, g.cols), g.block_rows, g.block_cols, g.origin};
  return o;
}

ragdot_operand Builder::operand(bool grouped) { return operand(in_.pick(kAnyValues), batch_, m_, k_, grouped); }

ragdot_const_view Builder::plain(std::int32_t format) { return view<ragdot_const_view>(format, batch_, m_, k_); }

ragdot_quantized_out Builder::quantized(bool grouped) {
  constexpr std::int32_t kWritten[] = {RAGDOT_F32, RAGDOT_BF16, RAGDOT_E8M0};
  ragdot_quantized_out out{};
  out.values = view<ragdot_view>(in_.pick(kQuantised), batch_, m_, k_);
  out.recipe = static_cast<std::int32_t>(in_.below(4));
  const Grid g = grid(m_, k_, grouped, grouped);
  out.scales = {view<ragdot_view>(in_.pick(kWritten), batch_, g.rows, g.cols), g.block_rows, g.block_cols};
  return out;
}

void Builder::fill_with_powers(const ragdot_const_view& f32, std::uint8_t first) {
  std::uint32_t exponent = first;
  for (std::int64_t b = 0; b < f32.batch && f32.data != nullptr; ++b) {
    for (std::int64_t r = 0; r < f32.rows; ++r) {
      for (std::int64_t c = 0; c < f32.cols; ++c, ++exponent) {
        const std::uint32_t bits = exponent % 256 << 23;
        const std::int64_t index = b * f32.batch_stride + r * f32.row_stride + c * f32.col_stride;
        std::byte* at = arena_.at(static_cast<const std::byte*>(f32.data) - arena_.at(0));
        std::memcpy(at + index * 4, &bits, sizeof bits);
      }
    }
  }
}

ragdot_gmm_args Builder::gmm() {
  ragdot_gmm_args a{};
  a.struct_size = sizeof a;
  const auto& pair = in_.pick(kPairs);
  a.lhs = operand(pair[0], 1, m_, k_, true);
  a.rhs = operand(pair[1], local_, k_, n_, false);
  a.groups = groups_;
  a.out_mode = in_.below(4) == 1 ? RAGDOT_ACCUMULATE : RAGDOT_OVERWRITE;
  a.out = view<ragdot_view>(a.out_mode == RAGDOT_ACCUMULATE ? RAGDOT_F32 : in_.pick(kOutFormats), 1, m_, n_);
  if (in_.flag()) a.bias = view<ragdot_const_view>(RAGDOT_F32, 1, local_, n_);
  a.activation = static_cast<std::int32_t>(in_.below(6));
  a.rows_outside = static_cast<std::int32_t>(in_.below(2));
  a.first_group = first_;
  return a;
}

ragdot_tgmm_args Builder::tgmm() {
  ragdot_tgmm_args a{};
  a.struct_size = sizeof a;
  const auto& pair = in_.pick(kPairs);
  a.lhs = operand(pair[0], 1, m_, k_, true);
  a.rhs = operand(pair[1], 1, m_, n_, true);
  a.groups = groups_;
  a.out_mode = in_.below(4) == 1 ? RAGDOT_ACCUMULATE : RAGDOT_OVERWRITE;
  a.out = view<ragdot_view>(a.out_mode == RAGDOT_ACCUMULATE ? RAGDOT_F32 : in_.pick(kOutFormats), local_, k_, n_);
  a.first_group = first_;
  return a;
}

}  // namespace ragdot::fuzz
