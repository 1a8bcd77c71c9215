// The handlers of CUDA devices: XLA's buffers in device memory, which are not read here, as structs of cuda.h, on XLA's stream.
#include <optional>

#include "jax/buffers.hpp"
#include "jax/cuda_args.hpp"

namespace ragdot::jax {
namespace {

using Bytes = ffi::ResultBufferR1<ffi::U8>;

/// The code of a call of cuda.h as XLA's error, with the same sentence.
ffi::Error answer_of(int code) {
  switch (code) {
    case RAGDOT_OK: return ffi::Error::Success();
    case RAGDOT_INVALID_ARGUMENT: return {ffi::ErrorCode::kInvalidArgument, ragdot_last_error()};
    case RAGDOT_UNSUPPORTED: return {ffi::ErrorCode::kUnimplemented, ragdot_last_error()};
    case RAGDOT_OUT_OF_MEMORY: return {ffi::ErrorCode::kResourceExhausted, ragdot_last_error()};
    default: return ffi::Error::Internal(ragdot_last_error());
  }
}

ragdot_cuda_options options_of(void* stream) {
  ragdot_cuda_options options{};
  options.struct_size = sizeof options;
  options.stream = stream;
  return options;
}

/// Scales on a grid of ragdot.jax; absent where their buffer has one axis.
Scales scales_of(const ffi::AnyBuffer& buffer, const Grid& grid) {
  return {view_of(buffer), grid.block_rows, grid.block_cols,
          grid.origin == Origin::global ? ScaleOrigin::global : ScaleOrigin::per_group};
}

/// [2, L] int32 or int64.
ragdot_groups groups_of(const ffi::AnyBuffer& spans) {
  return c_groups(spans.untyped_data(), spans.element_type() == ffi::DataType::S64, spans.dimensions()[1]);
}

template <class V>
V stored(const V& view, std::int64_t turned) {
  return turned != 0 ? view.transposed() : view;
}

ffi::Error gmm_handler(void* stream, ffi::AnyBuffer lhs, ffi::AnyBuffer lhs_scales, ffi::AnyBuffer rhs,
                       ffi::AnyBuffer rhs_scales, ffi::AnyBuffer spans, ffi::Result<ffi::AnyBuffer> out, Bytes workspace,
                       Ints lhs_grid, Ints rhs_grid, std::int64_t transpose_rhs) {
  const Result<Grid> left = grid_of(lhs_grid);
  if (!left.ok()) return error_of(left.status());
  const Result<Grid> right = grid_of(rhs_grid);
  if (!right.ok()) return error_of(right.status());
  Operand weights = view_of(rhs);
  weights.scales = scales_of(rhs_scales, right.value());
  if (transpose_rhs != 0) weights = weights.transposed();
  ragdot_gmm_args args{};
  args.struct_size = sizeof args;
  args.lhs = c_operand(view_of(lhs), scales_of(lhs_scales, left.value()));
  args.rhs = c_operand(weights.values, weights.scales);
  args.groups = groups_of(spans);
  args.out = c_view(view_of(out));
  const ragdot_cuda_options options = options_of(stream);
  return answer_of(ragdot_cuda_gmm(&args, &options, workspace->typed_data(), workspace->element_count()));
}

ffi::Error tgmm_handler(void* stream, ffi::AnyBuffer lhs, ffi::AnyBuffer lhs_scales, ffi::AnyBuffer rhs,
                        ffi::AnyBuffer rhs_scales, ffi::AnyBuffer spans, ffi::Result<ffi::AnyBuffer> out, Bytes workspace,
                        Ints lhs_grid, Ints rhs_grid, std::int64_t turned) {
  const Result<Grid> left = grid_of(lhs_grid);
  if (!left.ok()) return error_of(left.status());
  const Result<Grid> right = grid_of(rhs_grid);
  if (!right.ok()) return error_of(right.status());
  ragdot_tgmm_args args{};
  args.struct_size = sizeof args;
  args.lhs = c_operand(stored(view_of(lhs), turned), scales_of(lhs_scales, left.value()));
  args.rhs = c_operand(stored(view_of(rhs), turned), scales_of(rhs_scales, right.value()));
  args.groups = groups_of(spans);
  args.out = c_view(view_of(out));
  const ragdot_cuda_options options = options_of(stream);
  return answer_of(ragdot_cuda_tgmm(&args, &options, workspace->typed_data(), workspace->element_count()));
}

ffi::Error quantize_handler(void* stream, ffi::AnyBuffer x, ffi::AnyBuffer spans, ffi::Result<ffi::AnyBuffer> values,
                            ffi::Result<ffi::AnyBuffer> scales, Bytes workspace, Ints attribute, std::int64_t recipe,
                            std::int64_t turned) {
  const Result<Grid> grid = grid_of(attribute);
  if (!grid.ok()) return error_of(grid.status());
  ragdot_quantize_args args{};
  args.struct_size = sizeof args;
  args.input = c_view(view_of(x));
  std::optional<ragdot_groups> groups;
  if (grid.value().origin != Origin::global) args.groups = &groups.emplace(groups_of(spans));
  args.out.values = c_view(stored(view_of(values), turned));
  args.out.scales = {c_view(view_of(scales)), grid.value().block_rows, grid.value().block_cols};
  args.out.recipe = static_cast<std::int32_t>(recipe);
  const ragdot_cuda_options options = options_of(stream);
  return answer_of(ragdot_cuda_quantize(&args, &options, workspace->typed_data(), workspace->element_count()));
}

}  // namespace
}  // namespace ragdot::jax

namespace ffi = xla::ffi;

namespace {

/// What both products take.
auto product_binding() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::PlatformStream<void*>>()
      .Arg<ffi::AnyBuffer>()          // lhs
      .Arg<ffi::AnyBuffer>()          // lhs scales
      .Arg<ffi::AnyBuffer>()          // rhs
      .Arg<ffi::AnyBuffer>()          // rhs scales
      .Arg<ffi::AnyBuffer>()          // starts and sizes of groups
      .Ret<ffi::AnyBuffer>()          // out
      .Ret<ffi::BufferR1<ffi::U8>>()  // workspace
      .Attr<ffi::Span<const std::int64_t>>("lhs_grid")
      .Attr<ffi::Span<const std::int64_t>>("rhs_grid");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(ragdot_jax_cuda_gmm, ragdot::jax::gmm_handler,
                              product_binding().Attr<std::int64_t>("transpose_rhs"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(ragdot_jax_cuda_tgmm, ragdot::jax::tgmm_handler, product_binding().Attr<std::int64_t>("turned"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(ragdot_jax_cuda_quantize, ragdot::jax::quantize_handler,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<void*>>()
                                  .Arg<ffi::AnyBuffer>()          // x
                                  .Arg<ffi::AnyBuffer>()          // starts and sizes of groups
                                  .Ret<ffi::AnyBuffer>()          // values
                                  .Ret<ffi::AnyBuffer>()          // scales
                                  .Ret<ffi::BufferR1<ffi::U8>>()  // workspace
                                  .Attr<ffi::Span<const std::int64_t>>("grid")
                                  .Attr<std::int64_t>("recipe")
                                  .Attr<std::int64_t>("turned"));
