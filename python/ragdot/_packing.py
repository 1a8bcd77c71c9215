"""Weights packed once, for many calls."""

import ctypes
from typing import Any

from ragdot import _abi
from ragdot._choices import options_of
from ragdot._library import LIBRARY, OfOneProcess, check, free_with
from ragdot._scaled import fill_operand, transposed


class PackedWeights(OfOneProcess):
    """What pack gives. Immutable, for any number of threads; holds no reference to the array it was made from."""

    _not_pickled = "PackedWeights are memory of one process; pickle the array and pack it where it is used"

    def __init__(self, op: str, extents: tuple[int, int, int], pointer: ctypes.c_void_p):
        self._op, self._extents, self.pointer = op, extents, pointer.value
        free_with(self, LIBRARY.ragdot_packed_free, pointer)

    @property
    def shape(self) -> tuple[int, int, int]:
        """[L, K, N] of the forward product."""
        groups, rows, cols = self._extents
        return (groups, cols, rows) if self._op == "dlhs" else self._extents

    @property
    def columns(self) -> int:
        """Columns of a product with these weights."""
        return self._extents[2]

    @property
    def nbytes(self) -> int:
        """Resident bytes, scales included."""
        return LIBRARY.ragdot_packed_size_bytes(self.pointer)

    def describe(self) -> str:
        """One line: formats, shape as multiplied, scale grid, bytes."""
        return LIBRARY.ragdot_packed_describe(self.pointer).decode()

    def check_op(self, op: str) -> None:
        """Raises for weights that were packed for the other product."""
        if op != self._op:
            raise ValueError(f"{op}: rhs was packed for {self._op}; use pack(rhs, op={op!r})")

    def __repr__(self) -> str:
        return f"<ragdot.PackedWeights for {self._op}: {self.describe()}>"


def pack(rhs: Any, *, op: str = "gmm", threads: int | None = None) -> PackedWeights:
    """Copies weights into blocks of columns, as kernels read them; gmm and dlhs take the result in place of rhs.

    rhs: [L, K, N] array or ScaledArray, any strides. FP8 stays FP8.
    op: "gmm" or "dlhs", the product that they are for.

    Raises ValueError for what breaks a rule, NotImplementedError for a format that is not offered.
    """
    if op not in ("gmm", "dlhs"):
        raise ValueError(f"pack: op is {op!r}; it must be gmm or dlhs")
    operand, pointer = _abi.Operand(), ctypes.c_void_p()
    weights = transposed("pack", "rhs", rhs) if op == "dlhs" else rhs
    held = fill_operand("pack", "rhs", weights, 3, "[groups, rows, columns]", operand)
    check(LIBRARY.ragdot_pack_rhs(operand, options_of("pack", None, None, threads, False), pointer))
    return PackedWeights(op, held[0].shape, pointer)
