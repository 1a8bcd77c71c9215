// The C interface: results and errors, products, packed weights, kernels.
#include "api/c_abi.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "format/never_destroyed.hpp"

namespace ragdot::c_abi {
namespace {

/// The thread's last sentence. Plain memory: a string would have to be destroyed with its thread, and glibc ends the process
/// where it has no memory to take note of that.
constinit thread_local std::array<char, 2048> last_error{};

/// Longer sentences are cut.
int keep(int code, std::string_view sentence) noexcept {
  const std::size_t count = std::min(sentence.size(), last_error.size() - 1);
  std::copy_n(sentence.begin(), count, last_error.begin());
  last_error[count] = '\0';
  return code;
}

const std::vector<KernelInfo>& kernels() {
  static format::NeverDestroyed<std::vector<KernelInfo>> all(list_kernels());
  return *all;
}

}  // namespace

int report(const Status& status) noexcept {
  return status.ok() ? RAGDOT_OK : keep(static_cast<int>(status.code()), status.message());
}

int report_no_memory() noexcept {
  return keep(RAGDOT_OUT_OF_MEMORY, "an allocation failed; free memory or give smaller arguments");
}

int report_failure(const char* function, const char* what) noexcept {
  (void)std::snprintf(last_error.data(), last_error.size(), "%s: %s", function, what);
  return RAGDOT_FAILED;
}

}  // namespace ragdot::c_abi

using ragdot::Code;
using ragdot::Status;
namespace c_abi = ragdot::c_abi;

const char* ragdot_last_error(void) { return c_abi::last_error.data(); }

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

int ragdot_pack_values(const ragdot_const_view* rhs, const ragdot_options* options, void* to, size_t bytes) {
  return c_abi::guarded("ragdot_pack_values", [&]() -> Status {
    if (rhs == nullptr) return {Code::invalid_argument, "ragdot_pack_values: rhs is null; give its address"};
    c_abi::ReadOptions o;
    if (Status s = c_abi::read_options("ragdot_pack_values", options, o); !s.ok()) return s;
    return ragdot::pack_values(c_abi::view_of(*rhs), {static_cast<std::byte*>(to), bytes}, o.options);
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
    if (Status s = c_abi::check_struct({"ragdot_kernel", "info", "ragdot_kernel_info"}, info); !s.ok()) return s;
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
