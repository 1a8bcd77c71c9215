// A file without a name goes with the process that writes it: no signal has to be caught for that.
#include "cli/output_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

namespace ragdot::cli {
namespace {

namespace fs = std::filesystem;

Status failed(const std::string& path, const char* what) {
  return {Code::invalid_argument, fmt::format("{}: {}: {}", path, what, std::strerror(errno))};
}

/// With the slash behind it; "" for the folder that the process is in.
std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

std::string hidden_name(const std::string& path) {
  const std::string folder = folder_of(path);
  return fmt::format("{}.{}.{}.part", folder, path.substr(folder.size()), ::getpid());
}

std::string name_of(int file) { return fmt::format("/proc/self/fd/{}", file); }

/// A file without a name in `folder`; -1 where there is none, or where it could not be named later.
int open_nameless(const std::string& folder) {
  const int file = ::open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (file < 0 || ::access(name_of(file).c_str(), F_OK) == 0) return file;
  ::close(file);
  return -1;
}

/// Where the file goes that a user calls `path`: the target of a symbolic link. Refuses what a file must not take the place of.
Result<std::string> place_of(const std::string& path, OutputFile::Existing existing) {
  const auto refused = [&](const char* what) { return Status(Code::invalid_argument, fmt::format("{}: {}", path, what)); };
  if (path == "-") return refused("tensors are not written to stdout; give the name of a file, ./- for one of that name");
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return path;
  const bool is_link = S_ISLNK(info.st_mode);
  if (is_link && ::stat(path.c_str(), &info) != 0)
    return refused("is a symbolic link to what cannot be found; name the file itself");
  if (!S_ISREG(info.st_mode)) return refused("exists and is no regular file; give the name of a file");
  if (existing == OutputFile::Existing::refuse) return refused("exists; give another name, or --overwrite");
  if (!is_link) return path;
  const std::unique_ptr<char, void (*)(void*)> target(::realpath(path.c_str(), nullptr), std::free);
  if (target == nullptr) return failed(path, "cannot be resolved");
  return std::string(target.get());
}

/// A second name of a file that has one, or that name_of() names.
bool link_to(const std::string& from, const std::string& path) {
  return ::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

/// Gives the file its name where nothing has it; a rename would replace a file that appeared meanwhile.
Status name_new(const std::string& from, const std::string& path) {
  if (link_to(from, path)) return {};
  const bool no_links = errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS;
  if (no_links && ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return {};
  const char* const what =
      no_links ? "cannot be put in place on this file system; --overwrite may do" : "cannot be put in place";
  return failed(path, what);
}

/// Links in /proc that lead to what the process has open, and links to those: what is behind them is not to be replaced.
bool names_descriptor(const fs::path& path) {
  std::error_code error;
  for (fs::path at = path; fs::is_symlink(at, error); at = at.parent_path() / fs::read_symlink(at, error)) {
    const std::string folder = fs::weakly_canonical(fs::absolute(at, error).parent_path(), error).string();
    if (folder.starts_with("/proc/")) return true;
  }
  return false;
}

/// Whether write_whole puts a new file in the place of `path`.
bool is_replaced(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return ::lstat(path.c_str(), &info) != 0;  // a link may lead to what is yet to be
  if (!S_ISREG(info.st_mode) || names_descriptor(path)) return false;
  std::error_code error;
  return ::access(fs::canonical(path, error).parent_path().c_str(), W_OK | X_OK) == 0;
}

Status write_through(const std::string& path, const std::string& text) {
  errno = 0;
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? Status() : failed(path, "cannot be written");
}

}  // namespace

Result<OutputFile> OutputFile::create(const std::string& path, Existing existing, Meanwhile meanwhile) {
  const Result<std::string> place = place_of(path, existing);
  if (!place.ok()) return place.status();
  OutputFile file;
  file.path_ = place.value();
  file.existing_ = existing;
  const std::string hidden = hidden_name(file.path_);
  if (::access(hidden.c_str(), F_OK) != 0 && errno == ENAMETOOLONG) return failed(file.path_, "cannot be created");
  if (meanwhile == Meanwhile::nameless) file.file_ = open_nameless(folder_of(file.path_));
  if (file.file_ >= 0) return file;
  file.hidden_path_ = hidden;
  file.file_ = ::open(file.hidden_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file.file_ < 0) return failed(file.path_, "cannot be created");
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      hidden_path_(std::move(other.hidden_path_)),
      existing_(other.existing_),
      file_(std::exchange(other.file_, -1)) {}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  ::close(file_);
  if (!hidden_path_.empty()) ::unlink(hidden_path_.c_str());
}

Status OutputFile::write(const void* data, std::int64_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = ::write(file_, at, static_cast<std::size_t>(std::min<std::int64_t>(bytes, 1 << 30)));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return failed(path_, "cannot be written");
    at += wrote;
    bytes -= wrote;
  }
  return {};
}

Status OutputFile::finish() {
  if (::fsync(file_) != 0) return failed(path_, "cannot be synced");
  const bool is_hidden = !hidden_path_.empty();
  const std::string from = is_hidden ? hidden_path_ : name_of(file_);
  if (existing_ == Existing::refuse) return name_new(from, path_);  // the destructor removes the hidden name
  if (!is_hidden) {                                                 // no link replaces a file
    hidden_path_ = hidden_name(path_);
    ::unlink(hidden_path_.c_str());  // a process of this number was killed between the link and the rename
    if (!link_to(from, hidden_path_)) return failed(path_, "cannot be put in place");
  }
  if (::rename(hidden_path_.c_str(), path_.c_str()) != 0) return failed(path_, "cannot be put in place");
  ::close(std::exchange(file_, -1));
  return {};
}

OutputFolder::~OutputFolder() {
  for (const std::string& folder : made_) ::rmdir(folder.c_str());  // of empty ones alone
}

bool OutputFolder::make(const std::string& path) {
  std::error_code error;
  for (auto at = std::filesystem::absolute(path); !std::filesystem::exists(at, error) && at.has_relative_path();
       at = at.parent_path())
    made_.push_back(at.string());
  std::filesystem::create_directories(path, error);
  return std::filesystem::is_directory(path);
}

Status write_whole(const std::string& path, const std::string& text) {
  if (!is_replaced(path)) return write_through(path, text);
  auto file = OutputFile::create(path, OutputFile::Existing::replace);
  if (!file.ok()) return file.status();
  if (Status s = file.value().write(text.data(), static_cast<std::int64_t>(text.size())); !s.ok()) return s;
  return file.value().finish();
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  const fs::path whole = fs::weakly_canonical(fs::absolute(a, error), error);
  return !error && whole == fs::weakly_canonical(fs::absolute(b, error), error);
}

Status check_outputs(const std::vector<std::string>& outputs, const std::vector<std::string>& inputs) {
  for (const std::string& output : outputs) {
    std::error_code error;
    if (!fs::exists(output, error)) continue;
    for (const std::string& input : inputs) {
      if (same_file(output, input))
        return {Code::invalid_argument,
                fmt::format("{}: is the file {} that this call reads; give another name", output, input)};
    }
  }
  return {};
}

}  // namespace ragdot::cli
