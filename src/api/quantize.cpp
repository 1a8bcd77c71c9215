// The doors of the quantisers: check everything, then write.
#include "ragdot/quantize.hpp"

#include <fmt/format.h>

#include <array>

#include "api/door.hpp"
#include "api/validate_quantize.hpp"
#include "cpu/quantize/quantize.hpp"
#include "cpu/quantize/routines.hpp"
#include "format/memory.hpp"
#include "plan/backend.hpp"
#include "plan/idle_strides.hpp"

namespace ragdot {
namespace {

using api::GroupRows;
using api::NamedOut;

Status refuse_element(const char* op, const char* what, const cpu::Place& p, const char* way_out) {
  return {Code::invalid_argument, fmt::format("{}: input [{}, {}, {}] is {}; {}", op, p.matrix, p.row, p.col, what, way_out)};
}

/// The routines of the forced kernel's name, else the best that this CPU can run. A kernel that has none of its name (amx)
/// leaves the choice open: all give the same bits.
Result<const cpu::Routines*> choose_routines(const char* op, const Options& options) {
  const plan::Forced forced = plan::forced_kernel(options);
  const cpu::Routines* best = nullptr;
  std::string names;
  for (const cpu::Routines* table : cpu::routines()) {
    const char* refusal = table->refusal();
    if (forced.kernel == table->name && refusal != nullptr) {
      return Status(Code::unsupported,
                    fmt::format("{}: {} asks for {} and {}; take another", op, forced.by, forced.kernel, refusal));
    }
    if (refusal == nullptr && (best == nullptr || forced.kernel == table->name)) best = table;
    names += (names.empty() ? "" : ", ") + std::string(table->name);
  }
  bool known = forced.kernel.empty() || forced.kernel == best->name;
  for (const KernelInfo& kernel : list_kernels()) {
    known = known || kernel.name == forced.kernel;
    if (names.find(kernel.name) == std::string::npos) names += ", " + kernel.name;
  }
  if (known) return best;
  return Status(Code::unsupported, fmt::format("{}: {}", op, plan::unknown_kernel(forced, names)));
}

/// Elements that a copy cannot hold, or that a strict call refuses.
Status check_elements(const char* op, const Operand& input, const GroupRows& groups, std::span<const NamedOut> outs,
                      const Options& options, const cpu::Routines& routines) {
  for (const NamedOut& named : outs) {
    if (named.out.values.format != Format::i8) continue;
    const auto place = cpu::find_nan(input, groups, options, routines);
    if (place) return refuse_element(op, "NaN", *place, "i8 has none; replace it, or quantise to e4m3 or e5m2");
    break;
  }
  if (options.strictness == Strictness::ieee) return {};
  const auto place = cpu::find_inf(input, groups, options, routines);
  if (place)
    return refuse_element(op, "Inf", *place,
                          "a strict call takes finite elements; replace it, or call without strict to saturate");
  return {};
}

constexpr char kNoTables[] = "there is no memory for its tables, or the executor had none; give fewer rows or groups at once";

Status check_plain(const char* op, const ConstView& input) {
  if (input.format == Format::f32 || input.format == Format::bf16 || input.format == Format::f16) return {};
  if (element_bytes(input.format) == 0) return {};  // absent or no format at all: the checks of a view say so
  return {Code::invalid_argument,
          fmt::format("{}: input is {}; give f32, bf16 or f16, or use requantize", op, name(input.format))};
}

/// Which inputs a quantiser takes.
enum class Inputs { plain, scaled };

Status quantize_copies(const char* op, Inputs inputs, const Operand& input, const std::optional<Groups>& groups,
                       std::span<const NamedOut> outs, const Options& options) {
  return api::door(op, kNoTables, [&]() -> Status {
    if (inputs == Inputs::plain) {
      if (Status s = check_plain(op, input.values); !s.ok()) return s;
    }
    GroupRows rows;
    if (Status s = api::read_optional_groups(op, groups, input.values, rows); !s.ok()) return s;
    if (Status s = api::check_quantize({op, input, groups, rows}, outs, options); !s.ok()) return s;
    const Result<const cpu::Routines*> routines = choose_routines(op, options);
    if (!routines.ok()) return routines.status();
    const Operand from = plan::without_idle_strides(input);
    if (Status s = check_elements(op, from, rows, outs, options, *routines.value()); !s.ok()) return s;
    std::vector<QuantizedOut> copies;
    for (const NamedOut& named : outs) copies.push_back(plan::without_idle_strides(named.out));
    cpu::quantize(from, rows, copies, options, *routines.value());
    return {};
  });
}

Status convert_to_e8m0(const ConstView& scales, const View& codes) {
  if (Status s = api::check_to_e8m0(scales, codes); !s.ok()) return s;
  if (scales.batch == 0 || scales.rows == 0 || scales.cols == 0) return {};  // though the others may be 2^50
  const auto each = [&](auto f) -> Status {
    for (std::int64_t b = 0; b < scales.batch; ++b) {
      for (std::int64_t r = 0; r < scales.rows; ++r) {
        for (std::int64_t c = 0; c < scales.cols; ++c) {
          const auto scale = format::load<float>(format::element_at(scales, b, r, c));
          std::byte* to = format::element_at(codes, b, r, c);
          if (!f(scale, to)) {
            return {
                Code::invalid_argument,
                fmt::format(
                    "to_e8m0: scales [{}, {}, {}] is {:g}, no power of two in e8m0's range; keep the f32 scales or quantise "
                    "with recipe pow2",
                    b, r, c, scale)};
          }
        }
      }
    }
    return {};
  };
  if (Status s = each([](float scale, std::byte*) { return format::is_e8m0(scale); }); !s.ok()) return s;
  return each([](float scale, std::byte* to) {
    *to = static_cast<std::byte>(std::bit_cast<std::uint32_t>(scale) >> 23);
    return true;
  });
}

}  // namespace

Status quantize(const QuantizeArgs& args, const Options& options) {
  const std::array<NamedOut, 1> outs = {{{"out", args.out}}};
  return quantize_copies("quantize", Inputs::plain, args.input, args.groups, outs, options);
}

Status quantize_both(const QuantizeBothArgs& args, const Options& options) {
  const std::array<NamedOut, 2> outs = {{{"row_wise", args.row_wise}, {"col_wise", args.col_wise}}};
  return quantize_copies("quantize_both", Inputs::plain, args.input, args.groups, outs, options);
}

Status requantize(const RequantizeArgs& args, const Options& options) {
  const std::array<NamedOut, 1> outs = {{{"out", args.out}}};
  return quantize_copies("requantize", Inputs::scaled, args.input, args.groups, outs, options);
}

Status dequantize(const DequantizeArgs& args, const Options& options) {
  return api::door("dequantize", kNoTables, [&]() -> Status {
    GroupRows rows;
    if (Status s = api::read_optional_groups("dequantize", args.groups, args.input.values, rows); !s.ok()) return s;
    if (Status s = api::check_dequantize({"dequantize", args.input, args.groups, rows}, args.out, options); !s.ok()) return s;
    const Result<const cpu::Routines*> routines = choose_routines("dequantize", options);
    if (!routines.ok()) return routines.status();
    cpu::dequantize(plan::without_idle_strides(args.input), rows, plan::without_idle_strides(args.out), options,
                    *routines.value());
    return {};
  });
}

Status to_e8m0(ConstView scales, View codes) {
  return api::door("to_e8m0", kNoTables, [&] { return convert_to_e8m0(scales, codes); });
}

}  // namespace ragdot
