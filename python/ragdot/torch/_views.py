"""Tensors as the library's views: in place wherever it can read them there."""

import functools
from collections.abc import Sequence

import torch

from ragdot import _abi

FORMATS = {torch.float32: _abi.FORMATS["f32"], torch.bfloat16: _abi.FORMATS["bf16"], torch.float16: _abi.FORMATS["f16"],
           torch.float8_e4m3fn: _abi.FORMATS["e4m3"], torch.float8_e5m2: _abi.FORMATS["e5m2"], torch.int8: _abi.FORMATS["i8"],
           torch.float8_e8m0fnu: _abi.FORMATS["e8m0"]}  # fmt: skip
DTYPES = {name: dtype for name, number in _abi.FORMATS.items() for dtype, of in FORMATS.items() if of == number}
# Bytes stand for FP8: torch cannot compare tensors of FP8 types, which its checks of operators do.
VALUE_FORMATS = {**FORMATS, torch.uint8: _abi.FORMATS["e4m3"]}
SCALE_FORMATS = {**FORMATS, torch.uint8: _abi.FORMATS["e8m0"]}
Grid = Sequence[int]
INDEX = {torch.int32: _abi.INDEX_I32, torch.int64: _abi.INDEX_I64}


def on_gpu(x: torch.Tensor) -> bool:
    """Whether calls on x are those of the GPU."""
    return x.is_cuda


def is_turned(x: torch.Tensor) -> bool:
    """Whether its columns are contiguous, as those of weights stored [L, N, K]."""
    return x.stride(-2) == 1 != x.stride(-1)


def empty_lines(like: torch.Tensor, shape: Sequence[int], dtype: torch.dtype, turned: bool = False) -> torch.Tensor:
    """Unwritten memory of the shape on the device of `like`: contiguous rows, turned: contiguous columns, padded to 16 bytes."""
    *batch, rows, cols = shape
    lines, length = (cols, rows) if turned else (rows, cols)
    unit = 16 // dtype.itemsize
    pitch = (length + unit - 1) // unit * unit
    strides = (1, pitch) if turned else (pitch, 1)
    return torch.empty_strided(shape, (lines * pitch, *strides) if batch else strides, dtype=dtype, device=like.device)


def scales_shape(x: torch.Tensor, count: int | None, grid: Grid) -> list[int]:
    """Extents of the scales of x, for `count` groups the most that they could need."""
    rows, cols = x.shape[-2:]
    if count is None:
        scale_rows = 1 if grid[0] == _abi.WHOLE_AXIS else (rows + grid[0] - 1) // grid[0]
    elif grid[0] == _abi.WHOLE_AXIS:
        scale_rows = count
    else:
        # Each group's last block may be short.
        scale_rows = (rows + count * (grid[0] - 1)) // grid[0]
    return [*x.shape[:-2], scale_rows, 1 if grid[1] == _abi.WHOLE_AXIS else (cols + grid[1] - 1) // grid[1]]


def overlaps(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether two elements may share memory, by the library's rule: in ascending order, each stride steps over all within it."""
    span = 1
    for stride, extent in sorted((stride, extent) for extent, stride in zip(shape, strides) if extent > 1):
        if stride < span:
            return True
        span += stride * (extent - 1)
    return False


@functools.lru_cache(maxsize=4096)
def _layout(shape: tuple[int, ...], strides: tuple[int, ...], unit: bool) -> tuple[int, ...] | None:
    """Extents and strides of a view. None where the tensor has to be copied: it overlaps itself, or `unit` asks for contiguous rows
    or columns and neither are."""
    rows, cols = shape[-2:]
    if 0 not in shape and (overlaps(shape, strides) or (unit and rows > 1 and cols > 1 and 1 not in strides[-2:])):
        return None
    return (1, rows, cols, 0, *strides) if len(shape) == 2 else (*shape, *strides)


def view_of(x: torch.Tensor, formats: dict[torch.dtype, int], unit: bool = False) -> tuple[_abi.View, torch.Tensor]:
    """The view of a matrix or of a batch of them, and the tensor on whose memory it points: x, or a copy of it."""
    layout = _layout(x.shape, x.stride(), unit)
    if layout is None:
        x = x.contiguous()
        layout = _layout(x.shape, x.stride(), unit)
    number = formats.get(x.dtype)
    if number is None:
        raise ValueError(f"ragdot: a tensor of shape {list(x.shape)} is {x.dtype}; give {', '.join(map(str, FORMATS))}")
    return _abi.View(x.data_ptr(), number, *layout), x  # type: ignore[misc]  # a contiguous copy has a layout


def groups_of(ends: torch.Tensor) -> tuple[_abi.Groups, torch.Tensor]:
    """Groups that touch, by their end rows, and the tensor on whose memory the struct points."""
    ends = ends.contiguous()
    return _abi.Groups(_abi.GROUP_KINDS["ends"], INDEX[ends.dtype], ends.data_ptr(), None, len(ends)), ends


def scale_rows(scales: torch.Tensor, ends: torch.Tensor, block: int) -> int:
    """How many rows of group-wise scales these groups have. Ends that break a rule give any number: the call refuses such ends."""
    rows, start = 0, 0
    for end in ends.tolist():
        rows += 1 if block == _abi.WHOLE_AXIS else -(-(end - start) // block)
        start = end
    return min(max(rows, 0), len(scales))
