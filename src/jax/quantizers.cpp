// The handlers of quantize and quantize_both. Their inputs, attributes and result pairs have one form, for one copy or two.
#include <algorithm>
#include <cstring>
#include <new>

#include "jax/buffers.hpp"

namespace ragdot::jax {
namespace {

/// One quantised copy to be.
struct Copy {
  QuantizedOut out;
  View scales;  // the whole buffer, of which `out` has the rows that the groups need
};

Result<Copy> copy_of(ffi::Result<ffi::AnyBuffer>& values, ffi::Result<ffi::AnyBuffer>& scales, Ints attribute,
                     std::int64_t recipe, const CallGroups& groups) {
  const Result<Grid> grid = grid_of(attribute);
  if (!grid.ok()) return grid.status();
  Copy copy;
  copy.scales = view_of(scales);
  copy.out = {view_of(values), {copy.scales, grid.value().block_rows, grid.value().block_cols}, static_cast<Recipe>(recipe)};
  if (grid.value().origin != Origin::global) {
    copy.out.scales.view.rows = std::min(copy.scales.rows, groups.scale_rows(grid.value().block_rows));
  }
  return copy;
}

/// Scale rows that no group needs become 1, so that equal inputs give equal buffers.
void fill_rest(const Copy& copy) {
  const View& all = copy.scales;
  const std::int64_t bytes = element_bytes(all.format);
  const std::uint32_t one = all.format == Format::f32 ? 0x3F800000U : all.format == Format::bf16 ? 0x3F80U : 127U;
  auto* base = static_cast<std::byte*>(all.data);
  for (std::int64_t i = copy.out.scales.view.rows * all.cols; i < all.rows * all.cols; ++i) {
    std::memcpy(base + i * bytes, &one, static_cast<std::size_t>(bytes));
  }
}

/// Which groups a quantiser sees: none, all, or `local` of them from the offset on, by the origin of the grid.
Status read_groups(const char* op, Ints grid, const ffi::AnyBuffer& sizes, const ffi::BufferR1<ffi::S32>& offset,
                   std::int64_t local, std::int64_t rows, CallGroups& groups, std::optional<Groups>& given) {
  const Result<Grid> read = grid_of(grid);
  if (!read.ok()) return read.status();
  const Origin origin = read.value().origin;
  if (origin == Origin::global) return {};
  Status s = groups.read(op, sizes, offset, local, rows, origin == Origin::per_group ? Scope::all : Scope::local);
  given = groups.groups();
  return s;
}

ffi::Error quantize_handler(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer sizes, ffi::BufferR1<ffi::S32> offset,
                            ffi::Result<ffi::AnyBuffer> values, ffi::Result<ffi::AnyBuffer> scales, Ints grid,
                            std::int64_t recipe, std::int64_t local) {
  return guarded("quantize", [&]() -> Status {
    CallGroups groups;
    QuantizeArgs args;
    args.input = view_of(x);
    if (Status s = read_groups("quantize", grid, sizes, offset, local, args.input.rows, groups, args.groups); !s.ok()) return s;
    const Result<Copy> copy = copy_of(values, scales, grid, recipe, groups);
    if (!copy.ok()) return copy.status();
    args.out = copy.value().out;
    Threads threads(pool);
    if (Status s = quantize(args, threads.options()); !s.ok()) return s;
    fill_rest(copy.value());
    return {};
  });
}

ffi::Error quantize_both_handler(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer sizes, ffi::BufferR1<ffi::S32> offset,
                                 ffi::Result<ffi::AnyBuffer> row_values, ffi::Result<ffi::AnyBuffer> row_scales,
                                 ffi::Result<ffi::AnyBuffer> col_values, ffi::Result<ffi::AnyBuffer> col_scales, Ints row_grid,
                                 Ints col_grid, std::int64_t recipe, std::int64_t local) {
  return guarded("quantize_both", [&]() -> Status {
    CallGroups groups;
    QuantizeBothArgs args;
    args.input = view_of(x);
    if (Status s = read_groups("quantize_both", row_grid, sizes, offset, local, args.input.rows, groups, args.groups);
        !s.ok()) {
      return s;
    }
    const Result<Copy> rows = copy_of(row_values, row_scales, row_grid, recipe, groups);
    if (!rows.ok()) return rows.status();
    const Result<Copy> cols = copy_of(col_values, col_scales, col_grid, recipe, groups);
    if (!cols.ok()) return cols.status();
    args.row_wise = rows.value().out;
    args.col_wise = cols.value().out;
    Threads threads(pool);
    if (Status s = quantize_both(args, threads.options()); !s.ok()) return s;
    fill_rest(rows.value());
    fill_rest(cols.value());
    return {};
  });
}

}  // namespace
}  // namespace ragdot::jax

namespace ffi = xla::ffi;

XLA_FFI_DEFINE_HANDLER_SYMBOL(ragdot_jax_quantize, ragdot::jax::quantize_handler,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()           // x
                                  .Arg<ffi::AnyBuffer>()           // group sizes
                                  .Arg<ffi::BufferR1<ffi::S32>>()  // group offset
                                  .Ret<ffi::AnyBuffer>()           // values
                                  .Ret<ffi::AnyBuffer>()           // scales
                                  .Attr<ffi::Span<const std::int64_t>>("grid")
                                  .Attr<std::int64_t>("recipe")
                                  .Attr<std::int64_t>("local"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(ragdot_jax_quantize_both, ragdot::jax::quantize_both_handler,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::AnyBuffer>()           // x
                                  .Arg<ffi::AnyBuffer>()           // group sizes
                                  .Arg<ffi::BufferR1<ffi::S32>>()  // group offset
                                  .Ret<ffi::AnyBuffer>()           // row-wise values
                                  .Ret<ffi::AnyBuffer>()           // row-wise scales
                                  .Ret<ffi::AnyBuffer>()           // column-wise values
                                  .Ret<ffi::AnyBuffer>()           // column-wise scales
                                  .Attr<ffi::Span<const std::int64_t>>("row_grid")
                                  .Attr<ffi::Span<const std::int64_t>>("col_grid")
                                  .Attr<std::int64_t>("recipe")
                                  .Attr<std::int64_t>("local"));
