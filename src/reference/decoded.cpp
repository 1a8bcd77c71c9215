// Reads operands by the text of the formats: ldexp and plain indexing, nothing shared with the kernels.
#include "reference/decoded.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "reference/oracle.hpp"

namespace ragdot::reference {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

double fp8(unsigned code, int exponent_bits, int mantissa_bits, bool has_inf) {
  const double sign = (code & 0x80U) != 0 ? -1.0 : 1.0;
  const unsigned magnitude = code & 0x7fU;
  const unsigned mantissa = magnitude % (1U << mantissa_bits);
  const auto exponent = static_cast<int>(magnitude >> mantissa_bits);
  const int top = (1 << exponent_bits) - 1;
  const int bias = top / 2;
  if (has_inf && exponent == top) return mantissa == 0 ? sign * kInf : kNan;
  if (!has_inf && magnitude == 0x7f) return kNan;
  if (exponent == 0) return sign * std::ldexp(static_cast<double>(mantissa), 1 - bias - mantissa_bits);
  return sign * std::ldexp(1.0 + std::ldexp(static_cast<double>(mantissa), -mantissa_bits), exponent - bias);
}

template <class T>
T read(const void* data, std::int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * static_cast<std::int64_t>(sizeof value), sizeof value);
  return value;
}

double flushed(double value) { return std::abs(value) < std::ldexp(1.0, -126) ? 0.0 : value; }

double element(const ConstView& view, std::int64_t index) {
  switch (view.format) {
    case Format::f32: return flushed(static_cast<double>(read<float>(view.data, index)));
    case Format::bf16: {
      const auto bits = static_cast<std::uint32_t>(read<std::uint16_t>(view.data, index)) << 16;
      float value = 0;
      std::memcpy(&value, &bits, sizeof value);
      return flushed(static_cast<double>(value));
    }
    case Format::e4m3: return fp8(read<std::uint8_t>(view.data, index), 4, 3, false);
    case Format::e5m2: return fp8(read<std::uint8_t>(view.data, index), 5, 2, true);
    case Format::i8: return read<std::int8_t>(view.data, index);
    case Format::e8m0: {
      const int code = read<std::uint8_t>(view.data, index);
      return code == 255 ? kNan : std::ldexp(1.0, code - 127);
    }
    case Format::none:
    case Format::f16: break;
  }
  return 0;
}

std::int64_t offset(const ConstView& v, std::int64_t b, std::int64_t r, std::int64_t c) {
  return b * v.batch_stride + r * v.row_stride + c * v.col_stride;
}

/// value * 2^e as bf16 holds it.
double folded(double value, double scale) {
  const double product = value * scale;
  if (std::abs(product) >= std::ldexp(1.0, 128)) return std::copysign(kInf, product);
  return flushed(product);
}

/// Reads elements of a view; of formats with 256 codes, each code is decoded once.
class Elements {
 public:
  explicit Elements(const ConstView& view) : view_(view), is_table_(element_bytes(view.format) == 1) {
    for (std::size_t code = 0; is_table_ && code < table_.size(); ++code) {
      const auto byte = static_cast<std::uint8_t>(code);
      ConstView one = view;
      one.data = &byte;
      table_[code] = element(one, 0);
    }
  }
  [[nodiscard]] double at(std::int64_t index) const {
    return is_table_ ? table_[read<std::uint8_t>(view_.data, index)] : element(view_, index);
  }

 private:
  ConstView view_;
  bool is_table_;
  std::array<double, 256> table_{};
};

DecodedOperand decode(const Operand& operand, const std::vector<std::int64_t>* begins, const std::vector<std::int64_t>* ends) {
  DecodedOperand d;
  const ConstView& v = operand.values;
  const Scales& s = operand.scales;
  d.rows = v.rows;
  d.cols = v.cols;
  d.integers = v.format == Format::i8;
  const bool folds = s.present() && s.view.format == Format::e8m0 && v.format != Format::i8;
  d.cuts = s.present() && !folds;
  d.block_rows = s.block_rows;
  d.block_cols = s.block_cols;
  d.scale_rows = s.view.rows;
  d.scale_cols = s.view.cols;
  if (s.present() && begins != nullptr && s.origin == ScaleOrigin::per_group) {
    std::int64_t base = 0;
    for (std::size_t g = 0; g < begins->size(); ++g) {
      d.group_scale.push_back(base);
      const std::int64_t size = (*ends)[g] - (*begins)[g];
      base += d.block_rows == kWholeAxis ? 1 : size / d.block_rows + (size % d.block_rows != 0 ? 1 : 0);
    }
  }
  for (std::int64_t b = 0; d.cuts && b < v.batch; ++b) {
    for (std::int64_t r = 0; r < s.view.rows; ++r) {
      for (std::int64_t c = 0; c < s.view.cols; ++c)
        d.scales.push_back(static_cast<float>(flushed(element(s.view, offset(s.view, b, r, c)))));
    }
  }
  d.values.resize(static_cast<std::size_t>(v.batch * v.rows * v.cols));
  const Elements elements(v);
  // Several rows at a time: where an operand is stored column by column, its lines are then used whole.
  constexpr std::int64_t kRows = 16;
  const auto store = [&](std::int64_t first, std::int64_t last, std::int64_t g) {
    for (std::int64_t begin = first; begin < last; begin += kRows) {
      for (std::int64_t i = 0; i < v.batch * v.cols; ++i) {
        const std::int64_t b = i / v.cols;
        const std::int64_t c = i % v.cols;
        for (std::int64_t r = begin; r < std::min(begin + kRows, last); ++r) {
          double value = elements.at(offset(v, b, r, c));
          if (folds) value = folded(value, element(s.view, offset(s.view, b, d.scale_row(r, g, r - first), d.scale_col(c))));
          d.values[static_cast<std::size_t>((b * v.rows + r) * v.cols + c)] = static_cast<float>(value);
        }
      }
    }
  };
  if (begins == nullptr) {
    store(0, v.rows, -1);
    return d;
  }
  for (std::size_t g = 0; g < begins->size(); ++g)  // rows of no group are never read
    store((*begins)[g], (*ends)[g], static_cast<std::int64_t>(g));
  return d;
}

template <class T>
void ranges_of(const Groups& groups, std::int64_t* begins, std::int64_t* ends) {
  std::int64_t at = 0;
  for (std::int64_t g = 0; g < groups.count; ++g) {
    const auto number = static_cast<std::int64_t>(read<T>(groups.data, g));
    switch (groups.kind) {
      case Groups::Kind::sizes:
        begins[g] = at;
        ends[g] = at + number;
        break;
      case Groups::Kind::ends:
        begins[g] = at;
        ends[g] = number;
        break;
      case Groups::Kind::offsets:
        begins[g] = number;
        ends[g] = static_cast<std::int64_t>(read<T>(groups.data, g + 1));
        break;
      case Groups::Kind::starts_and_sizes:
        begins[g] = number;
        ends[g] = number + static_cast<std::int64_t>(read<T>(groups.sizes, g));
        break;
    }
    at = ends[g];
  }
}

}  // namespace

void read_ranges(const Groups& groups, std::int64_t* begins, std::int64_t* ends) {
  groups.index == Groups::Index::i32 ? ranges_of<std::int32_t>(groups, begins, ends)
                                     : ranges_of<std::int64_t>(groups, begins, ends);
}

std::int64_t DecodedOperand::scale_row(std::int64_t r, std::int64_t g, std::int64_t within) const {
  if (!group_scale.empty() && g >= 0) {
    const std::int64_t base = group_scale[static_cast<std::size_t>(g)];
    return block_rows == kWholeAxis ? base : base + within / block_rows;
  }
  return block_rows == kWholeAxis ? 0 : r / block_rows;
}

std::int64_t DecodedOperand::scale_col(std::int64_t c) const { return block_cols == kWholeAxis ? 0 : c / block_cols; }

DecodedCall::DecodedCall(const GmmArgs& args)
    : rows(args.lhs.values.rows),
      cols(args.rhs.values.cols),
      inner(args.lhs.values.cols),
      first_group(args.first_group),
      local(args.rhs.values.batch),
      begins(static_cast<std::size_t>(args.groups.count)),
      ends(static_cast<std::size_t>(args.groups.count)) {
  read_ranges(args.groups, begins.data(), ends.data());
  lhs = decode(args.lhs, &begins, &ends);
  rhs = decode(args.rhs, nullptr, nullptr);
}

DecodedCall::DecodedCall(const TgmmArgs& args)
    : is_gmm(false),
      rows(args.lhs.values.cols),
      cols(args.rhs.values.cols),
      first_group(args.first_group),
      local(args.out.batch),
      begins(static_cast<std::size_t>(args.groups.count)),
      ends(static_cast<std::size_t>(args.groups.count)) {
  read_ranges(args.groups, begins.data(), ends.data());
  lhs = decode(args.lhs, &begins, &ends);
  rhs = decode(args.rhs, &begins, &ends);
}

DecodedCall::Line DecodedCall::line(std::int64_t matrix, std::int64_t row) const {
  if (!is_gmm) {
    const auto g = static_cast<std::size_t>(matrix + first_group);
    return {matrix + first_group, begins[g], ends[g] - begins[g]};
  }
  for (std::int64_t g = first_group; g < first_group + local; ++g) {
    const auto i = static_cast<std::size_t>(g);
    if (row >= begins[i] && row < ends[i]) return {g, begins[i], inner};
  }
  return {};
}

float DecodedCall::lhs_value(const Line& line, std::int64_t row, std::int64_t x) const {
  return is_gmm ? lhs.value(0, row, x) : lhs.value(0, line.begin + x, row);
}

float DecodedCall::rhs_value(const Line& line, std::int64_t col, std::int64_t x) const {
  return is_gmm ? rhs.value(line.group - first_group, x, col) : rhs.value(0, line.begin + x, col);
}

std::int64_t DecodedCall::lhs_cut(const Line& line, std::int64_t x) const {
  if (!lhs.cuts) return 0;
  return is_gmm ? lhs.scale_col(x) : lhs.scale_row(line.begin + x, line.group, x);
}

std::int64_t DecodedCall::rhs_cut(const Line& line, std::int64_t x) const {
  if (!rhs.cuts) return 0;
  return is_gmm ? rhs.scale_row(x, -1, 0) : rhs.scale_row(line.begin + x, line.group, x);
}

float DecodedCall::lhs_scale(const Line& line, std::int64_t row, std::int64_t x) const {
  if (!lhs.cuts) return 1;
  if (is_gmm) return lhs.scale(0, lhs.scale_row(row, line.group, row - line.begin), lhs_cut(line, x));
  return lhs.scale(0, lhs_cut(line, x), lhs.scale_col(row));
}

float DecodedCall::rhs_scale(const Line& line, std::int64_t col, std::int64_t x) const {
  if (!rhs.cuts) return 1;
  return rhs.scale(is_gmm ? line.group - first_group : 0, rhs_cut(line, x), rhs.scale_col(col));
}

std::int64_t DecodedCall::segment_end(const Line& line, std::int64_t x) const {
  const std::int64_t l = lhs_cut(line, x);
  const std::int64_t r = rhs_cut(line, x);
  std::int64_t end = x + 1;
  while (end < line.depth && lhs_cut(line, end) == l && rhs_cut(line, end) == r) ++end;
  return end;
}

}  // namespace ragdot::reference
