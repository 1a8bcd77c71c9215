// The safetensors container: an 8-byte length, a JSON header, then the tensors' bytes. Reads by mapping, writes as a stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/output_file.hpp"
#include "ragdot/status.hpp"
#include "ragdot/types.hpp"

namespace ragdot::cli {

struct TensorInfo {
  std::string name;
  std::string dtype;  // as in the file: "F8_E4M3", "BF16", ...
  std::vector<std::int64_t> shape;
  std::int64_t bytes = 0;
};

/// Bits of an element of a dtype, 0 for an unknown one.
[[nodiscard]] int dtype_bits(const std::string& dtype);
/// The library's format of a dtype, Format::none where there is none. U8 is e8m0 codes where scales are read.
enum class DtypeUse : std::int32_t { values, scales };
[[nodiscard]] Format format_of(const std::string& dtype, DtypeUse use = DtypeUse::values);
[[nodiscard]] const char* dtype_of(Format format);
[[nodiscard]] std::string shape_text(const std::vector<std::int64_t>& shape);

/// A file that has passed every check of the format. Tensors lie in its bytes: those of a read-only mapping, or given ones.
class SafetensorsFile {
 public:
  [[nodiscard]] static Result<SafetensorsFile> open(const std::string& path);
  /// The same for a file of `size` bytes in memory; refusals call it `path`.
  [[nodiscard]] static Result<SafetensorsFile> read(std::shared_ptr<const std::byte> bytes, std::int64_t size,
                                                    const std::string& path);

  /// In the order of their bytes.
  [[nodiscard]] const std::vector<TensorInfo>& tensors() const { return tensors_; }
  [[nodiscard]] const TensorInfo* find(const std::string& name) const;
  [[nodiscard]] const std::byte* data(const TensorInfo& tensor) const;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  [[nodiscard]] Status read_header(const std::string& path);

  std::shared_ptr<const std::byte> bytes_;  // the whole file
  std::int64_t size_ = 0;
  std::vector<TensorInfo> tensors_;
  std::vector<std::int64_t> offsets_;
  std::map<std::string, std::string> metadata_;
};

/// Writes tensors one after the other into a file that takes its name when all are there.
class SafetensorsWriter {
 public:
  using Existing = OutputFile::Existing;

  [[nodiscard]] static Result<SafetensorsWriter> create(const std::string& path, std::vector<TensorInfo> tensors,
                                                        const std::map<std::string, std::string>& metadata, Existing existing);
  /// The same in a file that nothing has been written to.
  [[nodiscard]] static Result<SafetensorsWriter> create(OutputFile file, std::vector<TensorInfo> tensors,
                                                        const std::map<std::string, std::string>& metadata);

  /// The bytes of the next tensor in the order given to create.
  [[nodiscard]] Status write(const void* data, std::int64_t bytes);
  /// Makes the file appear under its name; refuses while tensors are missing.
  [[nodiscard]] Status finish();

 private:
  explicit SafetensorsWriter(OutputFile file) : file_(std::move(file)) {}

  OutputFile file_;
  std::vector<TensorInfo> tensors_;
  std::size_t next_ = 0;
};

}  // namespace ragdot::cli
