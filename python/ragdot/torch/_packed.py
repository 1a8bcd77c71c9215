"""Packed weights: tensors [L, N / 32, K, 32] in the place of [L, K, N], as products read them fastest."""

import torch

from ragdot import _abi
from ragdot._library import LIBRARY, check
from ragdot.torch._executor import OPTIONS
from ragdot.torch._pages import with_large_pages
from ragdot.torch._views import VALUE_FORMATS, view_of

COLUMNS = 32  # of a block


def is_packed(values: torch.Tensor) -> bool:
    """Whether they are packed weights: no other operand has four axes."""
    return values.ndim == 4


def columns_of(rhs: torch.Tensor) -> int:
    """Columns of weights, packed or not."""
    return rhs.shape[1] * COLUMNS if is_packed(rhs) else rhs.shape[2]


def empty_packed(rhs: torch.Tensor) -> torch.Tensor:
    """Memory for pack."""
    if rhs.ndim != 3 or rhs.shape[2] % COLUMNS:
        raise ValueError(f"pack: rhs is {list(rhs.shape)}; give [L, K, N] with N a multiple of {COLUMNS}")
    groups, inner, outer = rhs.shape
    return rhs.new_empty((groups, outer // COLUMNS, inner, COLUMNS))


def pack(rhs: torch.Tensor) -> torch.Tensor:
    """Weights [L, K, N], whose N is a multiple of 32, in blocks of columns."""
    packed = with_large_pages(empty_packed(rhs))
    view, held = view_of(rhs, VALUE_FORMATS, unit=True)
    check(LIBRARY.ragdot_pack_values(view, OPTIONS, packed.data_ptr(), packed.nbytes))
    del held
    return packed


def empty_unpacked(rhs: torch.Tensor) -> torch.Tensor:
    """Memory for unpack."""
    groups, blocks, inner, columns = rhs.shape
    return rhs.new_empty((groups, inner, blocks * columns))


def unpack(rhs: torch.Tensor) -> torch.Tensor:
    """The weights [L, K, N] that were packed."""
    weights = with_large_pages(empty_unpacked(rhs))
    weights.unflatten(2, (rhs.shape[1], rhs.shape[3])).copy_(rhs.transpose(1, 2))
    return weights


def packed_view(rhs: torch.Tensor) -> tuple[_abi.View, torch.Tensor]:
    """The view of packed weights, whose strides are not read, and the tensor on whose memory it points."""
    rhs = rhs.contiguous()
    groups, _, inner, _ = rhs.shape
    if rhs.shape[3] != COLUMNS or rhs.dtype not in VALUE_FORMATS:
        raise ValueError(f"gmm: rhs is {rhs.dtype} {list(rhs.shape)}; packed weights are [L, N / {COLUMNS}, K, {COLUMNS}] of "
                         f"{', '.join(map(str, VALUE_FORMATS))}")  # fmt: skip
    return _abi.View(rhs.data_ptr(), VALUE_FORMATS[rhs.dtype], groups, inner, columns_of(rhs), 0, 0, 0), rhs
