// The header first, then the tensors in its order.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "cli/safetensors.hpp"

namespace ragdot::cli {
namespace {

std::string header_of(const std::vector<TensorInfo>& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::int64_t at = 0;
  for (const TensorInfo& t : tensors) {
    header[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {at, at + t.bytes}}};
    at += t.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors start at a multiple of 8
  return text;
}

}  // namespace

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string& path, std::vector<TensorInfo> tensors,
                                                    const std::map<std::string, std::string>& metadata, Existing existing) {
  auto file = OutputFile::create(path, existing);
  if (!file.ok()) return file.status();
  return create(std::move(file.value()), std::move(tensors), metadata);
}

Result<SafetensorsWriter> SafetensorsWriter::create(OutputFile file, std::vector<TensorInfo> tensors,
                                                    const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer(std::move(file));
  const std::string header = header_of(tensors, metadata);
  const auto length = static_cast<std::uint64_t>(header.size());
  writer.tensors_ = std::move(tensors);
  if (Status s = writer.file_.write(&length, sizeof length); !s.ok()) return s;
  if (Status s = writer.file_.write(header.data(), static_cast<std::int64_t>(header.size())); !s.ok()) return s;
  return writer;
}

Status SafetensorsWriter::write(const void* data, std::int64_t bytes) {
  if (next_ == tensors_.size() || tensors_[next_].bytes != bytes) {
    return {Code::invalid_argument, fmt::format("{}: {} bytes are not the next tensor's", file_.path(), bytes)};
  }
  ++next_;
  return file_.write(data, bytes);
}

Status SafetensorsWriter::finish() {
  if (next_ == tensors_.size()) return file_.finish();
  return {Code::invalid_argument, fmt::format("{}: {} of {} tensors were written", file_.path(), next_, tensors_.size())};
}

}  // namespace ragdot::cli
