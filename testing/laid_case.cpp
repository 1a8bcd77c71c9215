// Every way ends in the same public functions; only views, group metadata and options differ.
#include "testing/laid_case.hpp"

#include <fmt/format.h>

#include "testing/words.hpp"

namespace ragdot::testing {
namespace {

std::string text_of(const char* name, const Layout& layout) {
  if (layout == Layout()) return "";
  return fmt::format(" {}{}{}{}{}{}", name, layout.transposed ? " transposed" : "", layout.interleaved ? " interleaved" : "",
                     layout.gap > 0 ? fmt::format(" with gaps of {}", layout.gap) : "",
                     layout.padding > 0 ? fmt::format(" padded by {}", layout.padding) : "",
                     layout.offset > 0 ? fmt::format(" at byte {}", layout.offset) : "") +
         ",";
}

std::vector<std::int32_t> narrowed(const std::vector<std::int64_t>& numbers) {
  std::vector<std::int32_t> narrow;
  for (const std::int64_t number : numbers) narrow.push_back(static_cast<std::int32_t>(number));
  return narrow;
}

}  // namespace

Call plain_call(const Problem& problem) {
  Call call;
  if (!problem.starts.empty()) call.groups = Groups::Kind::starts_and_sizes;
  return call;
}

std::string to_string(const Call& call) {
  std::string text = call.entry == Entry::plan ? "planned," : "one shot,";
  if (call.weights == Weights::packed) text += " packed weights,";
  if (call.workers == Workers::threads) text += " std::threads,";
  text += text_of("lhs", call.lhs) + text_of("rhs", call.rhs) + text_of("lhs scales", call.lhs_scales) +
          text_of("rhs scales", call.rhs_scales) + text_of("bias", call.bias) + text_of("out", call.out);
  return text + fmt::format(" groups as {} of {}", word_of(kGroupKinds, call.groups),
                            call.index == Groups::Index::i32 ? "int32" : "int64");
}

LaidCase::LaidCase(const Case& c, const Call& call) : case_(c), call_(call), memory_(5) {
  const auto lay = [this](ConstView& view, const Layout& layout, std::size_t at) {
    if (view.present() && layout != Layout()) view = relay(view, layout, memory_[at]);
  };
  const auto take = [&](const auto& args) {
    lhs_ = args.lhs;
    rhs_ = args.rhs;
  };
  c.is_gmm() ? take(c.gmm_args(nullptr)) : take(c.tgmm_args(nullptr));
  if (c.is_gmm()) bias_ = c.gmm_args(nullptr).bias;
  lay(lhs_.values, call.lhs, 0);
  lay(rhs_.values, call.rhs, 1);
  lay(lhs_.scales.view, call.lhs_scales, 2);
  lay(rhs_.scales.view, call.rhs_scales, 3);
  lay(bias_, call.bias, 4);
  numbers_ = call.groups == Groups::Kind::sizes ? c.sizes : c.starts;
  for (std::size_t g = 0; g < c.sizes.size() && call.groups == Groups::Kind::ends; ++g) numbers_[g] += c.sizes[g];
  if (call.groups == Groups::Kind::offsets) numbers_.push_back(c.sizes.empty() ? 0 : c.starts.back() + c.sizes.back());
  numbers32_ = narrowed(numbers_);
  sizes32_ = narrowed(c.sizes);
}

Groups LaidCase::groups() const {
  const bool narrow = call_.index == Groups::Index::i32;
  const bool has_sizes = call_.groups == Groups::Kind::starts_and_sizes;
  const void* const numbers = narrow ? static_cast<const void*>(numbers32_.data()) : numbers_.data();
  const void* const sizes = narrow ? static_cast<const void*>(sizes32_.data()) : case_.sizes.data();
  return {call_.groups, call_.index, numbers, has_sizes ? sizes : nullptr, std::ssize(case_.sizes)};
}

GmmArgs LaidCase::gmm_args(const View& out) const {
  GmmArgs args = case_.gmm_args(nullptr);
  args.lhs = lhs_;
  args.rhs = rhs_;
  args.bias = bias_;
  args.groups = groups();
  args.out = out;
  return args;
}

TgmmArgs LaidCase::tgmm_args(const View& out) const {
  TgmmArgs args = case_.tgmm_args(nullptr);
  args.lhs = lhs_;
  args.rhs = rhs_;
  args.groups = groups();
  args.out = out;
  return args;
}

Status LaidCase::planned(const Options& options) const {
  const View out =
      matrices(static_cast<void*>(nullptr), case_.problem.out, case_.out_batch(), case_.out_rows(), case_.out_cols());
  return case_.is_gmm() ? make_plan(gmm_args(out), options).status() : make_plan(tgmm_args(out), options).status();
}

Status LaidCase::compute(const Options& options, const View& out) const {
  const auto call = [&](const auto& args, auto one_shot) -> Status {
    if (call_.entry == Entry::one_shot) return one_shot(args, options);
    const auto plan = make_plan(args, options);
    if (!plan.ok()) return plan.status();
    std::vector<std::byte> workspace(plan.value().workspace_bytes(), std::byte{0xff});
    return ragdot::run(plan.value(), args, workspace);
  };
  if (!case_.is_gmm()) return call(tgmm_args(out), tgmm);
  GmmArgs args = gmm_args(out);
  if (call_.weights == Weights::packed) {
    auto packed = pack_rhs(args.rhs, options);
    if (!packed.ok()) return packed.status();
    args.packed_rhs = packed.value();
    args.rhs = {};
  }
  return call(args, gmm);
}

Status LaidCase::run(Options options, Bytes& out) const {
  if (call_.workers == Workers::threads) options.executor = &thread_executor();
  out = case_.initial_out;
  const View dense =
      matrices(static_cast<void*>(out.data()), case_.problem.out, case_.out_batch(), case_.out_rows(), case_.out_cols());
  if (call_.out == Layout()) return compute(options, dense);
  Bytes memory;
  const ConstView laid = relay(dense, call_.out, memory);
  const View target = writable(laid, memory.data() + call_.out.offset);
  if (Status s = compute(options, target); !s.ok()) return s;
  copy_elements(laid, dense);
  const auto written = written_between(target, memory);
  if (!written) return {};
  return {Code::invalid_argument, fmt::format("byte {} of out, where no element lies, was written", *written)};
}

}  // namespace ragdot::testing
