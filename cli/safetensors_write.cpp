// The output appears at once and whole: a hidden file beside it is written, synced and renamed, or removed.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/safetensors.hpp"

namespace ragdot::cli {
namespace {

Status failed(const std::string& path, const char* what) {
  return {Code::invalid_argument, fmt::format("{}: {}: {}", path, what, std::strerror(errno))};
}

Status write_all(int file, const std::string& path, const void* data, std::int64_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = ::write(file, at, static_cast<std::size_t>(std::min<std::int64_t>(bytes, 1 << 30)));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return failed(path, "cannot be written");
    at += wrote;
    bytes -= wrote;
  }
  return {};
}

/// Where the file goes that a user calls `path`: the target of a symbolic link. Refuses what a file must not take the place of.
Result<std::string> place_of(const std::string& path, SafetensorsWriter::Existing existing) {
  const auto refused = [&](const char* what) { return Status(Code::invalid_argument, fmt::format("{}: {}", path, what)); };
  if (path == "-") return refused("tensors are not written to stdout; give the name of a file, ./- for one of that name");
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return path;
  const bool is_link = S_ISLNK(info.st_mode);
  if (is_link && ::stat(path.c_str(), &info) != 0)
    return refused("is a symbolic link to what cannot be found; name the file itself");
  if (!S_ISREG(info.st_mode)) return refused("exists and is no regular file; give the name of a file");
  if (existing == SafetensorsWriter::Existing::refuse) return refused("exists; give another name, or --overwrite");
  if (!is_link) return path;
  const std::unique_ptr<char, void (*)(void*)> target(::realpath(path.c_str(), nullptr), std::free);
  if (target == nullptr) return failed(path, "cannot be resolved");
  return std::string(target.get());
}

/// Gives the file its name where nothing has it; a rename would replace a file that appeared meanwhile.
Status name_new(const std::string& hidden, const std::string& path) {
  if (::link(hidden.c_str(), path.c_str()) == 0) return {};
  const bool no_links = errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS;
  if (no_links && ::renameat2(AT_FDCWD, hidden.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return {};
  const char* const what =
      no_links ? "cannot be put in place on this file system; --overwrite may do" : "cannot be put in place";
  return failed(path, what);
}

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

Result<SafetensorsWriter> SafetensorsWriter::create(const std::string& name, std::vector<TensorInfo> tensors,
                                                    const std::map<std::string, std::string>& metadata, Existing existing) {
  const Result<std::string> place = place_of(name, existing);
  if (!place.ok()) return place.status();
  const std::string& path = place.value();
  SafetensorsWriter writer;
  writer.path_ = path;
  writer.existing_ = existing;
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  writer.hidden_path_ = fmt::format("{}.{}.{}.part", folder, path.substr(folder.size()), ::getpid());
  writer.file_ = ::open(writer.hidden_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (writer.file_ < 0) return failed(path, "cannot be created");
  const std::string header = header_of(tensors, metadata);
  const auto length = static_cast<std::uint64_t>(header.size());
  writer.tensors_ = std::move(tensors);
  if (Status s = write_all(writer.file_, path, &length, sizeof length); !s.ok()) return s;
  if (Status s = write_all(writer.file_, path, header.data(), static_cast<std::int64_t>(header.size())); !s.ok()) return s;
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : path_(std::move(other.path_)),
      hidden_path_(std::move(other.hidden_path_)),
      existing_(other.existing_),
      file_(std::exchange(other.file_, -1)),
      tensors_(std::move(other.tensors_)),
      next_(other.next_) {}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(hidden_path_.c_str());
}

Status SafetensorsWriter::write(const void* data, std::int64_t bytes) {
  if (next_ == tensors_.size() || tensors_[next_].bytes != bytes) {
    return {Code::invalid_argument, fmt::format("{}: {} bytes are not the next tensor's", path_, bytes)};
  }
  ++next_;
  return write_all(file_, path_, data, bytes);
}

Status SafetensorsWriter::finish() {
  if (next_ != tensors_.size())
    return {Code::invalid_argument, fmt::format("{}: {} of {} tensors were written", path_, next_, tensors_.size())};
  if (::fsync(file_) != 0) return failed(path_, "cannot be synced");
  if (existing_ == Existing::refuse) return name_new(hidden_path_, path_);  // the destructor removes the hidden name
  if (::rename(hidden_path_.c_str(), path_.c_str()) != 0) return failed(path_, "cannot be put in place");
  ::close(std::exchange(file_, -1));
  return {};
}

}  // namespace ragdot::cli
