// Every number of a header is checked before it is used: a bad file is a sentence, never a crash or a huge allocation.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli/safetensors.hpp"
#include "cli/strict_json.hpp"

namespace ragdot::cli {
namespace {

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kLargestHeader = 100'000'000;  // the format's own limit

struct Dtype {
  const char* name;
  int bits;
  Format values;
};
constexpr Dtype kDtypes[] = {{"F32", 32, Format::f32},        {"BF16", 16, Format::bf16},   {"F16", 16, Format::f16},
                             {"F8_E4M3", 8, Format::e4m3},    {"F8_E5M2", 8, Format::e5m2}, {"I8", 8, Format::i8},
                             {"F8_E8M0", 8, Format::e8m0},    {"U8", 8, Format::none},      {"F64", 64, Format::none},
                             {"I16", 16, Format::none},       {"U16", 16, Format::none},    {"I32", 32, Format::none},
                             {"U32", 32, Format::none},       {"I64", 64, Format::none},    {"U64", 64, Format::none},
                             {"BOOL", 8, Format::none},       {"C64", 64, Format::none},    {"F4", 4, Format::none},
                             {"F6_E2M3", 6, Format::none},    {"F6_E3M2", 6, Format::none}, {"F8_E4M3FNUZ", 8, Format::none},
                             {"F8_E5M2FNUZ", 8, Format::none}};

const Dtype* dtype_named(const std::string& name) {
  const auto* found = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) { return name == d.name; });
  return found == std::end(kDtypes) ? nullptr : found;
}

Status refused(std::string sentence) { return {Code::invalid_argument, std::move(sentence)}; }

Status too_short(const std::string& path, std::int64_t size) {
  return refused(fmt::format("{}: has {} bytes; a safetensors file starts with an 8-byte header length", path, size));
}

/// An array of non-negative integers.
bool read_numbers(const nlohmann::json& json, std::vector<std::int64_t>& out) {
  if (!json.is_array()) return false;
  for (const auto& number : json) {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > static_cast<std::uint64_t>(kWholeAxis)) return false;
    out.push_back(number.get<std::int64_t>());
  }
  return true;
}

/// Bytes of a tensor; false where they pass int64 or are no whole number.
bool tensor_bytes(const std::vector<std::int64_t>& shape, int bits, std::int64_t& bytes) {
  std::int64_t elements = 1;
  for (const std::int64_t dim : shape) {
    if (__builtin_mul_overflow(elements, dim, &elements)) return false;
  }
  std::int64_t total_bits = 0;
  if (__builtin_mul_overflow(elements, static_cast<std::int64_t>(bits), &total_bits)) return false;
  bytes = total_bits / 8;
  return total_bits % 8 == 0;
}

/// One entry of the header; `begin` is where its bytes start behind the header.
Status read_tensor(const std::string& path, const nlohmann::json& entry, TensorInfo& tensor, std::int64_t& begin) {
  const auto bad = [&](const std::string& what) { return refused(fmt::format("{}: tensor {}: {}", path, tensor.name, what)); };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets") ||
      !entry["dtype"].is_string()) {
    return bad("its entry needs dtype, shape and data_offsets");
  }
  tensor.dtype = entry["dtype"].get<std::string>();
  const Dtype* dtype = dtype_named(tensor.dtype);
  if (dtype == nullptr) return bad(fmt::format("dtype {} is unknown", tensor.dtype));
  std::vector<std::int64_t> offsets;
  if (!read_numbers(entry["shape"], tensor.shape)) return bad("its shape is no list of sizes");
  if (!read_numbers(entry["data_offsets"], offsets) || offsets.size() != 2 || offsets[1] < offsets[0])
    return bad("its data_offsets are no pair begin <= end");
  if (!tensor_bytes(tensor.shape, dtype->bits, tensor.bytes))
    return bad(fmt::format("shape {} of {} has an absurd size", shape_text(tensor.shape), tensor.dtype));
  if (offsets[1] - offsets[0] != tensor.bytes) {
    return bad(fmt::format("shape {} of {} needs {} bytes, its data_offsets hold {}", shape_text(tensor.shape), tensor.dtype,
                           tensor.bytes, offsets[1] - offsets[0]));
  }
  begin = offsets[0];
  return {};
}

}  // namespace

int dtype_bits(const std::string& dtype) {
  const Dtype* found = dtype_named(dtype);
  return found == nullptr ? 0 : found->bits;
}

Format format_of(const std::string& dtype, DtypeUse use) {
  if (use == DtypeUse::scales && dtype == "U8") return Format::e8m0;
  const Dtype* found = dtype_named(dtype);
  return found == nullptr ? Format::none : found->values;
}

const char* dtype_of(Format format) {
  for (const Dtype& d : kDtypes) {
    if (d.values == format) return d.name;
  }
  return "?";
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO would be waited for
  if (fd < 0) return refused(fmt::format("{}: {}", path, std::strerror(errno)));
  struct stat info{};
  Status status = refused(fmt::format("{}: is no regular file", path));
  std::shared_ptr<const std::byte> bytes;
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
    status = info.st_size < kLengthBytes ? too_short(path, info.st_size) : Status();
  }
  if (status.ok()) {
    const auto size = static_cast<std::size_t>(info.st_size);
    void* map = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
      status = refused(fmt::format("{}: cannot be mapped: {}", path, std::strerror(errno)));
    } else {
      bytes = std::shared_ptr<const std::byte>(static_cast<const std::byte*>(map),
                                               [size](const std::byte* p) { ::munmap(const_cast<std::byte*>(p), size); });
    }
  }
  ::close(fd);
  if (!status.ok()) return status;
  return read(std::move(bytes), info.st_size, path);
}

Result<SafetensorsFile> SafetensorsFile::read(std::shared_ptr<const std::byte> bytes, std::int64_t size,
                                              const std::string& path) {
  if (size < kLengthBytes) return too_short(path, size);
  SafetensorsFile file;
  file.bytes_ = std::move(bytes);
  file.size_ = size;
  if (Status s = file.read_header(path); !s.ok()) return s;
  return file;
}

Status SafetensorsFile::read_header(const std::string& path) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes_.get(), kLengthBytes);
  if (length > static_cast<std::uint64_t>(size_ - kLengthBytes)) {
    return refused(fmt::format(
        "{}: its header is said to have {} bytes, the file has {} behind the length; it is truncated or no safetensors file",
        path, length, size_ - kLengthBytes));
  }
  if (length > static_cast<std::uint64_t>(kLargestHeader))
    return refused(fmt::format("{}: its header has {} bytes; the format allows {}", path, length, kLargestHeader));
  const char* text = reinterpret_cast<const char*>(bytes_.get()) + kLengthBytes;
  const auto [header, twice] = parse_strictly({text, length});
  if (header.is_discarded() || !header.is_object()) return refused(fmt::format("{}: its header is no JSON object", path));
  if (!twice.empty()) return refused(fmt::format("{}: the name {} stands twice in its header", path, twice));

  std::vector<std::pair<std::int64_t, TensorInfo>> found;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) return refused(fmt::format("{}: __metadata__ is no object", path));
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) return refused(fmt::format("{}: metadata {} is no string", path, key));
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    if (const char* why = unfit_name(name)) return refused(fmt::format("{}: the name of a tensor {}", path, why));
    TensorInfo tensor;
    tensor.name = name;
    std::int64_t begin = 0;
    if (Status s = read_tensor(path, entry, tensor, begin); !s.ok()) return s;
    found.emplace_back(begin, std::move(tensor));
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second.bytes < b.second.bytes;
  });
  const std::int64_t data = kLengthBytes + static_cast<std::int64_t>(length);
  std::int64_t at = 0;
  for (auto& [begin, tensor] : found) {
    if (begin != at) {
      return refused(
          fmt::format("{}: tensor {} starts at byte {}, the one before ends at {}; tensors must follow each other without {}",
                      path, tensor.name, begin, at, begin < at ? "overlap" : "holes"));
    }
    if (tensor.bytes > size_ - data - at) {
      return refused(fmt::format("{}: tensor {} ends at byte {}, the file has {} bytes of tensors; it is truncated", path,
                                 tensor.name, at + tensor.bytes, size_ - data));
    }
    offsets_.push_back(data + at);
    at += tensor.bytes;
    tensors_.push_back(std::move(tensor));
  }
  if (data + at != size_)
    return refused(fmt::format("{}: {} bytes behind its last tensor belong to none", path, size_ - data - at));
  return {};
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(), [&](const TensorInfo& t) { return t.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

const std::byte* SafetensorsFile::data(const TensorInfo& tensor) const {
  return bytes_.get() + offsets_[static_cast<std::size_t>(&tensor - tensors_.data())];
}

}  // namespace ragdot::cli
