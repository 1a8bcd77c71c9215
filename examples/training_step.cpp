// A mixture-of-experts layer learns: forward, input gradient and weight gradient in FP8, from tensors quantised both ways.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "ragdot/ragdot.hpp"

using namespace ragdot;

namespace {

constexpr std::int64_t kBlock = 128;

void check(const Status& status) {
  if (status.ok()) return;
  std::printf("%s\n", status.message().c_str());
  std::exit(1);
}

std::int64_t blocks(std::int64_t size) { return (size + kBlock - 1) / kBlock; }

/// FP8 values with their scales.
struct Quantised {
  std::vector<std::uint8_t> values;
  std::vector<float> scales;

  [[nodiscard]] Operand rows(std::int64_t m, std::int64_t k) const {  // scales 1 x 128, one row per token
    return {matrix(values.data(), Format::e4m3, m, k),
            {matrix(scales.data(), Format::f32, m, blocks(k)), 1, kBlock, ScaleOrigin::per_group}};
  }
  [[nodiscard]] Operand cols(std::int64_t m, std::int64_t k) const {  // scales 128 x 1, blocks restart with each expert
    const auto scale_rows = static_cast<std::int64_t>(scales.size()) / k;
    return {matrix(values.data(), Format::e4m3, m, k),
            {matrix(scales.data(), Format::f32, scale_rows, k), kBlock, 1, ScaleOrigin::per_group}};
  }
};

/// Tokens, or their gradients, [m, k]: row-wise for the products along k, column-wise for the weight gradient.
struct BothWays {
  Quantised row_wise;
  Quantised col_wise;

  BothWays(const std::vector<float>& x, std::int64_t m, std::int64_t k, const std::vector<std::int32_t>& sizes) {
    std::int64_t scale_rows = 0;
    for (const std::int32_t size : sizes) scale_rows += blocks(size);
    row_wise.values.resize(x.size());
    col_wise.values.resize(x.size());
    row_wise.scales.resize(static_cast<std::size_t>(m * blocks(k)));
    col_wise.scales.resize(static_cast<std::size_t>(scale_rows * k));
    QuantizeBothArgs args;
    args.input = matrix(x.data(), Format::f32, m, k);
    args.groups = Groups::from_sizes(sizes);
    args.row_wise = {matrix(row_wise.values.data(), Format::e4m3, m, k),
                     {matrix(row_wise.scales.data(), Format::f32, m, blocks(k)), 1, kBlock}};
    args.col_wise = {matrix(col_wise.values.data(), Format::e4m3, m, k),
                     {matrix(col_wise.scales.data(), Format::f32, scale_rows, k), kBlock, 1}};
    check(quantize_both(args));
  }
};

/// Weights [g, k, n] with one scale per 128 x 128 block.
Operand quantised_weights(const std::vector<float>& w, std::int64_t g, std::int64_t k, std::int64_t n, Quantised& memory) {
  memory.values.resize(w.size());
  memory.scales.resize(static_cast<std::size_t>(g * blocks(k) * blocks(n)));
  QuantizeArgs args;
  args.input = matrices(w.data(), Format::f32, g, k, n);
  args.out = {matrices(memory.values.data(), Format::e4m3, g, k, n),
              {matrices(memory.scales.data(), Format::f32, g, blocks(k), blocks(n)), kBlock, kBlock}};
  check(quantize(args));
  return {args.out.values, {args.out.scales.view, kBlock, kBlock}};
}

std::vector<float> random(std::int64_t count, float deviation, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> numbers(static_cast<std::size_t>(count));
  for (float& number : numbers) number = normal(generator);
  return numbers;
}

}  // namespace

int main() {
  const std::int64_t m = 300, k = 160, n = 96, g = 4;
  const std::vector<std::int32_t> sizes = {130, 0, 99, 71};
  const std::vector<float> x = random(m * k, 1, 1);
  const std::vector<float> target = random(m * n, 1, 2);
  std::vector<float> w = random(g * k * n, 0.05F, 3);
  std::vector<float> dy(target.size()), dx(x.size()), dw(w.size());
  const BothWays x8(x, m, k, sizes);

  double first_loss = 0;
  double loss = 0;
  for (int step = 0; step < 8; ++step) {
    Quantised w_memory;
    const Operand w8 = quantised_weights(w, g, k, n, w_memory);

    GmmArgs forward;  // y = x w, here straight into dy
    forward.lhs = x8.row_wise.rows(m, k);
    forward.rhs = w8;
    forward.groups = Groups::from_sizes(sizes);
    forward.out = matrix(dy.data(), Format::f32, m, n);
    check(gmm(forward));

    loss = 0;
    for (std::size_t i = 0; i < dy.size(); ++i) {
      dy[i] -= target[i];
      loss += 0.5 * dy[i] * dy[i] / static_cast<double>(m);
    }
    if (step == 0) first_loss = loss;
    std::printf("step %d: loss %.4f\n", step, loss);
    const BothWays dy8(dy, m, n, sizes);

    GmmArgs input_gradient;  // dx = dy w^T: the same weights, rows and columns exchanged
    input_gradient.lhs = dy8.row_wise.rows(m, n);
    input_gradient.rhs = w8.transposed();
    input_gradient.groups = forward.groups;
    input_gradient.out = matrix(dx.data(), Format::f32, m, k);
    check(gmm(input_gradient));

    TgmmArgs weight_gradient;  // dw = x^T dy, expert by expert
    weight_gradient.lhs = x8.col_wise.cols(m, k);
    weight_gradient.rhs = dy8.col_wise.cols(m, n);
    weight_gradient.groups = forward.groups;
    weight_gradient.out = matrices(dw.data(), Format::f32, g, k, n);
    check(tgmm(weight_gradient));
    for (std::size_t i = 0; i < w.size(); ++i) w[i] -= 2e-3F * dw[i];
  }
  return loss < 0.5 * first_loss ? 0 : 1;
}
