// Measured on what users get back: the dequantised values.
#include "cli/quantize_loss.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

namespace ragdot::cli {

Status measure(const ConstView& input, const Operand& quantised, Loss& loss) {
  std::vector<float> exact(static_cast<std::size_t>(input.rows * input.cols));
  std::vector<float> back(exact.size());
  double difference = 0;
  double size = 0;
  for (std::int64_t b = 0; b < input.batch; ++b) {
    const auto one = [b](ConstView v) {
      v.data = static_cast<const std::byte*>(v.data) + b * v.batch_stride * element_bytes(v.format);
      v.batch = 1;
      return v;
    };
    Operand part = quantised;
    part.values = one(quantised.values);
    part.scales.view = one(quantised.scales.view);
    const auto out = [&](std::vector<float>& to) {
      return matrix(static_cast<void*>(to.data()), Format::f32, input.rows, input.cols);
    };
    if (Status s = dequantize({one(input), {}, out(exact)}); !s.ok()) return s;
    if (Status s = dequantize({part, {}, out(back)}); !s.ok()) return s;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double x = static_cast<double>(exact[i]);
      const double d = x - static_cast<double>(back[i]);
      loss.nans += std::isnan(x) ? 1 : 0;
      loss.infs += std::isinf(x) ? 1 : 0;
      if (!std::isfinite(x)) continue;
      difference += d * d;
      size += x * x;
    }
  }
  const std::int64_t elements = input.batch * input.rows * input.cols;
  loss.relative_error = size > 0 ? std::sqrt(difference / size) : loss.nans + loss.infs == elements ? std::nan("") : 0;
  return {};
}

std::string text_of(const Loss& loss) { return fmt::format("{} NaN and {} Inf", loss.nans, loss.infs); }

}  // namespace ragdot::cli
