// The handlers of gmm and tgmm: XLA's buffers in, the plan of the call, the run on XLA's threads.
#include <memory>
#include <new>

#include "jax/buffers.hpp"

namespace ragdot::jax {
namespace {

using Bytes = ffi::ResultBufferR1<ffi::U8>;

/// How the groups of both operands' scales are counted.
struct Grids {
  Grid lhs;
  Grid rhs;
  [[nodiscard]] bool have(Origin origin) const { return lhs.origin == origin || rhs.origin == origin; }
  [[nodiscard]] Scope scope() const { return have(Origin::per_local_group) ? Scope::local : Scope::all; }
};

Result<Grids> grids_of(Ints lhs, Ints rhs) {
  const Result<Grid> left = grid_of(lhs);
  if (!left.ok()) return left.status();
  const Result<Grid> right = grid_of(rhs);
  if (!right.ok()) return right.status();
  const Grids grids{left.value(), right.value()};
  if (grids.have(Origin::per_group) && grids.have(Origin::per_local_group)) {
    return Status(Code::invalid_argument,
                  "scales of one operand cover all groups and those of the other the local ones; quantise both alike");
  }
  return grids;
}

/// Values with their scales. XLA's shapes do not depend on group sizes, so per_group scales come in a buffer with room for the
/// most rows that M and G allow: those that the groups need are the first ones.
Operand operand_of(const ffi::AnyBuffer& values, const ffi::AnyBuffer& scales, const Grid& grid, const CallGroups& groups) {
  Operand operand = view_of(values);
  operand.scales.view = view_of(scales);
  if (!operand.scales.present()) return operand;
  operand.scales.block_rows = grid.block_rows;
  operand.scales.block_cols = grid.block_cols;
  if (grid.origin != Origin::global) {
    operand.scales.origin = ScaleOrigin::per_group;
    operand.scales.view.rows = std::min(operand.scales.view.rows, groups.scale_rows(grid.block_rows));
  }
  return operand;
}

template <class Args>
Status planned_run(const Args& args, ffi::ThreadPool& pool, std::int64_t threads, Bytes& workspace) {
  Threads all(pool);
  Options options = all.options();
  options.threads = static_cast<int>(threads);
  const Result<Plan> plan = make_plan(args, options);
  if (!plan.ok()) return plan.status();
  const std::size_t needed = plan.value().workspace_bytes();
  if (workspace->element_count() >= needed) {
    return run(plan.value(), args, {reinterpret_cast<std::byte*>(workspace->typed_data()), workspace->element_count()});
  }
  // Traced when another kernel was forced, or for a machine with fewer cores.
  const std::unique_ptr<std::byte[]> own(new std::byte[needed]);
  return run(plan.value(), args, {own.get(), needed});
}

ffi::Error gmm_handler(ffi::ThreadPool pool, ffi::AnyBuffer lhs, ffi::AnyBuffer lhs_scales, ffi::AnyBuffer rhs,
                       ffi::AnyBuffer rhs_scales, ffi::AnyBuffer sizes, ffi::BufferR1<ffi::S32> offset, ffi::AnyBuffer bias,
                       ffi::Result<ffi::AnyBuffer> out, Bytes workspace, Ints lhs_grid, Ints rhs_grid, std::int64_t threads,
                       std::int64_t transpose_rhs, std::int64_t activation) {
  return guarded("gmm", [&]() -> Status {
    const Result<Grids> grids = grids_of(lhs_grid, rhs_grid);
    if (!grids.ok()) return grids.status();
    CallGroups groups;
    GmmArgs args;
    const std::int64_t local = view_of(rhs).batch;
    if (Status s = groups.read("gmm", sizes, offset, local, view_of(lhs).rows, grids.value().scope()); !s.ok()) return s;
    args.lhs = operand_of(lhs, lhs_scales, grids.value().lhs, groups);
    args.rhs = operand_of(rhs, rhs_scales, grids.value().rhs, groups);
    if (transpose_rhs != 0) args.rhs = args.rhs.transposed();
    args.groups = groups.groups();
    args.first_group = groups.first_group();
    args.bias = view_of(bias);
    args.activation = static_cast<Activation>(activation);
    args.out = view_of(out);
    return planned_run(args, pool, threads, workspace);
  });
}

ffi::Error tgmm_handler(ffi::ThreadPool pool, ffi::AnyBuffer lhs, ffi::AnyBuffer lhs_scales, ffi::AnyBuffer rhs,
                        ffi::AnyBuffer rhs_scales, ffi::AnyBuffer sizes, ffi::BufferR1<ffi::S32> offset,
                        ffi::Result<ffi::AnyBuffer> out, Bytes workspace, Ints lhs_grid, Ints rhs_grid, std::int64_t threads) {
  return guarded("tgmm", [&]() -> Status {
    const Result<Grids> grids = grids_of(lhs_grid, rhs_grid);
    if (!grids.ok()) return grids.status();
    CallGroups groups;
    TgmmArgs args;
    args.out = view_of(out);
    const std::int64_t local = args.out.batch;
    if (Status s = groups.read("tgmm", sizes, offset, local, view_of(lhs).rows, grids.value().scope()); !s.ok()) return s;
    args.lhs = operand_of(lhs, lhs_scales, grids.value().lhs, groups);
    args.rhs = operand_of(rhs, rhs_scales, grids.value().rhs, groups);
    args.groups = groups.groups();
    args.first_group = groups.first_group();
    return planned_run(args, pool, threads, workspace);
  });
}

}  // namespace
}  // namespace ragdot::jax

namespace ffi = xla::ffi;

XLA_FFI_DEFINE_HANDLER_SYMBOL(ragdot_jax_gmm, ragdot::jax::gmm_handler,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()           // lhs
                                  .Arg<ffi::AnyBuffer>()           // lhs scales
                                  .Arg<ffi::AnyBuffer>()           // rhs
                                  .Arg<ffi::AnyBuffer>()           // rhs scales
                                  .Arg<ffi::AnyBuffer>()           // group sizes
                                  .Arg<ffi::BufferR1<ffi::S32>>()  // group offset
                                  .Arg<ffi::AnyBuffer>()           // bias
                                  .Ret<ffi::AnyBuffer>()           // out
                                  .Ret<ffi::BufferR1<ffi::U8>>()   // workspace
                                  .Attr<ffi::Span<const std::int64_t>>("lhs_grid")
                                  .Attr<ffi::Span<const std::int64_t>>("rhs_grid")
                                  .Attr<std::int64_t>("threads")
                                  .Attr<std::int64_t>("transpose_rhs")
                                  .Attr<std::int64_t>("activation"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(ragdot_jax_tgmm, ragdot::jax::tgmm_handler,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()           // lhs
                                  .Arg<ffi::AnyBuffer>()           // lhs scales
                                  .Arg<ffi::AnyBuffer>()           // rhs
                                  .Arg<ffi::AnyBuffer>()           // rhs scales
                                  .Arg<ffi::AnyBuffer>()           // group sizes
                                  .Arg<ffi::BufferR1<ffi::S32>>()  // group offset
                                  .Ret<ffi::AnyBuffer>()           // out
                                  .Ret<ffi::BufferR1<ffi::U8>>()   // workspace
                                  .Attr<ffi::Span<const std::int64_t>>("lhs_grid")
                                  .Attr<ffi::Span<const std::int64_t>>("rhs_grid")
                                  .Attr<std::int64_t>("threads"));
