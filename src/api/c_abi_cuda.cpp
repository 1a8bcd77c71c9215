// The C interface of the GPU: the checks that the CPU's calls go through as far as they follow no pointer, what the GPU takes,
// launch.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <initializer_list>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "api/c_abi.hpp"
#include "api/door.hpp"
#include "api/overlap.hpp"
#include "api/validate.hpp"
#include "api/validate_quantize.hpp"
#include "api/validate_view.hpp"
#include "cuda/device_half.hpp"
#include "cuda/rules.hpp"
#include "ragdot/cuda.h"

namespace ragdot::c_abi {
namespace {

constexpr char kNoSentence[] = "a sentence could not be allocated; free memory";

const char* op_name(const GmmArgs&) { return "gmm"; }
const char* op_name(const TgmmArgs&) { return "tgmm"; }
const char* op_name(const QuantizeArgs&) { return "quantize"; }
const char* op_name(const QuantizeBothArgs&) { return "quantize_both"; }

/// The caller's options, read.
struct CudaOptions {
  void* stream = nullptr;
  std::int32_t multiprocessors = 0;
  bool starts_aligned = false;
  std::optional<ragdot_cuda_group_places> col_wise_groups;
};

/// A launch without its workspace, and the bytes of that.
template <class Launch>
struct Prepared {
  Launch launch;
  std::size_t workspace_bytes = 0;
};

Result<Prepared<cuda::Product>> with_workspace(const Result<cuda::Product>& product) {
  if (!product.ok()) return product.status();
  return Prepared<cuda::Product>{product.value(), static_cast<std::size_t>(cuda::product_workspace_bytes(product.value()))};
}

/// The rules that need no address.
Result<Prepared<cuda::Product>> prepare(const GmmArgs& args, const CudaOptions&) {
  // Before the shapes: those of rhs are absent, or its strides say nothing.
  if (args.packed_rhs.present() || args.rhs_layout == RhsLayout::packed) return cuda::product_of(args).status();
  if (Status s = api::check_shapes(args, {}); !s.ok()) return s;
  return with_workspace(cuda::product_of(args));
}
Result<Prepared<cuda::Product>> prepare(const TgmmArgs& args, const CudaOptions& options) {
  if (Status s = api::check_shapes(args, {}); !s.ok()) return s;
  return with_workspace(cuda::product_of(args, options.starts_aligned));
}

/// The copies of a quantiser by name.
std::array<api::NamedOut, 1> copies_of(const QuantizeArgs& args) { return {{{"out", args.out}}}; }
std::array<api::NamedOut, 2> copies_of(const QuantizeBothArgs& args) {
  return {{{"row_wise", args.row_wise}, {"col_wise", args.col_wise}}};
}

const api::GroupRows kUnread;  // what the group numbers say

/// The rules that the CPU's quantiser keeps as well.
template <class QuantizerArgs>
Status check_copies(const QuantizerArgs& args) {
  const char* op = op_name(args);
  if (Status s = api::check_view({op, "input"}, args.input, api::Rank::batch); !s.ok()) return s;
  if (args.groups) {
    if (Status s = api::check_groups(op, *args.groups); !s.ok()) return s;
  }
  const Operand input(args.input);
  return api::check_quantize_shapes({op, input, args.groups, kUnread}, copies_of(args));
}

Result<Prepared<cuda::Quantize>> with_workspace(const Result<cuda::Quantize>& quantize) {
  if (!quantize.ok()) return quantize.status();
  const auto bytes = static_cast<std::size_t>(cuda::quantize_workspace_bytes(quantize.value().groups.count));
  return Prepared<cuda::Quantize>{quantize.value(), bytes};
}

Result<Prepared<cuda::Quantize>> prepare(const QuantizeArgs& args, const CudaOptions&) {
  if (Status s = check_copies(args); !s.ok()) return s;
  const std::array<cuda::NamedCopy, 1> copies = {{{"out", args.out}}};
  return with_workspace(cuda::quantize_of("quantize", args.input, args.groups, copies));
}
Result<Prepared<cuda::Quantize>> prepare(const QuantizeBothArgs& args, const CudaOptions& options) {
  const bool aligned = options.col_wise_groups.has_value();
  QuantizeBothArgs counted = args;
  if (aligned) {  // has rows of its own number
    if (Status s = api::check_view({"quantize_both", "col_wise"}, args.col_wise.values, api::Rank::batch); !s.ok()) return s;
    counted.col_wise.values.rows = args.input.rows;
  }
  if (Status s = check_copies(counted); !s.ok()) return s;
  const std::array<cuda::NamedCopy, 2> copies = {{{"row_wise", args.row_wise}, {"col_wise", args.col_wise, aligned}}};
  auto quantize = cuda::quantize_of("quantize_both", args.input, args.groups, copies);
  if (aligned && quantize.ok()) {
    quantize.value().aligned_starts = options.col_wise_groups->starts;
    quantize.value().aligned_sizes = options.col_wise_groups->sizes;
  }
  return with_workspace(quantize);
}

/// The rules of addresses. None is followed.
template <class ProductArgs>
Status check_memory(const ProductArgs& args, const cuda::Product& product) {
  if (Status s = api::check_memory(args); !s.ok()) return s;
  return cuda::check_addresses(product);
}
template <class QuantizerArgs>
Status check_memory(const QuantizerArgs& args, const cuda::Quantize& quantize) {
  const char* op = op_name(args);
  if (args.groups) {
    if (Status s = api::check_group_data(op, *args.groups); !s.ok()) return s;
  }
  const Operand input(args.input);
  if (Status s = api::check_quantize_memory({op, input, args.groups, kUnread}, copies_of(args)); !s.ok()) return s;
  return cuda::check_addresses(op, quantize);
}

struct NamedMemory {
  const char* what;
  ConstView view;
};

std::vector<NamedMemory> memory_of(const QuantizeArgs& args) {
  return {{"input", args.input}, {"out", args.out.values}, {"out scales", args.out.scales.view}};
}
std::vector<NamedMemory> memory_of(const QuantizeBothArgs& args) {
  return {{"input", args.input},
          {"row_wise", args.row_wise.values},
          {"row_wise scales", args.row_wise.scales.view},
          {"col_wise", args.col_wise.values},
          {"col_wise scales", args.col_wise.scales.view}};
}

/// The places that a copy with aligned groups is given.
std::array<NamedMemory, 2> memory_of(const ragdot_cuda_group_places& places, const Groups& groups) {
  return {{{"col_wise_groups.starts", api::index_view(groups, places.starts, groups.count)},
           {"col_wise_groups.sizes", api::index_view(groups, places.sizes, groups.count)}}};
}

/// What is written beside a quantiser's copies is memory of its own.
Status check_apart(const char* op, const NamedMemory& written, const std::optional<Groups>& groups,
                   std::span<const NamedMemory> others) {
  const char* shared = groups ? api::overlapped_numbers(*groups, written.view) : nullptr;
  for (const NamedMemory& other : others) {
    if (api::overlaps(written.view, other.view)) shared = other.what;
  }
  if (shared == nullptr) return {};
  return {Code::invalid_argument, fmt::format("{}: {} overlaps {}; give it memory of its own", op, written.what, shared)};
}

Status check_places(const QuantizeBothArgs& args, const ragdot_cuda_group_places& places) {
  std::vector<NamedMemory> others = memory_of(args);
  for (const NamedMemory& written : memory_of(places, *args.groups)) {
    if (written.view.data == nullptr) {
      return {Code::invalid_argument,
              fmt::format("quantize_both: {} is null; give room for {} numbers", written.what, args.groups->count)};
    }
    if (Status s = check_apart("quantize_both", written, args.groups, others); !s.ok()) return s;
    others.push_back(written);
  }
  return {};
}

struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

Status check_workspace(const char* op, const Workspace& given, std::size_t needed) {
  if (given.data == nullptr || given.bytes < needed) {
    return {Code::invalid_argument, fmt::format("{}: the workspace has {} bytes{}; the call needs {}", op, given.bytes,
                                                given.data == nullptr ? " at null" : "", needed)};
  }
  constexpr std::uintptr_t kAlignment = 128;
  if (reinterpret_cast<std::uintptr_t>(given.data) % kAlignment == 0) return {};
  return {Code::invalid_argument,
          fmt::format("{}: the address of the workspace is {}; it is a multiple of {}, as cudaMalloc gives it", op,
                      fmt::ptr(given.data), kAlignment)};
}

/// What is used of the workspace shares no memory with the call.
template <class ProductArgs>
Status check_apart(const ProductArgs& args, const CudaOptions&, const Workspace& used) {
  return api::check_workspace(args, {static_cast<const std::byte*>(used.data), used.bytes});
}
template <class Args>
  requires std::is_same_v<Args, QuantizeArgs> || std::is_same_v<Args, QuantizeBothArgs>
Status check_apart(const Args& args, const CudaOptions& options, const Workspace& used) {
  std::vector<NamedMemory> others = memory_of(args);
  if (options.col_wise_groups) {
    for (const NamedMemory& places : memory_of(*options.col_wise_groups, *args.groups)) others.push_back(places);
  }
  const auto bytes = static_cast<std::int64_t>(used.bytes);
  const std::string what = fmt::format("the workspace of {} bytes", bytes);
  const ConstView view = matrix(static_cast<const void*>(used.data), Format::i8, 1, bytes);
  if (Status s = api::check_data({op_name(args), "the workspace"}, view, api::Rank::matrix); !s.ok()) return s;
  return check_apart(op_name(args), {what.c_str(), view}, args.groups, others);
}

struct Pointer {
  const char* what;
  const void* address;
};

Status check_reachable(const char* op, const cuda::DeviceHalf& half, std::initializer_list<Pointer> pointers) {
  if (half.not_device_pointer == nullptr) return {};
  for (const Pointer& p : pointers) {
    const char* where = p.address == nullptr ? nullptr : half.not_device_pointer(p.address);
    if (where == nullptr) continue;
    return {Code::invalid_argument,
            fmt::format("{}: the address of {} lies in {}; give memory of the device (cudaMalloc)", op, p.what, where)};
  }
  return {};
}
Status check_reachable(const char* op, const cuda::DeviceHalf& half, const cuda::Product& p) {
  return check_reachable(op, half,
                         {{"lhs", p.a.data},
                          {"lhs scales", p.a_scales.data},
                          {"rhs", p.b.data},
                          {"rhs scales", p.b_scales.data},
                          {"out", p.out},
                          {"the group numbers", p.groups.data},
                          {"the group sizes", p.groups.sizes},
                          {"the workspace", p.workspace}});
}
Status check_reachable(const char* op, const cuda::DeviceHalf& half, const cuda::Quantize& q) {
  const bool both = q.second.values != nullptr;
  return check_reachable(op, half,
                         {{"input", q.input},
                          {both ? "row_wise" : "out", q.first.values},
                          {both ? "row_wise scales" : "out scales", q.first.scales},
                          {"col_wise", q.second.values},
                          {"col_wise scales", q.second.scales},
                          {"the group numbers", q.groups.data},
                          {"the group sizes", q.groups.sizes},
                          {"col_wise_groups.starts", q.aligned_starts},
                          {"col_wise_groups.sizes", q.aligned_sizes},
                          {"the workspace", q.workspace}});
}

/// Throws what the driver said: the border makes it RAGDOT_FAILED, for which C++ has no code.
void end_with(const char* driver) {
  if (driver != nullptr) throw std::runtime_error(driver);
}
void enqueue(const cuda::DeviceHalf& half, const cuda::Product& product, void* stream) {
  end_with(half.product(product, stream));
}
void enqueue(const cuda::DeviceHalf& half, const cuda::Quantize& quantize, void* stream) {
  end_with(half.quantize(quantize, stream));
}

template <class Args>
Status read_options(const char* function, const ragdot_cuda_options* given, CudaOptions& out) {
  if (given == nullptr) return {};
  ragdot_cuda_options full;
  if (Status s = read_struct({function, "options", "ragdot_cuda_options"}, given, full); !s.ok()) return s;
  if (full.multiprocessors < 0) {
    return {Code::invalid_argument,
            fmt::format("{}: multiprocessors is {}; it must be 1 or more, or 0 for all", function, full.multiprocessors)};
  }
  if (full.starts_aligned != 0 && full.starts_aligned != 1) {
    return {Code::invalid_argument, fmt::format("{}: starts_aligned is {}; it must be 0 or 1", function, full.starts_aligned)};
  }
  if (full.col_wise_groups != nullptr && !std::is_same_v<Args, QuantizeBothArgs>) {
    return {Code::invalid_argument,
            fmt::format("{}: col_wise_groups is for ragdot_cuda_quantize_both alone; leave it null", function)};
  }
  out.stream = full.stream;
  out.multiprocessors = full.multiprocessors;
  out.starts_aligned = full.starts_aligned == 1;
  if (full.col_wise_groups != nullptr) out.col_wise_groups = *full.col_wise_groups;
  return {};
}

template <class Args>
Status launch(const Args& args, const CudaOptions& options, const Workspace& workspace) {
  const char* op = op_name(args);
  auto prepared = prepare(args, options);
  if (!prepared.ok()) return prepared.status();
  auto& work = prepared.value().launch;
  if (Status s = check_memory(args, work); !s.ok()) return s;
  if constexpr (std::is_same_v<Args, QuantizeBothArgs>) {
    if (options.col_wise_groups) {
      if (Status s = check_places(args, *options.col_wise_groups); !s.ok()) return s;
    }
  }
  if (!cuda::writes(work)) return {};
  if (Status s = check_workspace(op, workspace, prepared.value().workspace_bytes); !s.ok()) return s;
  const Workspace used = {workspace.data, prepared.value().workspace_bytes};
  if (Status s = check_apart(args, options, used); !s.ok()) return s;
  work.multiprocessors = options.multiprocessors;
  work.workspace = workspace.data;
  const cuda::OpenedHalf& half = cuda::device_half();
  if (const std::string why = cuda::refusal(half); !why.empty()) return {Code::unsupported, fmt::format("{}: {}", op, why)};
  if (Status s = check_reachable(op, *half.table, work); !s.ok()) return s;
  enqueue(*half.table, work, options.stream);
  return {};
}

template <class Args, class CArgs>
int call(const char* function, const CArgs* given, const ragdot_cuda_options* given_options, const Workspace& workspace) {
  return guarded(function, [&]() -> Status {
    Args args;
    if (Status s = read_args(function, given, args); !s.ok()) return s;
    CudaOptions options;
    if (Status s = read_options<Args>(function, given_options, options); !s.ok()) return s;
    return api::door(op_name(args), kNoSentence, [&] { return launch(args, options, workspace); });
  });
}

template <class Args, class CArgs>
int size(const char* function, const CArgs* given, const ragdot_cuda_options* given_options, std::size_t* bytes) {
  return guarded(function, [&]() -> Status {
    if (bytes == nullptr) return {Code::invalid_argument, fmt::format("{}: bytes is null; give its address", function)};
    Args args;
    if (Status s = read_args(function, given, args); !s.ok()) return s;
    CudaOptions options;
    if (Status s = read_options<Args>(function, given_options, options); !s.ok()) return s;
    return api::door(op_name(args), kNoSentence, [&]() -> Status {
      const auto prepared = prepare(args, options);
      if (prepared.ok()) *bytes = prepared.value().workspace_bytes;
      return prepared.status();
    });
  });
}

/// The sentence of the thread's last question. Plain memory, as that of the last error.
constinit thread_local std::array<char, 1024> last_refusal{};

}  // namespace
}  // namespace ragdot::c_abi

namespace c_abi = ragdot::c_abi;

const char* ragdot_cuda_refusal(void) {
  std::array<char, 1024>& text = c_abi::last_refusal;
  text.front() = '\0';
  try {
    const std::string why = ragdot::cuda::refusal(ragdot::cuda::device_half());
    text.at(why.copy(text.data(), text.size() - 1)) = '\0';
  } catch (const std::exception&) {  // of which only std::bad_alloc is possible
    (void)std::snprintf(text.data(), text.size(), "an allocation failed while libragdot_cuda.so was opened; free memory");
  }
  return text.data();
}

int ragdot_cuda_gmm_workspace_bytes(const ragdot_gmm_args* args, const ragdot_cuda_options* options, size_t* bytes) {
  return c_abi::size<ragdot::GmmArgs>("ragdot_cuda_gmm_workspace_bytes", args, options, bytes);
}
int ragdot_cuda_tgmm_workspace_bytes(const ragdot_tgmm_args* args, const ragdot_cuda_options* options, size_t* bytes) {
  return c_abi::size<ragdot::TgmmArgs>("ragdot_cuda_tgmm_workspace_bytes", args, options, bytes);
}
int ragdot_cuda_quantize_workspace_bytes(const ragdot_quantize_args* args, const ragdot_cuda_options* options, size_t* bytes) {
  return c_abi::size<ragdot::QuantizeArgs>("ragdot_cuda_quantize_workspace_bytes", args, options, bytes);
}
int ragdot_cuda_quantize_both_workspace_bytes(const ragdot_quantize_both_args* args, const ragdot_cuda_options* options,
                                              size_t* bytes) {
  return c_abi::size<ragdot::QuantizeBothArgs>("ragdot_cuda_quantize_both_workspace_bytes", args, options, bytes);
}

int ragdot_cuda_gmm(const ragdot_gmm_args* args, const ragdot_cuda_options* options, void* workspace, size_t workspace_bytes) {
  return c_abi::call<ragdot::GmmArgs>("ragdot_cuda_gmm", args, options, {workspace, workspace_bytes});
}
int ragdot_cuda_tgmm(const ragdot_tgmm_args* args, const ragdot_cuda_options* options, void* workspace,
                     size_t workspace_bytes) {
  return c_abi::call<ragdot::TgmmArgs>("ragdot_cuda_tgmm", args, options, {workspace, workspace_bytes});
}
int ragdot_cuda_quantize(const ragdot_quantize_args* args, const ragdot_cuda_options* options, void* workspace,
                         size_t workspace_bytes) {
  return c_abi::call<ragdot::QuantizeArgs>("ragdot_cuda_quantize", args, options, {workspace, workspace_bytes});
}
int ragdot_cuda_quantize_both(const ragdot_quantize_both_args* args, const ragdot_cuda_options* options, void* workspace,
                              size_t workspace_bytes) {
  return c_abi::call<ragdot::QuantizeBothArgs>("ragdot_cuda_quantize_both", args, options, {workspace, workspace_bytes});
}
