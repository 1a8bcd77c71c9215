"""Packed weights in operators, which take tensors: one that holds their address stands for them."""

import ctypes
import weakref
from collections.abc import Sequence

import torch

from ragdot import _abi
from ragdot._library import LIBRARY, check
from ragdot.torch._executor import OPTIONS
from ragdot.torch._views import SCALE_FORMATS, VALUE_FORMATS, view_of


class Packed:
    """The library's packed copy of weights [L, K, N]; freed with its last reference. A product asks it what it asks a tensor."""

    __slots__ = ("pointer", "shape", "dtype", "__weakref__")

    def __init__(self, pointer: int, values: torch.Tensor, scales: torch.Tensor, grid: Sequence[int]):
        self.pointer, self.shape, self.dtype = pointer, values.shape, (values.dtype, scales.dtype, *grid)
        weakref.finalize(self, LIBRARY.ragdot_packed_free, pointer)

    def stride(self) -> tuple[int, ...]:
        """Its layout is its own."""
        return ()

    def data_ptr(self) -> int:
        """What the struct of a product points to."""
        return self.pointer


_live: "weakref.WeakValueDictionary[int, Packed]" = weakref.WeakValueDictionary()


def pack(values: torch.Tensor, scales: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """A copy of quantised weights [L, K, N] in blocks of columns, and the tensor that stands for it: as long as that lives."""
    operand, pointer = _abi.Operand(), ctypes.c_void_p()
    operand.values, values = view_of(values, VALUE_FORMATS, unit=True)
    view, scales = view_of(scales, SCALE_FORMATS)
    operand.scales = _abi.Scales(view, *grid)
    check(LIBRARY.ragdot_pack_rhs(operand, OPTIONS, pointer))
    packed = Packed(pointer.value, values, scales, grid)  # type: ignore[arg-type]  # no null
    _live[packed.pointer] = packed
    address = torch.tensor([packed.pointer], dtype=torch.int64)
    address.packed = packed  # type: ignore[attr-defined]
    return address


def is_packed(values: torch.Tensor) -> bool:
    """Whether it stands for packed weights: no operand has such elements."""
    return values.dtype == torch.int64


def packed_of(address: torch.Tensor) -> Packed:
    """What `address` stands for."""
    packed = _live.get(address.item())  # type: ignore[arg-type]  # that of an int64 is an int
    if packed is None:
        raise ValueError("gmm: rhs stands for packed weights that are gone; keep the tensor that pack gave")
    return packed
