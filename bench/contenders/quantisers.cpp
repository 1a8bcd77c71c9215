// Plain calls of the quantisers into one buffer.
#include "bench/contenders/quantisers.hpp"

#include <algorithm>

namespace ragdot::bench {
namespace {

using testing::Case;

std::int64_t extent(std::int64_t elements, std::int64_t block) {
  return block == kWholeAxis ? 1 : elements / block + (elements % block != 0 ? 1 : 0);
}

/// Null stays null: copies without memory, for their sizes.
std::byte* behind(std::byte* at, std::int64_t bytes) { return at == nullptr ? nullptr : at + bytes; }

/// A dense copy with its scales behind the values.
QuantizedOut copy_at(std::byte* at, const Operand& like, std::int64_t block_rows, std::int64_t block_cols) {
  const ConstView& v = like.values;
  QuantizedOut out;
  out.values = matrix(static_cast<void*>(at), v.format, v.rows, v.cols);
  out.scales = {matrix(static_cast<void*>(behind(at, v.rows * v.cols)), like.scales.view.format, extent(v.rows, block_rows),
                       extent(v.cols, block_cols)),
                block_rows, block_cols};
  return out;
}

std::int64_t bytes_of(const QuantizedOut& out) {
  const View& s = out.scales.view;
  return out.values.rows * out.values.cols + s.rows * s.cols * element_bytes(s.format);
}

class Quantiser final : public Contender {
 public:
  Quantiser(Stage stage, const testing::Problem& how, std::shared_ptr<const Case> c) : stage_(stage), case_(std::move(c)) {
    options_.threads = how.threads;
    std::int64_t bytes = 0;
    for (const QuantizedOut& out : copies_in(stage, *case_, nullptr)) bytes += bytes_of(out);
    const ConstView& plain = case_->lhs.plain;
    out_.resize(static_cast<std::size_t>(stage == Stage::dequantize ? 2 * plain.rows * plain.cols : bytes));
  }

  Status run() override {
    const ConstView& plain = case_->lhs.plain;
    const std::vector<QuantizedOut> copies = copies_in(stage_, *case_, out_.data());
    if (stage_ == Stage::quantize) return quantize({plain, {}, copies[0]}, options_);
    if (stage_ == Stage::quantize_both) return quantize_both({plain, {}, copies[0], copies[1]}, options_);
    const View out = matrix(static_cast<void*>(out_.data()), Format::bf16, plain.rows, plain.cols);
    return dequantize({case_->lhs.operand, {}, out}, options_);
  }

  [[nodiscard]] const testing::Bytes& out() const override { return out_; }
  [[nodiscard]] std::string kernel() const override { return "quantiser"; }
  [[nodiscard]] std::string peak() const override { return ""; }

 private:
  Stage stage_;
  std::shared_ptr<const Case> case_;
  Options options_;
  testing::Bytes out_;
};

}  // namespace

std::vector<QuantizedOut> copies_in(Stage stage, const Case& c, std::byte* buffer) {
  if (stage == Stage::dequantize) return {};
  const Scales& s = c.lhs.operand.scales;
  std::vector<QuantizedOut> copies = {copy_at(buffer, c.lhs.operand, s.block_rows, s.block_cols)};
  if (stage == Stage::quantize_both)
    copies.push_back(copy_at(behind(buffer, bytes_of(copies[0])), c.lhs.operand, s.block_cols, s.block_rows));
  for (QuantizedOut& copy : copies) copy.recipe = c.problem.recipe;
  return copies;
}

MadeContender make_quantiser(Stage stage, const testing::Problem& how, std::shared_ptr<const Case> c) {
  if (!c->lhs.plain.present() || c->lhs.operand.values.format != Format::e4m3 || !c->lhs.operand.scales.present())
    return Status(Code::unsupported, "the quantisers are timed from bf16 data to e4m3 with scales and back");
  return std::unique_ptr<Contender>(std::make_unique<Quantiser>(stage, how, std::move(c)));
}

}  // namespace ragdot::bench
