// Reads the structs of the C interface, and holds its numbers and those of the C++ headers together.
#include <fmt/format.h>

#include <type_traits>

#include "api/c_abi.hpp"

namespace ragdot::c_abi {
namespace {

template <class Enum>
constexpr bool same(int number, Enum value) {
  return static_cast<std::int32_t>(value) == number;
}

static_assert(same(RAGDOT_OK, Code::ok) && same(RAGDOT_INVALID_ARGUMENT, Code::invalid_argument) &&
              same(RAGDOT_UNSUPPORTED, Code::unsupported) && same(RAGDOT_OUT_OF_MEMORY, Code::out_of_memory));
static_assert(same(RAGDOT_NONE, Format::none) && same(RAGDOT_F32, Format::f32) && same(RAGDOT_BF16, Format::bf16) &&
              same(RAGDOT_F16, Format::f16) && same(RAGDOT_E4M3, Format::e4m3) && same(RAGDOT_E5M2, Format::e5m2) &&
              same(RAGDOT_I8, Format::i8) && same(RAGDOT_E8M0, Format::e8m0));
static_assert(same(RAGDOT_ACTIVATION_NONE, Activation::none) && same(RAGDOT_RELU, Activation::relu) &&
              same(RAGDOT_TANH, Activation::tanh) && same(RAGDOT_SILU, Activation::silu) &&
              same(RAGDOT_GELU_TANH, Activation::gelu_tanh) && same(RAGDOT_GELU_ERF, Activation::gelu_erf));
static_assert(same(RAGDOT_ROWS_OUTSIDE_ZERO, RowsOutside::zero) && same(RAGDOT_ROWS_OUTSIDE_LEAVE, RowsOutside::leave) &&
              same(RAGDOT_RHS_STRIDED, RhsLayout::strided) && same(RAGDOT_RHS_PACKED, RhsLayout::packed) &&
              same(RAGDOT_OVERWRITE, OutMode::overwrite) && same(RAGDOT_ACCUMULATE, OutMode::accumulate) &&
              same(RAGDOT_ORIGIN_GLOBAL, ScaleOrigin::global) && same(RAGDOT_ORIGIN_PER_GROUP, ScaleOrigin::per_group));
static_assert(same(RAGDOT_ABSMAX, Recipe::absmax) && same(RAGDOT_POW2, Recipe::pow2) && same(RAGDOT_MX, Recipe::mx) &&
              same(RAGDOT_FIXED, Recipe::fixed) && same(RAGDOT_IEEE, Strictness::ieee) &&
              same(RAGDOT_STRICT, Strictness::strict));
static_assert(same(RAGDOT_SIZES, Groups::Kind::sizes) && same(RAGDOT_ENDS, Groups::Kind::ends) &&
              same(RAGDOT_OFFSETS, Groups::Kind::offsets) && same(RAGDOT_STARTS_AND_SIZES, Groups::Kind::starts_and_sizes) &&
              same(RAGDOT_INDEX_I32, Groups::Index::i32) && same(RAGDOT_INDEX_I64, Groups::Index::i64));
static_assert(RAGDOT_WHOLE_AXIS == kWholeAxis);
static_assert(std::is_same_v<int, std::int32_t>, "tasks are numbered by int in C++ and by int32_t in C");

template <class To, class From>
To converted(const From& v) {
  return {v.data, static_cast<Format>(v.format), v.batch, v.rows, v.cols, v.batch_stride, v.row_stride, v.col_stride};
}

QuantizedOut quantized_out_of(const ragdot_quantized_out& o) {
  return {view_of(o.values), {view_of(o.scales.view), o.scales.block_rows, o.scales.block_cols}, static_cast<Recipe>(o.recipe)};
}

QuantizeArgs args_of(const ragdot_quantize_args& a) { return {view_of(a.input), groups_of(a.groups), quantized_out_of(a.out)}; }
QuantizeBothArgs args_of(const ragdot_quantize_both_args& a) {
  return {view_of(a.input), groups_of(a.groups), quantized_out_of(a.row_wise), quantized_out_of(a.col_wise)};
}
RequantizeArgs args_of(const ragdot_requantize_args& a) {
  return {operand_of(a.input), groups_of(a.groups), quantized_out_of(a.out)};
}
DequantizeArgs args_of(const ragdot_dequantize_args& a) { return {operand_of(a.input), groups_of(a.groups), view_of(a.out)}; }

template <class CArgs, class Args>
Status read_args_of(const char* function, const char* type, const CArgs* given, Args& out) {
  CArgs full;
  if (Status s = read_struct({function, "args", type}, given, full); !s.ok()) return s;
  out = args_of(full);
  return {};
}

}  // namespace

Status check_struct(const StructName& name, const void* given, std::size_t first_bytes, std::size_t known_bytes) {
  if (given == nullptr) {
    return {Code::invalid_argument, fmt::format("{}: {} is null; give a {}", name.function, name.argument, name.type)};
  }
  std::size_t bytes = 0;
  std::memcpy(&bytes, given, sizeof bytes);
  if (bytes < first_bytes) {  // of another struct, say: its last fields would be ignored in silence
    return {Code::invalid_argument,
            fmt::format("{}: struct_size of {} is {}; set it to sizeof({})", name.function, name.argument, bytes, name.type)};
  }
  if (bytes > known_bytes) {
    return {
        Code::invalid_argument,
        fmt::format("{}: struct_size of {} is {}; version {} of the library knows {} bytes of {}, use one as new as its header",
                    name.function, name.argument, bytes, version(), known_bytes, name.type)};
  }
  return {};
}

Status read_options(const char* function, const ragdot_options* given, ReadOptions& out) {
  if (given == nullptr) return {};
  ragdot_options o;
  if (Status s = read_struct({function, "options", "ragdot_options"}, given, o); !s.ok()) return s;
  if ((o.run == nullptr) != (o.concurrency == nullptr)) {
    return {Code::invalid_argument, fmt::format("{}: options.{} is null; an executor needs both run and concurrency", function,
                                                o.run == nullptr ? "run" : "concurrency")};
  }
  if (o.tiling != nullptr) out.options.tiling = Tiling{o.tiling->tm, o.tiling->tk, o.tiling->tn};
  if (o.kernel != nullptr) out.options.kernel = o.kernel;
  out.options.threads = o.threads;
  out.options.strictness = static_cast<Strictness>(o.strictness);
  if (o.run != nullptr) {
    out.executor = std::make_unique<CallbackExecutor>(o);
    out.options.executor = out.executor.get();
  }
  return {};
}

View view_of(const ragdot_view& v) { return converted<View>(v); }
ConstView view_of(const ragdot_const_view& v) { return converted<ConstView>(v); }

Operand operand_of(const ragdot_operand& o) {
  return {view_of(o.values),
          {view_of(o.scales.view), o.scales.block_rows, o.scales.block_cols, static_cast<ScaleOrigin>(o.scales.origin)}};
}

Groups groups_of(const ragdot_groups& g) {
  return {static_cast<Groups::Kind>(g.kind), static_cast<Groups::Index>(g.index), g.data, g.sizes, g.count};
}

std::optional<Groups> groups_of(const ragdot_groups* g) {
  if (g == nullptr) return std::nullopt;
  return groups_of(*g);
}

Status read_args(const char* function, const ragdot_gmm_args* given, GmmArgs& out) {
  ragdot_gmm_args a;
  if (Status s = read_struct({function, "args", "ragdot_gmm_args"}, given, a); !s.ok()) return s;
  out.lhs = operand_of(a.lhs);
  out.rhs = operand_of(a.rhs);
  if (a.packed_rhs != nullptr) out.packed_rhs = a.packed_rhs->packed;
  out.groups = groups_of(a.groups);
  out.out = view_of(a.out);
  out.bias = view_of(a.bias);
  out.activation = static_cast<Activation>(a.activation);
  out.rows_outside = static_cast<RowsOutside>(a.rows_outside);
  out.out_mode = static_cast<OutMode>(a.out_mode);
  out.first_group = a.first_group;
  out.rhs_layout = static_cast<RhsLayout>(a.rhs_layout);
  return {};
}

Status read_args(const char* function, const ragdot_tgmm_args* given, TgmmArgs& out) {
  ragdot_tgmm_args a;
  if (Status s = read_struct({function, "args", "ragdot_tgmm_args"}, given, a); !s.ok()) return s;
  out.lhs = operand_of(a.lhs);
  out.rhs = operand_of(a.rhs);
  out.groups = groups_of(a.groups);
  out.out = view_of(a.out);
  out.out_mode = static_cast<OutMode>(a.out_mode);
  out.first_group = a.first_group;
  return {};
}

Status read_args(const char* function, const ragdot_quantize_args* given, QuantizeArgs& out) {
  return read_args_of(function, "ragdot_quantize_args", given, out);
}
Status read_args(const char* function, const ragdot_quantize_both_args* given, QuantizeBothArgs& out) {
  return read_args_of(function, "ragdot_quantize_both_args", given, out);
}
Status read_args(const char* function, const ragdot_requantize_args* given, RequantizeArgs& out) {
  return read_args_of(function, "ragdot_requantize_args", given, out);
}
Status read_args(const char* function, const ragdot_dequantize_args* given, DequantizeArgs& out) {
  return read_args_of(function, "ragdot_dequantize_args", given, out);
}

}  // namespace ragdot::c_abi
