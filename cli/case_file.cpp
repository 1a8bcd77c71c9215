// Reads a case: tensors say the shapes, the problem string says what they mean, and both must agree.
#include "cli/case_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

#include "testing/words.hpp"

namespace ragdot::cli {
namespace {

using testing::Op;
using testing::Order;

Status refused(std::string sentence) { return {Code::invalid_argument, std::move(sentence)}; }

/// Keys that the tensors of a case stand for.
Status check_words(const std::string& path, const std::string& text) {
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    for (const char* key : {"data", "dist", "starts", "seed"}) {
      if (word.rfind(std::string(key) + "=", 0) == 0)
        return refused(fmt::format("{}: its problem names {}; the tensors of a case say that, leave it out", path, word));
    }
  }
  return {};
}

/// A name that is misspelt would be an operand that the call is made without.
Status check_names(const std::string& path, const SafetensorsFile& file) {
  constexpr std::array<const char*, 8> kKnown = {"lhs",         "rhs",          "lhs_scale", "rhs_scale",
                                                 "group_sizes", "group_starts", "bias",      "out"};
  for (const TensorInfo& t : file.tensors()) {
    if (std::find(kKnown.begin(), kKnown.end(), t.name) == kKnown.end())
      return refused(fmt::format("{}: tensor {} is unknown; did you mean {}? Known: {}", path, t.name,
                                 testing::nearest(t.name, kKnown), fmt::join(kKnown, ", ")));
  }
  return {};
}

ConstView dense_view(const TensorInfo& t, const std::byte* data, Format format) {
  const std::size_t rank = t.shape.size();
  return matrices(static_cast<const void*>(data), format, rank == 3 ? t.shape[0] : 1, t.shape[rank - 2], t.shape[rank - 1]);
}

}  // namespace

Result<CaseFile> CaseFile::open(const std::string& path) {
  Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.ok()) return file.status();
  return read(std::move(file.value()), path);
}

Result<CaseFile> CaseFile::read(SafetensorsFile file, const std::string& path) {
  CaseFile c(std::move(file));
  c.path_ = path;
  if (Status s = c.read_call(); !s.ok()) return s;
  return c;
}

Status CaseFile::read_call() {
  const auto text = file_.metadata().find("problem");
  if (text == file_.metadata().end())
    return refused(fmt::format("{}: its metadata has no entry problem, such as \"gmm lhs=bf16 rhs=bf16\"", path_));
  if (Status s = check_words(path_, text->second); !s.ok()) return s;
  const auto problem = testing::parse_problem(text->second, testing::Shapes::optional);
  if (!problem.ok()) return refused(fmt::format("{}: {}", path_, problem.status().message()));
  problem_ = problem.value();
  if (Status s = check_names(path_, file_); !s.ok()) return s;
  if (Status s = read_operand("lhs", problem_.lhs, 2, lhs_); !s.ok()) return s;
  if (Status s = read_operand("rhs", problem_.rhs, is_gmm() ? 3 : 2, rhs_); !s.ok()) return s;
  if (is_gmm()) rhs_.scales.origin = ScaleOrigin::global;
  if (Status s = read_groups(); !s.ok()) return s;
  if (Status s = read_sizes(); !s.ok()) return s;
  return read_buffers();
}

Status CaseFile::read_operand(const char* name, const testing::OperandSpec& spec, std::size_t rank, Operand& out) const {
  const TensorInfo* values = file_.find(name);
  if (values == nullptr) return refused(fmt::format("{}: tensor {} is missing", path_, name));
  if (values->shape.size() != rank)
    return refused(fmt::format("{}: tensor {} is {}; it needs {} dimensions", path_, name, shape_text(values->shape), rank));
  if (format_of(values->dtype) != spec.format) {
    return refused(fmt::format("{}: tensor {} is {} and the problem says {}={}; they must agree", path_, name, values->dtype,
                               name, ragdot::name(spec.format)));
  }
  out = Operand(dense_view(*values, file_.data(*values), spec.format));
  const std::string scale_name = std::string(name) + "_scale";
  const TensorInfo* scales = file_.find(scale_name);
  if ((scales != nullptr) != spec.scaled) {
    return refused(fmt::format("{}: tensor {} is {} and the problem gives {} a block", path_, scale_name,
                               scales == nullptr ? "missing" : "there", name) +
                   (spec.scaled ? "" : " nowhere"));
  }
  if (!spec.scaled) return {};
  if (scales->shape.size() != rank)
    return refused(
        fmt::format("{}: tensor {} is {}; it needs {} dimensions", path_, scale_name, shape_text(scales->shape), rank));
  if (format_of(scales->dtype, DtypeUse::scales) != spec.scale) {
    return refused(fmt::format("{}: tensor {} is {} and the problem says {}; they must agree", path_, scale_name, scales->dtype,
                               ragdot::name(spec.scale)));
  }
  out.scales = {dense_view(*scales, file_.data(*scales), spec.scale), spec.block_rows, spec.block_cols, problem_.origin};
  return {};
}

Status CaseFile::read_groups() {
  const TensorInfo* sizes = file_.find("group_sizes");
  const TensorInfo* starts = file_.find("group_starts");
  if (sizes == nullptr) return refused(fmt::format("{}: tensor group_sizes is missing", path_));
  for (const TensorInfo* t : {sizes, starts}) {
    if (t != nullptr && (t->shape.size() != 1 || (t->dtype != "I32" && t->dtype != "I64"))) {
      return refused(fmt::format("{}: tensor {} is {} {}; it must be a list of I32 or I64", path_, t->name, t->dtype,
                                 shape_text(t->shape)));
    }
  }
  if (starts != nullptr && (starts->dtype != sizes->dtype || starts->shape != sizes->shape)) {
    return refused(fmt::format("{}: group_starts is {} {} and group_sizes is {} {}; they must be alike", path_, starts->dtype,
                               shape_text(starts->shape), sizes->dtype, shape_text(sizes->shape)));
  }
  groups_.index = sizes->dtype == "I32" ? Groups::Index::i32 : Groups::Index::i64;
  groups_.count = sizes->shape[0];
  groups_.kind = starts == nullptr ? Groups::Kind::sizes : Groups::Kind::starts_and_sizes;
  groups_.data = file_.data(starts == nullptr ? *sizes : *starts);
  groups_.sizes = starts == nullptr ? nullptr : file_.data(*sizes);
  return {};
}

Status CaseFile::agree(const char* key, std::int64_t& given, std::int64_t found) const {
  if (given != 0 && given != found)
    return refused(fmt::format("{}: its problem says {}={}, its tensors have {}", path_, key, given, found));
  given = found;
  return {};
}

Status CaseFile::read_sizes() {
  const bool dlhs = problem_.op == Op::dlhs;
  const bool stored_nk = is_gmm() && problem_.order == Order::nk;
  const std::int64_t inner = dlhs ? 0 : lhs_.values.cols;  // K, but for dlhs lhs holds N
  const std::int64_t rhs_k = is_gmm() ? (stored_nk ? rhs_.values.cols : rhs_.values.rows) : inner;
  const std::int64_t rhs_n = stored_nk ? rhs_.values.rows : rhs_.values.cols;
  const std::pair<const char*, std::pair<std::int64_t*, std::int64_t>> found[] = {{"g", {&problem_.g, groups_.count}},
                                                                                  {"m", {&problem_.m, lhs_.values.rows}},
                                                                                  {"k", {&problem_.k, dlhs ? rhs_k : inner}},
                                                                                  {"n", {&problem_.n, rhs_n}}};
  for (const auto& [key, numbers] : found) {
    if (Status s = agree(key, *numbers.first, numbers.second); !s.ok()) return s;
  }
  std::int64_t held = rhs_.values.batch;
  if (is_gmm() && problem_.local && *problem_.local != held)
    return refused(fmt::format("{}: its problem says local={}, rhs has {} matrices", path_, *problem_.local, held));
  if (is_gmm() && held != problem_.g) problem_.local = held;
  return {};
}

Status CaseFile::read_buffers() {
  if (problem_.bias != (file_.find("bias") != nullptr)) {
    return refused(fmt::format("{}: its problem says bias={} and tensor bias is {}", path_, problem_.bias ? 1 : 0,
                               problem_.bias ? "missing" : "there"));
  }
  if (problem_.bias) {
    const TensorInfo& bias = *file_.find("bias");
    if (bias.dtype != "F32" || bias.shape.size() != 2)
      return refused(
          fmt::format("{}: tensor bias is {} {}; it must be F32 with 2 dimensions", path_, bias.dtype, shape_text(bias.shape)));
    bias_ = dense_view(bias, file_.data(bias), Format::f32);
  }
  if (problem_.first > problem_.g - problem_.local.value_or(0))
    return refused(fmt::format("{}: its problem says first={}, the groups from there on are {} and its tensors have {}", path_,
                               problem_.first, problem_.local.value_or(0), problem_.g));
  out_bytes_ = element_bytes(problem_.out);
  for (const std::int64_t dim : out_shape()) {
    if (__builtin_mul_overflow(out_bytes_, dim, &out_bytes_))
      return refused(fmt::format("{}: out {} of {} has 2^63 bytes or more; give smaller tensors", path_,
                                 shape_text(out_shape()), dtype_of(problem_.out)));
  }
  out_ = file_.find("out");
  const bool needed = problem_.out_mode == OutMode::accumulate || problem_.rows_outside == RowsOutside::leave;
  if (needed && out_ == nullptr)
    return refused(fmt::format("{}: tensor out is missing; accumulate=1 and rows_outside=leave need what it held", path_));
  if (out_ != nullptr && (format_of(out_->dtype) != problem_.out || out_->shape != out_shape())) {
    return refused(fmt::format("{}: tensor out is {} {}; this problem has {} {}", path_, out_->dtype, shape_text(out_->shape),
                               dtype_of(problem_.out), shape_text(out_shape())));
  }
  return {};
}

std::int64_t CaseFile::local() const { return problem_.local.value_or(problem_.g - problem_.first); }

std::vector<std::int64_t> CaseFile::out_shape() const {
  if (problem_.op == Op::tgmm) return {local(), problem_.k, problem_.n};
  return {problem_.m, problem_.op == Op::dlhs ? problem_.k : problem_.n};
}

testing::Bytes CaseFile::initial_out() const {
  testing::Bytes out(static_cast<std::size_t>(out_bytes_));
  if (out_ != nullptr && out_bytes_ > 0) std::memcpy(out.data(), file_.data(*out_), out.size());
  return out;
}

GmmArgs CaseFile::gmm_args(std::byte* out) const {
  GmmArgs args;
  args.lhs = lhs_;
  args.rhs = (problem_.op == Op::dlhs) == (problem_.order == Order::kn) ? rhs_.transposed() : rhs_;
  args.groups = groups_;
  args.out = matrix(static_cast<void*>(out), problem_.out, out_shape()[0], out_shape()[1]);
  args.bias = bias_;
  args.activation = problem_.act;
  args.rows_outside = problem_.rows_outside;
  args.out_mode = problem_.out_mode;
  args.first_group = problem_.first;
  return args;
}

TgmmArgs CaseFile::tgmm_args(std::byte* out) const {
  TgmmArgs args;
  args.lhs = lhs_;
  args.rhs = rhs_;
  args.groups = groups_;
  args.out = matrices(static_cast<void*>(out), problem_.out, out_shape()[0], out_shape()[1], out_shape()[2]);
  args.out_mode = problem_.out_mode;
  args.first_group = problem_.first;
  return args;
}

}  // namespace ragdot::cli
