// Exact results in double with the error bound of each: sums of FP8 products are exact there, others err far below the bound.
#include "reference/oracle.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "ragdot/error_bound.hpp"
#include "reference/decoded.hpp"

namespace ragdot::reference {
namespace {

constexpr double kLargest = std::numeric_limits<float>::max();

/// Running sums of one output.
struct Sums {
  double value = 0;
  double block = 0;  // of the open segment
  double block_abs = 0;
  BoundTerms terms = {0, 0, 0, 0};
  bool overflows = false;
};

void close_segment(Sums& s, double lhs_scale, double rhs_scale, std::int64_t length) {
  const double scale = lhs_scale * rhs_scale;
  const double size = std::abs(scale);
  const std::int64_t chunks = (length + 31) / 32;
  const auto n = static_cast<double>(length + 2 * chunks);
  s.value += scale * s.block;
  s.terms.abs_sum += size * s.block_abs;
  s.terms.flush_sum += n * size + s.block_abs + 1;
  s.terms.segments += 1;
  s.terms.longest_segment = std::max(s.terms.longest_segment, length);
  const auto passes = [](double x) { return std::isfinite(x) && x >= kLargest; };
  s.overflows = s.overflows || passes(s.block_abs) || passes(size) || passes(s.terms.abs_sum);
  s.block = 0;
  s.block_abs = 0;
}

}  // namespace

struct Oracle::Decoded : DecodedCall {
  using DecodedCall::DecodedCall;

  void columns(std::int64_t matrix, std::int64_t row, std::int64_t first, std::int64_t count, Exact* out) const {
    const Line at = line(matrix, row);
    if (at.group < 0) {
      std::fill(out, out + count, Exact{0, 0, 0, false, false});
      return;
    }
    std::vector<double> block(static_cast<std::size_t>(count));
    std::vector<double> block_abs(static_cast<std::size_t>(count));
    std::vector<Sums> sums(static_cast<std::size_t>(count));
    for (std::int64_t x = 0; x < at.depth;) {
      const std::int64_t end = segment_end(at, x);
      const std::int64_t begin = x;
      for (; x < end; ++x) {
        const auto a = static_cast<double>(lhs_value(at, row, x));
        // A pointer, not an element: without columns there is none.
        const float* b = rhs.values.data() + (is_gmm ? (at.group - first_group) * inner + x : at.begin + x) * cols + first;
        for (std::size_t c = 0; c < block.size(); ++c) {
          const double product = a * static_cast<double>(b[c]);
          block[c] += product;
          block_abs[c] += std::abs(product);
        }
      }
      const auto lhs_factor = static_cast<double>(lhs_scale(at, row, begin));
      for (std::int64_t c = 0; c < count; ++c) {
        const auto i = static_cast<std::size_t>(c);
        sums[i].block = std::exchange(block[i], 0.0);
        sums[i].block_abs = std::exchange(block_abs[i], 0.0);
        close_segment(sums[i], lhs_factor, static_cast<double>(rhs_scale(at, first + c, begin)), end - begin);
      }
    }
    for (std::int64_t c = 0; c < count; ++c) {
      const Sums& s = sums[static_cast<std::size_t>(c)];
      out[c] = {s.value, s.terms.abs_sum, error_bound(s.terms), s.overflows, true};
    }
  }
};

Oracle::Oracle(const GmmArgs& args) : decoded_(std::make_unique<Decoded>(args)) {}
Oracle::Oracle(const TgmmArgs& args) : decoded_(std::make_unique<Decoded>(args)) {}
Oracle::~Oracle() = default;

Exact Oracle::at(std::int64_t matrix, std::int64_t row, std::int64_t col) const {
  Exact exact;
  decoded_->columns(matrix, row, col, 1, &exact);
  return exact;
}

void Oracle::row(std::int64_t matrix, std::int64_t row, Exact* out) const {
  decoded_->columns(matrix, row, 0, decoded_->cols, out);
}

}  // namespace ragdot::reference

namespace ragdot {

double error_bound(const BoundTerms& terms) {
  constexpr double kUnit = 0x1p-24;
  // In double: sums of any two numbers fit, and those of real calls are exact.
  const double chunks = std::ceil(static_cast<double>(terms.longest_segment) / 32);
  const double h = static_cast<double>(terms.segments) + chunks + 17;
  if (h * kUnit >= 1) return std::numeric_limits<double>::infinity();  // the formula holds below
  return h * kUnit / (1 - h * kUnit) * terms.abs_sum + 0x1p-125 * terms.flush_sum;
}

}  // namespace ragdot
