// The C interface of the GPU: the checks that the CPU's calls go through as far as they follow no pointer, what the GPU takes,
// launch.
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <stdexcept>

#include "api/c_abi.hpp"
#include "api/door.hpp"
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

/// A launch without its workspace, and the bytes of that.
template <class Launch>
struct Prepared {
  Launch launch;
  std::size_t workspace_bytes = 0;
};

/// The rules that need no address.
template <class ProductArgs>
Result<Prepared<cuda::Product>> prepare_product(const ProductArgs& args) {
  if (Status s = api::check_shapes(args, {}); !s.ok()) return s;
  const Result<cuda::Product> product = cuda::product_of(args);
  if (!product.ok()) return product.status();
  const cuda::Product& p = product.value();
  return Prepared<cuda::Product>{p, static_cast<std::size_t>(cuda::product_workspace_bytes(p.op, p.groups.local))};
}
Result<Prepared<cuda::Product>> prepare(const GmmArgs& args) {
  // Before the shapes: those of rhs are absent then.
  if (args.packed_rhs.present()) return cuda::product_of(args).status();
  return prepare_product(args);
}
Result<Prepared<cuda::Product>> prepare(const TgmmArgs& args) { return prepare_product(args); }

/// The copies of a quantiser by name, for the checks and for the rules.
template <std::size_t Count>
struct Copies {
  std::array<api::NamedOut, Count> checked;
  std::array<cuda::NamedCopy, Count> launched;
};
Copies<1> copies_of(const QuantizeArgs& args) { return {{{{"out", args.out}}}, {{{"out", args.out}}}}; }
Copies<2> copies_of(const QuantizeBothArgs& args) {
  return {{{{"row_wise", args.row_wise}, {"col_wise", args.col_wise}}},
          {{{"row_wise", args.row_wise}, {"col_wise", args.col_wise}}}};
}

const api::GroupRows kUnread;  // what the group numbers say

template <class QuantizerArgs>
Result<Prepared<cuda::Quantize>> prepare_copies(const QuantizerArgs& args) {
  const char* op = op_name(args);
  if (Status s = api::check_view({op, "input"}, args.input, api::Rank::batch); !s.ok()) return s;
  if (args.groups) {
    if (Status s = api::check_groups(op, *args.groups); !s.ok()) return s;
  }
  const Operand input(args.input);
  const auto copies = copies_of(args);
  if (Status s = api::check_quantize_shapes({op, input, args.groups, kUnread}, copies.checked); !s.ok()) return s;
  const Result<cuda::Quantize> quantize = cuda::quantize_of(op, args.input, args.groups, copies.launched);
  if (!quantize.ok()) return quantize.status();
  const std::int64_t count = args.groups ? args.groups->count : 0;
  return Prepared<cuda::Quantize>{quantize.value(), static_cast<std::size_t>(cuda::quantize_workspace_bytes(count))};
}
Result<Prepared<cuda::Quantize>> prepare(const QuantizeArgs& args) { return prepare_copies(args); }
Result<Prepared<cuda::Quantize>> prepare(const QuantizeBothArgs& args) { return prepare_copies(args); }

/// The rules of addresses. None is followed.
template <class ProductArgs>
Status check_memory(const ProductArgs& args, const cuda::Product& product) {
  if (Status s = api::check_group_data(op_name(args), args.groups); !s.ok()) return s;
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
  if (Status s = api::check_quantize_memory({op, input, args.groups, kUnread}, copies_of(args).checked); !s.ok()) return s;
  return cuda::check_addresses(op, quantize);
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

Status read_options(const char* function, const ragdot_cuda_options* given, ragdot_cuda_options& out) {
  out = {};
  if (given == nullptr) return {};
  if (Status s = read_struct({function, "options", "ragdot_cuda_options"}, given, out); !s.ok()) return s;
  if (out.multiprocessors >= 0) return {};
  return {Code::invalid_argument,
          fmt::format("{}: multiprocessors is {}; it must be 1 or more, or 0 for all", function, out.multiprocessors)};
}

template <class Args>
Status launch(const Args& args, const ragdot_cuda_options& options, const Workspace& workspace) {
  const char* op = op_name(args);
  auto prepared = prepare(args);
  if (!prepared.ok()) return prepared.status();
  auto& work = prepared.value().launch;
  if (Status s = check_memory(args, work); !s.ok()) return s;
  if (!cuda::writes(work)) return {};
  if (Status s = check_workspace(op, workspace, prepared.value().workspace_bytes); !s.ok()) return s;
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
    ragdot_cuda_options options;
    if (Status s = read_options(function, given_options, options); !s.ok()) return s;
    return api::door(op_name(args), kNoSentence, [&] { return launch(args, options, workspace); });
  });
}

template <class Args, class CArgs>
int size(const char* function, const CArgs* given, std::size_t* bytes) {
  return guarded(function, [&]() -> Status {
    if (bytes == nullptr) return {Code::invalid_argument, fmt::format("{}: bytes is null; give its address", function)};
    Args args;
    if (Status s = read_args(function, given, args); !s.ok()) return s;
    return api::door(op_name(args), kNoSentence, [&]() -> Status {
      const auto prepared = prepare(args);
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

int ragdot_cuda_gmm_workspace_bytes(const ragdot_gmm_args* args, size_t* bytes) {
  return c_abi::size<ragdot::GmmArgs>("ragdot_cuda_gmm_workspace_bytes", args, bytes);
}
int ragdot_cuda_tgmm_workspace_bytes(const ragdot_tgmm_args* args, size_t* bytes) {
  return c_abi::size<ragdot::TgmmArgs>("ragdot_cuda_tgmm_workspace_bytes", args, bytes);
}
int ragdot_cuda_quantize_workspace_bytes(const ragdot_quantize_args* args, size_t* bytes) {
  return c_abi::size<ragdot::QuantizeArgs>("ragdot_cuda_quantize_workspace_bytes", args, bytes);
}
int ragdot_cuda_quantize_both_workspace_bytes(const ragdot_quantize_both_args* args, size_t* bytes) {
  return c_abi::size<ragdot::QuantizeBothArgs>("ragdot_cuda_quantize_both_workspace_bytes", args, bytes);
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
