"""Products and quantisers on CUDA tensors: enqueued on torch's current stream, group numbers unread, workspace from torch's allocator.

The GPU takes lines of contiguous elements, at addresses and with pitches that are multiples of 16 bytes; those of FP8 lie along the axis
that a product sums. Quantised copies are made so (empty_lines); what comes otherwise is copied.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch

from ragdot import _abi, _cuda_abi
from ragdot._library import LIBRARY, check
from ragdot.torch._packed import is_packed
from ragdot.torch._views import DTYPES, FORMATS, INDEX, SCALE_FORMATS, VALUE_FORMATS, Grid, empty_lines, groups_of, overlaps, scales_shape, view_of

_ALIGNMENT = 16  # bytes
_FUNCTIONS = {name: (getattr(LIBRARY, f"ragdot_cuda_{name}_workspace_bytes"), getattr(LIBRARY, f"ragdot_cuda_{name}"))
              for name in ("gmm", "tgmm", "quantize", "quantize_both")}  # fmt: skip


def check_devices(op: str, **operands: torch.Tensor | None) -> None:
    """Raises ValueError that names the operands unless all lie on one device."""
    devices = {name: x.device for name, x in operands.items() if x is not None}
    if len(set(devices.values())) > 1:
        raise ValueError(f"{op}: {', '.join(f'{name} is on {device}' for name, device in devices.items())}; move all to one device")


def on_device(device: torch.device) -> Any:
    """Makes it the current device within."""
    return torch.cuda.device(device)


def stream_of(device: torch.device) -> int:
    """The cudaStream_t that torch's operators on the device go to."""
    return torch.cuda.current_stream(device).cuda_stream


def _launch(name: str, args: Any, device: torch.device, **options: Any) -> None:
    """Enqueues the call. Its workspace goes back to torch's allocator, which hands it out again behind the call on this stream."""
    workspace_bytes, call = _FUNCTIONS[name]
    given = _cuda_abi.Options(struct_size=ctypes.sizeof(_cuda_abi.Options), **options)
    size = ctypes.c_size_t()
    check(workspace_bytes(args, given, size))
    with on_device(device):
        workspace = torch.empty(size.value, dtype=torch.uint8, device=device)
        given.stream = stream_of(device)
        check(call(args, given, workspace.data_ptr(), size.value))


def _groups_of(ends: torch.Tensor) -> tuple[_abi.Groups, torch.Tensor]:
    """Groups by their end rows [G], or by starts and sizes [2, G], and the tensor on whose memory the struct points."""
    if ends.ndim == 1:
        return groups_of(ends)
    ends = ends.contiguous()
    count = ends.shape[1]
    sizes = ends.data_ptr() + count * ends.element_size()
    return _abi.Groups(_abi.GROUP_KINDS["starts_and_sizes"], INDEX[ends.dtype], ends.data_ptr(), sizes, count), ends


def _is_taken(x: torch.Tensor, turned: bool) -> bool:
    """Whether the GPU reads x as lines along its rows' elements, turned: along its columns'."""
    (*_, lines, length), (*_, pitch, step) = (x.mT if turned else x).shape, (x.mT if turned else x).stride()
    if (length > 1 and step != 1) or x.data_ptr() % _ALIGNMENT or overlaps(x.shape, x.stride()):
        return False
    size = x.element_size()
    return (lines <= 1 or pitch * size % _ALIGNMENT == 0) and (x.ndim == 2 or x.shape[0] <= 1 or x.stride(0) * size % _ALIGNMENT == 0)


def _lines(x: torch.Tensor, turned: bool | None) -> torch.Tensor:
    """x, or a copy of it that the GPU takes. None: either way will do."""
    if turned is None:
        if _is_taken(x, False) or _is_taken(x, True):
            return x
        turned = x.stride(-1) != 1 and x.stride(-2) == 1
    elif _is_taken(x, turned):
        return x
    copy = empty_lines(x, x.shape, x.dtype, turned)
    if x.element_size() == 1:  # as bytes: torch copies some of its 8-bit types in few ways
        copy.view(torch.uint8).copy_(x.view(torch.uint8))
    else:
        copy.copy_(x)
    return copy


def _summed_lines(x: torch.Tensor) -> torch.Tensor:
    """An operand whose rows are summed: FP8 has its columns contiguous."""
    return _lines(x, True if x.element_size() == 1 else None)


def _fill(operand: _abi.Operand, x: torch.Tensor, scales: torch.Tensor | None, grid: Grid) -> list[torch.Tensor]:
    """Writes the struct. Returns the tensors that it points to, which have to outlive its use."""
    operand.values, x = view_of(x, VALUE_FORMATS)
    if scales is None:
        return [x]
    view, scales = view_of(scales, SCALE_FORMATS)
    operand.scales = _abi.Scales(view, *grid)
    return [x, scales]


def gmm(lhs: torch.Tensor, rhs: torch.Tensor, ends: torch.Tensor, lhs_scales: torch.Tensor | None = None, rhs_scales: torch.Tensor | None = None,
        grids: Sequence[int] = (), bias: torch.Tensor | None = None, first_group: int = 0,
        dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:  # fmt: skip
    """ragdot_cuda_gmm: lhs [M, K], rhs [L, K, N], ends int32 or int64 [G]; out dense [M, N] of the dtype."""
    check_devices("gmm", lhs=lhs, rhs=rhs, ends=ends, lhs_scales=lhs_scales, rhs_scales=rhs_scales, bias=bias)
    if is_packed(rhs):
        raise NotImplementedError("gmm: packed weights are for a CPU alone; give them as they were, which quantize_experts(packed=False) leaves them")
    if bias is None and not (lhs.shape[1] and rhs.shape[0]):  # no kernel takes sums of nothing
        return lhs.new_zeros((lhs.shape[0], rhs.shape[2]), dtype=dtype)
    args = _abi.GmmArgs(struct_size=ctypes.sizeof(_abi.GmmArgs), first_group=first_group)
    held = [_fill(args.lhs, _lines(lhs, False), lhs_scales, grids[:3]), _fill(args.rhs, _summed_lines(rhs), rhs_scales, grids[3:])]
    args.groups, dense_ends = groups_of(ends)
    if bias is not None:
        args.bias, bias = view_of(bias, VALUE_FORMATS)
    out = empty_lines(lhs, (lhs.shape[0], rhs.shape[2]), dtype)
    args.out, _ = view_of(out, VALUE_FORMATS)
    _launch("gmm", args, lhs.device)
    del held, dense_ends
    return out.contiguous()


def tgmm(lhs: torch.Tensor, rhs: torch.Tensor, ends: torch.Tensor, lhs_scales: torch.Tensor | None, rhs_scales: torch.Tensor | None,
         grids: Sequence[int], first_group: int, out: torch.Tensor, out_mode: int) -> None:  # fmt: skip
    """ragdot_cuda_tgmm of lhs [M, K] and rhs [M, N] into out [L, K, N], or added to it. An out stored [L, N, K] gets the turned product.

    ends: [G], or places [2, G] that quantize_both_placed has written.
    """
    check_devices("tgmm", lhs=lhs, rhs=rhs, ends=ends, lhs_scales=lhs_scales, rhs_scales=rhs_scales, out=out)
    if out.stride(-2) == 1 != out.stride(-1):
        lhs, rhs, lhs_scales, rhs_scales, grids, out = rhs, lhs, rhs_scales, lhs_scales, [*grids[3:], *grids[:3]], out.mT
    direct = _is_taken(out, False)
    target = out if direct else empty_lines(lhs, out.shape, out.dtype)
    args = _abi.TgmmArgs(struct_size=ctypes.sizeof(_abi.TgmmArgs), first_group=first_group, out_mode=out_mode if direct else 0)
    held = []
    for operand, x, scales, grid in ((args.lhs, lhs, lhs_scales, grids[:3]), (args.rhs, rhs, rhs_scales, grids[3:])):
        # Scales of 1 x 128 blocks and the like are refused as they are.
        held += _fill(operand, _summed_lines(x), None if scales is None else _lines(scales, False), grid)
    args.groups, dense_ends = _groups_of(ends)
    args.out, _ = view_of(target, VALUE_FORMATS)
    _launch("tgmm", args, lhs.device, starts_aligned=int(ends.ndim == 2))
    del held, dense_ends
    if not direct:
        (out.add_ if out_mode else out.copy_)(target)


def empty_copy(x: torch.Tensor, ends: torch.Tensor | None, grid: Grid, format: str, scale_format: str,
               turned: bool) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Memory of a quantised copy of x on a GPU, and of its scales; those that no group needs are written by the call."""
    scales = scales_shape(x, None if ends is None else ends.shape[0], grid)
    # Scales of columns are read by tgmm, in lines.
    make_scales = empty_lines if grid[1] == 1 else lambda like, shape, dtype: like.new_empty(shape, dtype=dtype)
    return empty_lines(x, x.shape, DTYPES[format], turned), make_scales(x, scales, DTYPES[scale_format])


def _copy_struct(values: torch.Tensor, scales: torch.Tensor, grid: Grid, scaling: str) -> _abi.QuantizedOut:
    scales_out = _abi.ScalesOut(view_of(scales, SCALE_FORMATS)[0], *grid[:2])
    return _abi.QuantizedOut(view_of(values, VALUE_FORMATS)[0], scales_out, _abi.RECIPES[scaling])


def _run_quantizer(name: str, struct: Any, x: torch.Tensor, ends: torch.Tensor | None, *copies: _abi.QuantizedOut, **options: Any) -> None:
    check_devices(name, x=x, ends=ends)
    view, held = view_of(_lines(x, False), FORMATS)
    groups, held_ends = (None, None) if ends is None else groups_of(ends)
    pointer = None if groups is None else ctypes.pointer(groups)
    _launch(name, struct(ctypes.sizeof(struct), view, pointer, *copies), x.device, **options)
    del held, held_ends


def quantize(x: torch.Tensor, ends: torch.Tensor | None, grid: Grid, format: str, scaling: str, scale_format: str,
             turned: bool = False) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """ragdot_cuda_quantize: values of x's shape with rows contiguous, turned: with columns contiguous; and scales."""
    copy = empty_copy(x, ends, grid, format, scale_format, turned)
    _run_quantizer("quantize", _abi.QuantizeArgs, x, ends, _copy_struct(*copy, grid, scaling))
    return copy


def quantize_turned(x: torch.Tensor, ends: torch.Tensor | None, grid: Grid, format: str, scaling: str,
                    scale_format: str) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """quantize with columns contiguous."""
    return quantize(x, ends, grid, format, scaling, scale_format, turned=True)


def quantize_both(x: torch.Tensor, ends: torch.Tensor | None, row_grid: Grid, column_grid: Grid, format: str, scaling: str,
                  scale_format: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """ragdot_cuda_quantize_both: values and scales by rows, then those by columns, whose values have columns contiguous."""
    rows = empty_copy(x, ends, row_grid, format, scale_format, False)
    columns = empty_copy(x, ends, column_grid, format, scale_format, True)
    _run_quantizer("quantize_both", _abi.QuantizeBothArgs, x, ends, _copy_struct(*rows, row_grid, scaling),
                   _copy_struct(*columns, column_grid, scaling))  # fmt: skip
    return *rows, *columns


def empty_placed(x: torch.Tensor, ends: torch.Tensor, grid: Grid, format: str, scale_format: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Memory of a copy of x [M, cols] by columns with each group at a multiple of 16 rows, of its scales, and of the groups' places."""
    rows, count = _cuda_abi.aligned_rows(x.shape[0], ends.shape[0]), ends.shape[0]
    values = empty_lines(x, (rows, x.shape[1]), DTYPES[format], turned=True)
    return values, empty_lines(x, scales_shape(values, count, grid), DTYPES[scale_format]), ends.new_empty((2, count))


def quantize_both_placed(x: torch.Tensor, ends: torch.Tensor, row_grid: Grid, column_grid: Grid, format: str, scaling: str,
                         scale_format: str) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """ragdot_cuda_quantize_both with col_wise_groups: values and scales by rows, those by columns, and the groups' places in the latter,
    [2, G] starts and sizes, which tgmm takes as ends. Rows of no group are not written."""
    rows = empty_copy(x, ends, row_grid, format, scale_format, False)
    values, scales, places = empty_placed(x, ends, column_grid, format, scale_format)
    if not x.numel():
        places.zero_()  # nothing is launched
    given = _cuda_abi.GroupPlaces(places.data_ptr(), places.data_ptr() + places.shape[1] * places.element_size())
    _run_quantizer("quantize_both", _abi.QuantizeBothArgs, x, ends, _copy_struct(*rows, row_grid, scaling),
                   _copy_struct(values, scales, column_grid, scaling), col_wise_groups=ctypes.pointer(given))  # fmt: skip
    return *rows, values, scales, places


def dequantize(values: torch.Tensor, scales: torch.Tensor, grid: Grid, ends: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """Not offered."""
    raise NotImplementedError("dequantize: not offered on the GPU; move values and scales to the CPU, or quantise again from the source")
