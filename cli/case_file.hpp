// A case file: one call of gmm, dlhs or tgmm in a safetensors file, and the answer file.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cli/safetensors.hpp"
#include "ragdot/ragdot.hpp"
#include "testing/bytes.hpp"
#include "testing/problem.hpp"

namespace ragdot::cli {

/// A call whose operands lie in the mapped file.
class CaseFile {
 public:
  [[nodiscard]] static Result<CaseFile> open(const std::string& path);
  /// The same for a file that is open; refusals call it `path`.
  [[nodiscard]] static Result<CaseFile> read(SafetensorsFile file, const std::string& path);

  /// With g, m, k, n from the tensors.
  [[nodiscard]] const testing::Problem& problem() const { return problem_; }
  testing::Problem& problem() { return problem_; }
  [[nodiscard]] bool is_gmm() const { return problem_.op != testing::Op::tgmm; }
  /// [M, N] or [L, K, N].
  [[nodiscard]] std::vector<std::int64_t> out_shape() const;
  [[nodiscard]] std::int64_t out_bytes() const { return out_bytes_; }
  /// What out holds before the call: the case's own `out`, or zeros.
  [[nodiscard]] testing::Bytes initial_out() const;
  [[nodiscard]] GmmArgs gmm_args(std::byte* out) const;
  [[nodiscard]] TgmmArgs tgmm_args(std::byte* out) const;

 private:
  explicit CaseFile(SafetensorsFile file) : file_(std::move(file)) {}
  [[nodiscard]] Status read_call();
  [[nodiscard]] Status read_operand(const char* name, const testing::OperandSpec& spec, std::size_t rank, Operand& out) const;
  [[nodiscard]] Status read_sizes();
  [[nodiscard]] Status read_groups();
  [[nodiscard]] Status read_buffers();
  [[nodiscard]] Status agree(const char* key, std::int64_t& given, std::int64_t found) const;
  [[nodiscard]] std::int64_t local() const;

  std::string path_;
  SafetensorsFile file_;
  testing::Problem problem_;
  Operand lhs_;  // as stored
  Operand rhs_;
  Groups groups_;
  ConstView bias_;
  const TensorInfo* out_ = nullptr;
  std::int64_t out_bytes_ = 0;
};

}  // namespace ragdot::cli
