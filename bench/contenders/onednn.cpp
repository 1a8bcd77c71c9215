// oneDNN 2's bf16 matmul in a loop over experts, prepared as far as its interface allows.
#include <dlfcn.h>
#include <fmt/format.h>

#include <cstring>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "bench/contenders/contender.hpp"

namespace ragdot::bench {
namespace {

using dnnl::memory;
using testing::Case;

/// Debian builds oneDNN with GNU OpenMP, whose team size is a setting of the calling thread; whatever OpenMP was loaded
/// answers.
void set_openmp_threads(int threads) {
  using Set = void (*)(int);
  static const auto kSet = reinterpret_cast<Set>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (kSet != nullptr) kSet(threads);
}

/// Idle OpenMP threads spin for some 20 milliseconds, on cores that the next contender needs; this ends them.
void end_openmp_threads() {
  using Pause = int (*)(int);
  constexpr int kSoft = 1;
  static const auto kPause = reinterpret_cast<Pause>(dlsym(RTLD_DEFAULT, "omp_pause_resource_all"));
  if (kPause != nullptr) kPause(kSoft);
}

memory::data_type type_of(Format format) { return format == Format::f32 ? memory::data_type::f32 : memory::data_type::bf16; }

memory::desc desc_of(const ConstView& v, std::int64_t rows, std::int64_t cols) {
  return {{rows, cols}, type_of(v.format), {v.row_stride, v.col_stride}};
}

/// oneDNN takes writable pointers for everything; it reads inputs only.
void* at(const ConstView& v, std::int64_t batch, std::int64_t row) {
  const std::int64_t offset = (batch * v.batch_stride + row * v.row_stride) * element_bytes(v.format);
  return const_cast<std::byte*>(static_cast<const std::byte*>(v.data) + offset);
}

/// One expert's product; its weights in as many packed copies as the case rotates over.
struct Expert {
  dnnl::matmul matmul;
  memory src;
  std::vector<memory> weights;
  memory dst;
};

class OneDnn final : public Contender {
 public:
  OneDnn(std::shared_ptr<const Case> c, int threads)
      : case_(std::move(c)),
        threads_(threads),
        out_(case_->initial_out),
        engine_(dnnl::engine::kind::cpu, 0),
        stream_(engine_) {}

  void prepare(const Weights& weights) {
    set_openmp_threads(threads_);
    case_->is_gmm() ? prepare_gmm(weights) : prepare_tgmm();
    end_openmp_threads();
  }

  Status run() override {
    set_openmp_threads(threads_);
    for (const auto& [begin, bytes] : zeros_) std::memset(out_.data() + begin, 0, static_cast<std::size_t>(bytes));
    next_ = (next_ + 1) % copies_;
    try {
      for (Expert& e : experts_) {
        e.matmul.execute(
            stream_, {{DNNL_ARG_SRC, e.src}, {DNNL_ARG_WEIGHTS, e.weights[next_ % e.weights.size()]}, {DNNL_ARG_DST, e.dst}});
      }
      stream_.wait();
    } catch (const dnnl::error& error) {
      return {Code::unsupported, fmt::format("oneDNN: {}", error.what())};
    }
    return {};
  }

  void leave() override { end_openmp_threads(); }
  [[nodiscard]] const testing::Bytes& out() const override { return out_; }
  [[nodiscard]] std::string kernel() const override { return implementation_; }
  [[nodiscard]] std::string peak() const override {
    if (implementation_.find("amx") != std::string::npos) return "amx_bf16";
    return implementation_.find("avx512_core_bf16") != std::string::npos ? "avx512_bf16" : "fma_f32";
  }

 private:
  using Shape = dnnl::matmul::primitive_desc;

  void note(const Shape& shape) {
    const std::string name = shape.impl_info_str();
    if (implementation_.find(name) == std::string::npos) implementation_ += (implementation_.empty() ? "" : ", ") + name;
  }

  void prepare_gmm(const Weights& weights) {
    const GmmArgs args = case_->gmm_args(out_.data());
    const ConstView& lhs = args.lhs.values;
    const ConstView& rhs = args.rhs.values;
    const ConstView out = args.out;
    copies_ = static_cast<std::size_t>(weights.copies);
    std::unordered_map<std::int64_t, Shape> shapes;  // by rows: the packed layout may depend on them
    std::int64_t end = 0;
    for (std::int64_t g = 0; g < case_->problem.g; ++g) {
      const std::int64_t row = case_->starts[static_cast<std::size_t>(g)];
      const std::int64_t rows = case_->sizes[static_cast<std::size_t>(g)];
      zero_rows(end, row - end);
      end = row + rows;
      const std::int64_t local = g - case_->problem.first;
      if (local >= 0 && local < case_->local() && rows > 0) {
        const memory::desc src = desc_of(lhs, rows, lhs.cols);
        const memory::desc dst = desc_of(out, rows, out.cols);
        const memory::desc any({rhs.rows, rhs.cols}, memory::data_type::bf16, memory::format_tag::any);
        if (!shapes.contains(rows)) note(shapes[rows] = Shape(dnnl::matmul::desc(src, any, dst), engine_));
        const Shape& shape = shapes[rows];
        Expert e{dnnl::matmul(shape), {src, engine_, at(lhs, 0, row)}, {}, {dst, engine_, at(out, 0, row)}};
        for (std::int64_t i = 0; i < weights.copies; ++i) e.weights.push_back(packed(rhs, local, shape));
        experts_.push_back(std::move(e));
      } else {
        zero_rows(row, rows);
      }
    }
    zero_rows(end, case_->problem.m - end);
  }

  memory packed(const ConstView& rhs, std::int64_t local, const Shape& shape) {
    memory plain(desc_of(rhs, rhs.rows, rhs.cols), engine_, at(rhs, local, 0));
    memory own(shape.weights_desc(), engine_);
    dnnl::reorder(plain, own).execute(stream_, plain, own);
    stream_.wait();
    return own;
  }

  /// Rows of no local group, or an empty expert's slab.
  void zero_rows(std::int64_t row, std::int64_t rows) {
    if (rows == 0 || case_->problem.rows_outside == RowsOutside::leave) return;
    const std::int64_t row_bytes = case_->out_cols() * element_bytes(case_->problem.out);
    zeros_.emplace_back(row * row_bytes, rows * row_bytes);
  }

  void prepare_tgmm() {
    const TgmmArgs args = case_->tgmm_args(out_.data());
    const ConstView lhs = args.lhs.values.transposed();
    const ConstView& rhs = args.rhs.values;
    const ConstView out = args.out;
    for (std::int64_t g = 0; g < case_->problem.g; ++g) {
      const std::int64_t row = case_->starts[static_cast<std::size_t>(g)];
      const std::int64_t rows = case_->sizes[static_cast<std::size_t>(g)];
      const std::int64_t local = g - case_->problem.first;
      if (local >= 0 && local < case_->local() && rows > 0) {
        const memory::desc src = desc_of(lhs, lhs.rows, rows);
        const memory::desc weights = desc_of(rhs, rows, rhs.cols);
        const memory::desc dst = desc_of(out, out.rows, out.cols);
        const Shape shape(dnnl::matmul::desc(src, weights, dst), engine_);
        note(shape);
        experts_.push_back({dnnl::matmul(shape),
                            {src, engine_, at(args.lhs.values, 0, row)},
                            {{weights, engine_, at(rhs, 0, row)}},
                            {dst, engine_, at(out, local, 0)}});
      } else if (local >= 0 && local < case_->local()) {
        zero_rows(local * out.rows, out.rows);
      }
    }
  }

  std::shared_ptr<const Case> case_;
  int threads_;
  testing::Bytes out_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<Expert> experts_;
  std::vector<std::pair<std::int64_t, std::int64_t>> zeros_;  // offset and bytes
  std::size_t copies_ = 1;
  std::size_t next_ = 0;
  std::string implementation_;
};

std::string refusal(const testing::Problem& p) {
  if (p.lhs.format != Format::bf16 || p.rhs.format != Format::bf16 || p.lhs.scaled || p.rhs.scaled)
    return "oneDNN is run with plain bf16 operands only";
  if (p.out == Format::f16) return "oneDNN has no f16 output of bf16 operands; take out=bf16 or out=f32";
  if (p.bias || p.act != Activation::none || p.out_mode == OutMode::accumulate)
    return "oneDNN is run on plain products only, without bias, activation and accumulation";
  return "";
}

}  // namespace

MadeContender make_onednn(const testing::Problem& how, std::shared_ptr<const Case> c, const Weights& weights) {
  if (const std::string reason = refusal(c->problem); !reason.empty()) return Status(Code::unsupported, reason);
  try {
    const int threads = how.threads > 0 ? how.threads : default_executor().concurrency();
    auto made = std::make_unique<OneDnn>(std::move(c), threads);
    made->prepare(weights);
    return std::unique_ptr<Contender>(std::move(made));
  } catch (const dnnl::error& error) {
    return Status(Code::unsupported, fmt::format("oneDNN: {}", error.what()));
  }
}

std::string onednn_version() {
  const dnnl::version_t* v = dnnl::version();
  return fmt::format("{}.{}.{}", v->major, v->minor, v->patch);
}

}  // namespace ragdot::bench
