"""The operators torch.ops.ragdot: products and quantisers on plain tensors, with the shapes that torch.compile needs.

A grid is the block's rows and columns, and 1 where blocks start anew at each group's first row, else 0; three zeros for a tensor
without scales. `grids` are that of lhs, then that of rhs. Group-wise scales have as many rows as any groups could need; those that
these groups do not need are 1. gmm has three overloads because torch spends a microsecond on each argument, whatever it is: the first
two are what most calls need, and give bfloat16. Packed weights, what pack makes of [L, K, N], have four axes (_packed.py).
quantize gives values with contiguous rows, quantize_turned with contiguous columns; quantize_both with contiguous rows, on a GPU
the second copy with contiguous columns, which is how tgmm takes it there. Fastest does it take the second copy of
quantize_both_placed, whose groups begin at multiples of 16 rows, with their places, [2, G] starts and sizes, as ends; the CPU has
no use for that.
None of these operators has a gradient: grouped_mm (_grouped_mm.py) puts them together.
"""

import ctypes

import torch
from torch.utils.flop_counter import register_flop_formula

from ragdot import _abi
from ragdot._library import LIBRARY, check
from ragdot.torch import _cuda, _packed, _views
from ragdot.torch._executor import OPTIONS
from ragdot.torch._frames import call_gmm, call_tgmm, fill_operand
from ragdot.torch._packed import columns_of
from ragdot.torch._pages import with_large_pages
from ragdot.torch._views import DTYPES, SCALE_FORMATS, VALUE_FORMATS, groups_of, scale_rows, scales_shape, view_of

_LIBRARY = torch.library.Library("ragdot", "DEF")
_PAIR = "Tensor lhs, Tensor rhs, Tensor ends"
_SCALES = "Tensor? lhs_scales, Tensor? rhs_scales, int[] grids"
_QUANTIZED = "int[] grid, str format, str scaling, str scale_format"
_SCHEMAS = (
    f"gmm({_PAIR}) -> Tensor",
    f"gmm.scaled({_PAIR}, {_SCALES}) -> Tensor",
    f"gmm.general({_PAIR}, {_SCALES}, Tensor? bias, int first_group, ScalarType dtype) -> Tensor",
    "pack(Tensor rhs) -> Tensor",
    "unpack(Tensor rhs) -> Tensor",
    f"tgmm({_PAIR}, {_SCALES}, int first_group, SymInt count, ScalarType dtype, int[] order) -> Tensor",
    f"tgmm_add({_PAIR}, {_SCALES}, int first_group, Tensor(a!) out) -> ()",
    f"quantize(Tensor x, Tensor? ends, {_QUANTIZED}) -> (Tensor, Tensor)",
    f"quantize_turned(Tensor x, Tensor? ends, {_QUANTIZED}) -> (Tensor, Tensor)",
    "quantize_both(Tensor x, Tensor? ends, int[] row_grid, int[] column_grid, str format, str scaling, str scale_format)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    "quantize_both_placed(Tensor x, Tensor ends, int[] row_grid, int[] column_grid, str format, str scaling, str scale_format)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "dequantize(Tensor values, Tensor scales, int[] grid, Tensor? ends, ScalarType dtype) -> Tensor",
)
for _schema in _SCHEMAS:
    _LIBRARY.define(_schema)


def _empty_gmm(lhs, rhs, ends, lhs_scales=None, rhs_scales=None, grids=(), bias=None, first_group=0, dtype=torch.bfloat16):
    return lhs.new_empty((lhs.shape[0], columns_of(rhs)), dtype=dtype)


def _empty_tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, count, dtype, order):
    return torch.empty_permuted((count, lhs.shape[1], rhs.shape[1]), order, dtype=dtype, device=lhs.device)


def _tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, count, dtype, order):
    out = with_large_pages(_empty_tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, count, dtype, order))
    call_tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, out, 0)
    return out


def _tgmm_on_gpu(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, count, dtype, order):
    out = _empty_tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, count, dtype, order)
    _cuda.tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, out, 0)
    return out


def _tgmm_add_on_gpu(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, out):
    _cuda.tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, out, 1)


def _tgmm_add(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, out):
    call_tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, grids, first_group, out, 1)


def _empty_copy(x, ends, grid, format, scale_format, turned=False):
    """Memory of a quantised copy. Scales that no group needs are written here, on a GPU by the call."""
    if _views.on_gpu(x):
        return _cuda.empty_copy(x, ends, grid, format, scale_format, turned)
    shape = scales_shape(x, None if ends is None else ends.shape[0], grid)
    make_scales = x.new_empty if ends is None else x.new_ones
    values = x.mT.new_empty(x.mT.shape, dtype=DTYPES[format]).mT if turned else x.new_empty(x.shape, dtype=DTYPES[format])
    return values, make_scales(shape, dtype=DTYPES[scale_format])


def _copy_struct(values, scales, ends, grid, scaling):
    view, _ = view_of(scales, SCALE_FORMATS)
    if ends is not None:
        view.rows = scale_rows(scales, ends, grid[0])
    grid_of_scales = _abi.ScalesOut(view, *grid[:2])
    return _abi.QuantizedOut(view_of(values, VALUE_FORMATS)[0], grid_of_scales, _abi.RECIPES[scaling])


def _groups_pointer(ends):
    """Null without groups; what is returned second has to outlive the call."""
    if ends is None:
        return None, None
    struct, held = groups_of(ends)
    return ctypes.pointer(struct), held


def _input(x):
    """The view of what is quantised, and the tensor that it points to. Quantisers read along rows, down columns many times slower."""
    return view_of(x if x.stride(-1) == 1 else x.contiguous(), VALUE_FORMATS)


def _empty_quantize(x, ends, grid, format, scaling, scale_format):
    return _empty_copy(x, ends, grid, format, scale_format)


def _empty_quantize_turned(x, ends, grid, format, scaling, scale_format):
    return _empty_copy(x, ends, grid, format, scale_format, turned=True)


def _quantize(x, ends, grid, format, scaling, scale_format, turned=False):
    values, scales = _empty_copy(x, ends, grid, format, scale_format, turned)
    with_large_pages(values)
    view, held = _input(x)
    pointer, held_ends = _groups_pointer(ends)
    args = _abi.QuantizeArgs(ctypes.sizeof(_abi.QuantizeArgs), view, pointer, _copy_struct(values, scales, ends, grid, scaling))
    check(LIBRARY.ragdot_quantize(args, OPTIONS))
    del held, held_ends
    return values, scales


def _quantize_turned(x, ends, grid, format, scaling, scale_format):
    return _quantize(x, ends, grid, format, scaling, scale_format, turned=True)


def _empty_quantize_both(x, ends, row_grid, column_grid, format, scaling, scale_format):
    columns = _empty_copy(x, ends, column_grid, format, scale_format, turned=_views.on_gpu(x))
    return *_empty_copy(x, ends, row_grid, format, scale_format), *columns


def _quantize_both(x, ends, row_grid, column_grid, format, scaling, scale_format):
    copies = _empty_quantize_both(x, ends, row_grid, column_grid, format, scaling, scale_format)
    with_large_pages(copies[0])
    with_large_pages(copies[2])
    view, held = _input(x)
    pointer, held_ends = _groups_pointer(ends)
    rows = _copy_struct(*copies[:2], ends, row_grid, scaling)
    columns = _copy_struct(*copies[2:], ends, column_grid, scaling)
    args = _abi.QuantizeBothArgs(ctypes.sizeof(_abi.QuantizeBothArgs), view, pointer, rows, columns)
    check(LIBRARY.ragdot_quantize_both(args, OPTIONS))
    del held, held_ends
    return copies


def _empty_quantize_both_placed(x, ends, row_grid, column_grid, format, scaling, scale_format):
    return *_empty_copy(x, ends, row_grid, format, scale_format), *_cuda.empty_placed(x, ends, column_grid, format, scale_format)


def _no_use(*_):
    raise NotImplementedError("quantize_both_placed: for a GPU alone; call quantize_both")


def _not_packed(*_):
    raise NotImplementedError("pack: packed weights are for a CPU alone; give products the weights as they are")


def _empty_dequantize(values, scales, grid, ends, dtype):
    return values.new_empty(values.shape, dtype=dtype)


def _dequantize(values, scales, grid, ends, dtype):
    out = with_large_pages(_empty_dequantize(values, scales, grid, ends, dtype))
    args = _abi.DequantizeArgs(struct_size=ctypes.sizeof(_abi.DequantizeArgs))
    held = fill_operand(args.input, values, scales, grid)
    if grid[2]:
        args.input.scales.view.rows = scale_rows(scales, ends, grid[0])
    args.groups, held_ends = _groups_pointer(ends)
    args.out, _ = view_of(out, VALUE_FORMATS)
    check(LIBRARY.ragdot_dequantize(args, OPTIONS))
    del held, held_ends
    return out


# Name, kernels of the CPU and of the GPU, shapes.
OPERATORS = (
    ("gmm", call_gmm, _cuda.gmm, _empty_gmm),
    ("gmm.scaled", call_gmm, _cuda.gmm, _empty_gmm),
    ("gmm.general", call_gmm, _cuda.gmm, _empty_gmm),
    ("pack", _packed.pack, _not_packed, _packed.empty_packed),
    ("unpack", _packed.unpack, _not_packed, _packed.empty_unpacked),
    ("tgmm", _tgmm, _tgmm_on_gpu, _empty_tgmm),
    ("tgmm_add", _tgmm_add, _tgmm_add_on_gpu, lambda *_: None),
    ("quantize", _quantize, _cuda.quantize, _empty_quantize),
    ("quantize_turned", _quantize_turned, _cuda.quantize_turned, _empty_quantize_turned),
    ("quantize_both", _quantize_both, _cuda.quantize_both, _empty_quantize_both),
    ("quantize_both_placed", _no_use, _cuda.quantize_both_placed, _empty_quantize_both_placed),
    ("dequantize", _dequantize, _cuda.dequantize, _empty_dequantize),
)
for _name, _on_cpu, _on_gpu, _empty in OPERATORS:
    _LIBRARY.impl(_name, _on_cpu, "CPU")
    # Where any tensor lies on a GPU; the kernel names the others.
    _LIBRARY.impl(_name, _on_gpu, "CUDA")
    torch.library.register_fake(f"ragdot::{_name}", _empty, lib=_LIBRARY)


@register_flop_formula([torch.ops.ragdot.gmm, torch.ops.ragdot.tgmm])
def _flops(x_shape, w_shape, *_, out_shape, **__):
    """Of torch.utils.flop_counter: as if every row were in a group. Both products have M * K * N multiplications."""
    return 2 * x_shape[0] * x_shape[1] * out_shape[-1]


@register_flop_formula(torch.ops.ragdot.tgmm_add)
def _flops_of_tgmm_add(x_shape, y_shape, *_, **__):
    return 2 * x_shape[0] * x_shape[1] * y_shape[1]


gmm, gmm_scaled, gmm_general = torch.ops.ragdot.gmm.default, torch.ops.ragdot.gmm.scaled, torch.ops.ragdot.gmm.general
pack, unpack = torch.ops.ragdot.pack.default, torch.ops.ragdot.unpack.default
tgmm = torch.ops.ragdot.tgmm.default
tgmm_add = torch.ops.ragdot.tgmm_add.default
quantize = torch.ops.ragdot.quantize.default
quantize_turned = torch.ops.ragdot.quantize_turned.default
quantize_both = torch.ops.ragdot.quantize_both.default
quantize_both_placed = torch.ops.ragdot.quantize_both_placed.default
dequantize = torch.ops.ragdot.dequantize.default
