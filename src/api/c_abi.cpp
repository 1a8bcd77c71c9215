// The C interface: results and errors, products, packed weights, kernels.
#include "api/c_abi.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace ragdot::c_abi {
namespace {

/// The thread's last sentence: `text` where it could be kept, `fallback` (static) otherwise.
struct LastError {
  std::string text;
  const char* fallback = nullptr;
};
thread_local LastError last_error;

int keep(Code code, const std::string& text) noexcept {
  try {
    last_error.text = text;
    last_error.fallback = nullptr;
  } catch (...) {
    last_error.fallback = "the call was refused, and no memory was left to keep the reason";
  }
  return static_cast<int>(code);
}

constexpr auto kFailed = static_cast<Code>(RAGDOT_FAILED);

struct StaticKernels {
  std::vector<KernelInfo> list = list_kernels();
};
const std::vector<KernelInfo>& kernels() {
  static const StaticKernels kKernels;
  return kKernels.list;
}

}  // namespace

int report(const Status& status) noexcept { return status.ok() ? RAGDOT_OK : keep(status.code(), status.message()); }

int report_no_memory(const char* sentence) noexcept {
  last_error.fallback = sentence;
  return RAGDOT_OUT_OF_MEMORY;
}

int report_failure(const char* function, const char* what) noexcept {
  try {
    return keep(kFailed, fmt::format("{}: {}", function, what));
  } catch (...) {
    last_error.fallback = "the call failed, and no memory was left to say why";
    return RAGDOT_FAILED;
  }
}

}  // namespace ragdot::c_abi

using ragdot::Code;
using ragdot::Status;
namespace c_abi = ragdot::c_abi;

const char* ragdot_last_error(void) {
  return c_abi::last_error.fallback != nullptr ? c_abi::last_error.fallback : c_abi::last_error.text.c_str();
}

const char* ragdot_version(void) { return ragdot::version(); }

int ragdot_gmm(const ragdot_gmm_args* args, const ragdot_options* options) {
  return c_abi::guarded("ragdot_gmm", [&] {
    ragdot::GmmArgs a;
    if (Status s = c_abi::read_args("ragdot_gmm", args, a); !s.ok()) return s;
    c_abi::ReadOptions o;
    if (Status s = c_abi::read_options("ragdot_gmm", options, o); !s.ok()) return s;
    return ragdot::gmm(a, o.options);
  });
}

int ragdot_tgmm(const ragdot_tgmm_args* args, const ragdot_options* options) {
  return c_abi::guarded("ragdot_tgmm", [&] {
    ragdot::TgmmArgs a;
    if (Status s = c_abi::read_args("ragdot_tgmm", args, a); !s.ok()) return s;
    c_abi::ReadOptions o;
    if (Status s = c_abi::read_options("ragdot_tgmm", options, o); !s.ok()) return s;
    return ragdot::tgmm(a, o.options);
  });
}

int ragdot_pack_rhs(const ragdot_operand* rhs, const ragdot_options* options, ragdot_packed_rhs** packed) {
  return c_abi::guarded("ragdot_pack_rhs", [&]() -> Status {
    if (rhs == nullptr || packed == nullptr) {
      return {Code::invalid_argument,
              fmt::format("ragdot_pack_rhs: {} is null; give its address", rhs == nullptr ? "rhs" : "packed")};
    }
    c_abi::ReadOptions o;
    if (Status s = c_abi::read_options("ragdot_pack_rhs", options, o); !s.ok()) return s;
    ragdot::Result<ragdot::PackedRhs> result = ragdot::pack_rhs(c_abi::operand_of(*rhs), o.options);
    if (!result.ok()) return result.status();
    std::string description = result.value().describe();
    *packed = new ragdot_packed_rhs{std::move(result.value()), std::move(description)};
    return {};
  });
}

void ragdot_packed_free(ragdot_packed_rhs* packed) { delete packed; }

size_t ragdot_packed_size_bytes(const ragdot_packed_rhs* packed) { return packed == nullptr ? 0 : packed->packed.size_bytes(); }

const char* ragdot_packed_describe(const ragdot_packed_rhs* packed) {
  return packed == nullptr ? "" : packed->description.c_str();
}

int32_t ragdot_kernel_count(void) {
  int32_t count = 0;
  const int code = c_abi::guarded("ragdot_kernel_count", [&]() -> Status {
    count = static_cast<int32_t>(c_abi::kernels().size());
    return {};
  });
  return code == RAGDOT_OK ? count : 0;
}

int ragdot_kernel(int32_t index, ragdot_kernel_info* info) {
  return c_abi::guarded("ragdot_kernel", [&]() -> Status {
    if (Status s = c_abi::check_struct({"ragdot_kernel", "info", "ragdot_kernel_info"}, info, sizeof *info); !s.ok()) return s;
    const auto& kernels = c_abi::kernels();
    if (index < 0 || static_cast<std::size_t>(index) >= kernels.size()) {
      return {Code::invalid_argument, fmt::format("ragdot_kernel: index is {}; there are {} kernels", index, kernels.size())};
    }
    const ragdot::KernelInfo& kernel = kernels[static_cast<std::size_t>(index)];
    const std::size_t bytes = info->struct_size;  // an older header's struct may end before the last field
    const ragdot_kernel_info full = {bytes, kernel.name.c_str(), kernel.reason.c_str(), kernel.usable ? 1 : 0};
    std::memcpy(info, &full, bytes);
    return {};
  });
}

int ragdot_force_kernel(const char* name) {
  return c_abi::guarded("ragdot_force_kernel", [&] { return ragdot::force_kernel(name == nullptr ? "" : name); });
}
