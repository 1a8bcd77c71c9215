// From XLA's buffers and errors to the library's, and back.
#include "jax/buffers.hpp"

#include <fmt/format.h>

#include <span>

namespace ragdot::jax {
namespace {

/// Format::none, which every call refuses, for a type that the library has no format for.
Format format_of(ffi::DataType type) {
  switch (type) {
    case ffi::DataType::F32: return Format::f32;
    case ffi::DataType::BF16: return Format::bf16;
    case ffi::DataType::F16: return Format::f16;
    case ffi::DataType::F8E4M3FN: return Format::e4m3;
    case ffi::DataType::F8E5M2: return Format::e5m2;
    case ffi::DataType::S8: return Format::i8;
    case ffi::DataType::F8E8M0FNU: return Format::e8m0;
    default: return Format::none;
  }
}

View writable_view_of(const ffi::AnyBuffer& buffer) {
  const ffi::AnyBuffer::Dimensions dims = buffer.dimensions();
  const Format format = format_of(buffer.element_type());
  if (dims.size() == 2) return matrix(buffer.untyped_data(), format, dims[0], dims[1]);
  if (dims.size() == 3) return matrices(buffer.untyped_data(), format, dims[0], dims[1], dims[2]);
  return {};
}

}  // namespace

ConstView view_of(const ffi::AnyBuffer& buffer) { return writable_view_of(buffer); }
View view_of(ffi::Result<ffi::AnyBuffer>& buffer) { return writable_view_of(*buffer); }

Result<Grid> grid_of(Ints attribute) {
  if (attribute.size() != 3 || attribute[2] < 0 || attribute[2] > 2) {
    return Status(Code::invalid_argument,
                  "a scale grid is (rows, columns, origin 0 to 2); use ragdot.jax of this library's version");
  }
  return Grid{attribute[0], attribute[1], static_cast<Origin>(attribute[2])};
}

Status CallGroups::read_sizes(const char* op, const ffi::AnyBuffer& sizes, std::int64_t rows) {
  const bool wide = sizes.element_type() == ffi::DataType::S64;
  if ((!wide && sizes.element_type() != ffi::DataType::S32) || sizes.dimensions().size() != 1) {
    return {Code::invalid_argument, fmt::format("{}: group_sizes is no int32 or int64 vector; convert it", op)};
  }
  if (wide) {
    sizes_.assign(sizes.typed_data<std::int64_t>(), sizes.typed_data<std::int64_t>() + sizes.element_count());
  } else {
    sizes_.assign(sizes.typed_data<std::int32_t>(), sizes.typed_data<std::int32_t>() + sizes.element_count());
  }
  std::int64_t begin = 0;
  for (std::size_t g = 0; g < sizes_.size(); ++g) {
    if (sizes_[g] < 0 || sizes_[g] > rows - begin) {
      return {Code::invalid_argument,
              fmt::format("{}: group_sizes[{}] is {}; {} of {} rows are left for it; give sizes from 0 on "
                          "whose sum is the rows or less",
                          op, g, sizes_[g], rows - begin, rows)};
    }
    starts_.push_back(begin);
    begin += sizes_[g];
  }
  return {};
}

Status CallGroups::read(const char* op, const ffi::AnyBuffer& sizes, const ffi::BufferR1<ffi::S32>& offset, std::int64_t local,
                        std::int64_t rows, Scope scope) {
  if (Status s = read_sizes(op, sizes, rows); !s.ok()) return s;
  const auto count = static_cast<std::int64_t>(sizes_.size());
  const std::int64_t first = offset.element_count() == 1 ? *offset.typed_data() : -1;
  if (first < 0 || first > count - local) {
    return {Code::invalid_argument,
            fmt::format("{}: group_offset is {}; with {} groups in group_sizes and {} local ones it must "
                        "be from 0 to {}",
                        op, first, count, local, count - local)};
  }
  if (scope == Scope::all) {
    groups_ = Groups::from_sizes(sizes_);
    first_group_ = first;
    return {};
  }
  const auto window = [&](const std::vector<std::int64_t>& all) {
    return std::span(all).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(local));
  };
  groups_ = Groups::from_starts_and_sizes(window(starts_), window(sizes_));
  return {};
}

std::int64_t CallGroups::scale_rows(std::int64_t block) const {
  if (block == kWholeAxis || block < 1) return groups_.count;
  const auto* sizes = static_cast<const std::int64_t*>(groups_.kind == Groups::Kind::sizes ? groups_.data : groups_.sizes);
  std::int64_t rows = 0;
  for (std::int64_t g = 0; g < groups_.count; ++g) rows += sizes[g] / block + (sizes[g] % block != 0 ? 1 : 0);
  return rows;
}

Threads::Threads(ffi::ThreadPool& pool) : executor_(pool, concurrency_of(pool)) {}

ffi::Error error_of(const Status& status) {
  switch (status.code()) {
    case Code::ok: return ffi::Error::Success();
    case Code::invalid_argument: return {ffi::ErrorCode::kInvalidArgument, status.message()};
    case Code::unsupported: return {ffi::ErrorCode::kUnimplemented, status.message()};
    case Code::out_of_memory: return {ffi::ErrorCode::kResourceExhausted, status.message()};
  }
  return ffi::Error::Internal(status.message());
}

}  // namespace ragdot::jax
