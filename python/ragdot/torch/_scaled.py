"""Quantised tensors: values, and scales on a grid of blocks."""

from dataclasses import dataclass, field

import torch

from ragdot import _abi
from ragdot._choices import number_of
from ragdot._scaled import Block, block_of
from ragdot.torch import _operators as ops
from ragdot.torch import _views
from ragdot.torch._views import INDEX

_VALUES = (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8)
_SCALES = (torch.float32, torch.bfloat16, torch.float8_e8m0fnu)
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
# As the third number of a grid; the library knows the first two.
_ORIGINS = {"global": 0, "per_group": 1, "per_group_columns": 2}


def grid_of(block: Block, per_group: bool = False) -> list[int]:
    """A grid as operators take it."""
    rows, cols = block
    return [_abi.WHOLE_AXIS if rows is None else rows, _abi.WHOLE_AXIS if cols is None else cols, 1 if per_group else 0]


def listed(dtypes: tuple[torch.dtype, ...]) -> str:
    """As a sentence lists them."""
    *most, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
    return f"{', '.join(most)} or {last}"


def kind_of(x: object) -> str:
    """The dtype of a tensor, the type of anything else."""
    return str(x.dtype) if isinstance(x, torch.Tensor) else type(x).__name__


def check_offs(op: str, offs: torch.Tensor) -> None:
    """Raises for what cannot be the ends of groups."""
    if not isinstance(offs, torch.Tensor) or offs.dtype not in INDEX or offs.ndim != 1:
        what = f"{offs.dtype} {list(offs.shape)}" if isinstance(offs, torch.Tensor) else type(offs).__name__
        raise ValueError(f"{op}: offs are {what}; give the int32 or int64 ends of the groups, a tensor [G]")


@dataclass(frozen=True, eq=False)
class ScaledTensor:
    """values * scales: what grouped_mm takes in place of a tensor that it would quantise.

    values: [rows, cols] or [batch, rows, cols]; float8_e4m3fn, float8_e5m2 or int8.
    scales: float32, bfloat16 or float8_e8m0fnu; scale (r // block[0], c // block[1]) belongs to element (r, c), so their extents
        are ceil(dim / block), after the same batch axis.
    block: rows and columns that share one scale; None is the whole axis.
    origin: "global": blocks start at row 0. "per_group": they start anew at each group's first row, and the scale rows of all groups
        follow each other; rows of scales behind the last group's are not read. "per_group_columns": what transpose makes of those,
        for x [K, M] of grouped_mm's second form.

    Nothing is copied. Types, devices and the block are checked here, extents by products.
    """

    values: torch.Tensor
    scales: torch.Tensor
    block: Block
    origin: str = "global"
    # As operators take it. Kept, because torch.compile guards whatever it would be made from.
    grid: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values, scales = self.values, self.scales
        if values.dtype not in _VALUES or scales.dtype not in _SCALES:
            raise ValueError(f"ScaledTensor: values are {values.dtype} and scales {scales.dtype}; give {listed(_VALUES)} with scales "
                             f"{listed(_SCALES)}")  # fmt: skip
        if values.ndim not in (2, 3) or scales.ndim != values.ndim:
            raise ValueError(f"ScaledTensor: values are {list(values.shape)} and scales {list(scales.shape)}; both must be [rows, columns] "
                             "or [batch, rows, columns]")  # fmt: skip
        if scales.device != values.device:
            raise ValueError(f"ScaledTensor: values are on {values.device} and scales on {scales.device}; move both to one device")
        rows, cols = block_of("ScaledTensor", self.block)
        object.__setattr__(self, "grid", [rows, cols, number_of("ScaledTensor", "origin", self.origin, _ORIGINS)])

    @property
    def shape(self) -> torch.Size:
        """Of the values."""
        return self.values.shape

    @property
    def device(self) -> torch.device:
        """Of the values."""
        return self.values.device

    @property
    def ndim(self) -> int:
        """Of the values."""
        return self.values.ndim

    @property
    def mT(self) -> "ScaledTensor":
        """The last two axes exchanged, as transpose does."""
        return self.transpose(-1, -2)

    def to(self, device: torch.device | str) -> "ScaledTensor":
        """Values and scales on a device."""
        if isinstance(device, torch.dtype):
            raise ValueError(f"ScaledTensor: to({device}) asks for a dtype; to takes devices, dequantize({device}) gives a plain tensor")
        return ScaledTensor(self.values.to(device), self.scales.to(device), self.block, self.origin)

    def transpose(self, dim0: int, dim1: int) -> "ScaledTensor":
        """The same memory with the last two axes exchanged, no others. Groups that lay along the rows lie along the columns then."""
        if {dim0 % self.ndim, dim1 % self.ndim} != {self.ndim - 2, self.ndim - 1}:
            raise ValueError(f"ScaledTensor: transpose({dim0}, {dim1}) of {self.ndim} axes; only the last two can be exchanged")
        origin = {"per_group": "per_group_columns", "per_group_columns": "per_group"}.get(self.origin, self.origin)
        return ScaledTensor(self.values.transpose(-1, -2), self.scales.transpose(-1, -2), self.block[::-1], origin)

    def dequantize(self, dtype: torch.dtype = torch.float32, offs: torch.Tensor | None = None) -> torch.Tensor:
        """value * scale, rounded once to float32, then to dtype. Ends of groups are needed for per_group scales."""
        if self.origin != "global" and offs is None:
            raise ValueError(f"ScaledTensor: origin is {self.origin}; give offs, the ends of the groups")
        if self.origin == "per_group_columns":
            return self.mT.dequantize(dtype, offs).mT
        return ops.dequantize(self.values, self.scales, self.grid, offs, dtype)


# What torch.load reads by default: it holds tensors, numbers and words alone.
torch.serialization.add_safe_globals([ScaledTensor])


def quantize(x: torch.Tensor, block: Block, format: str = "e4m3", scaling: str = "absmax", scale_format: str = "f32",
             offs: torch.Tensor | None = None) -> ScaledTensor:  # fmt: skip
    """Quantises blocks, each with a scale of its own; no gradient passes.

    x: [rows, cols] or [batch, rows, cols]; float32, bfloat16 or float16, any strides.
    block: (rows, columns) that share a scale; None is the whole axis: (1, 128), (128, 128), (1, None).
    format: "e4m3", "e5m2" or "i8". scaling: "absmax", "pow2" or "mx". scale_format: "f32", "bf16" or, for pow2 and mx, "e8m0".
    offs: int32 or int64 end rows of groups over the rows of one matrix: blocks start anew at each group's first row, and the scales
        are per_group. docs/quantisation.md has every corner.

    On a CPU values and scales lie in memory as x does where its columns are contiguous and there are no offs, else by rows.
    """
    if not isinstance(x, torch.Tensor) or x.dtype not in FLOATS:
        raise ValueError(f"quantize: x is {kind_of(x)}; give a tensor of {listed(FLOATS)}")
    if x.ndim not in (2, 3):
        raise ValueError(f"quantize: x has shape {list(x.shape)}; it must be [rows, columns] or [batch, rows, columns]")
    if offs is not None:
        check_offs("quantize", offs)
    for what, name, names in (("format", format, ("e4m3", "e5m2", "i8")), ("scaling", scaling, ("absmax", "pow2", "mx")),
                              ("scale_format", scale_format, ("f32", "bf16", "e8m0"))):  # fmt: skip
        if name not in names:
            raise ValueError(f"quantize: {what} is {name!r}; it must be one of {', '.join(names)}")
    rows, cols = block_of("quantize", block)
    if offs is None and _views.is_turned(x) and not _views.on_gpu(x):  # along its memory: ten times as fast
        return quantize(x.transpose(-1, -2), (block[1], block[0]), format, scaling, scale_format).transpose(-1, -2)
    values, scales = ops.quantize(x.detach(), offs, [rows, cols, 0], format, scaling, scale_format)
    return ScaledTensor(values, scales, (block[0], block[1]), "global" if offs is None else "per_group")
