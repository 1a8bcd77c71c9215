"""Which rows belong to which group, in the forms in which frameworks hold it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ragdot import _abi
from ragdot._arrays import address, as_array
from ragdot._choices import number_of

_INDEX = {np.dtype(np.int32): _abi.INDEX_I32, np.dtype(np.int64): _abi.INDEX_I64}
_OFFERED = ("int32", "int64")


def _numbers(what: str, x: Any) -> np.ndarray:
    """A dense vector of int32 or int64."""
    if x is None:
        raise ValueError(f"groups: {what} are None; give int32 or int64 numbers, one for each group")
    array = as_array(f"groups: {what}", x, _OFFERED)
    if array.size == 0 and not isinstance(x, np.ndarray):
        array = array.astype(np.int64)  # an empty list
    if array.ndim != 1:
        raise ValueError(f"groups: {what} has shape {list(array.shape)}; it must have one axis")
    if array.dtype not in _INDEX:
        raise ValueError(f"groups: {what} are {array.dtype}; give int32 or int64")
    return np.ascontiguousarray(array)


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups over the M rows of an operand; they ascend and do not overlap, and rows may belong to none.

    Made by the functions below from int32 or int64 numbers (arrays, DLPack, lists); a plain vector given for `groups` anywhere
    means sizes. Numbers that break a rule are refused by the call that uses them.
    """

    kind: str
    data: np.ndarray  # sizes, ends, offsets or starts
    lengths: np.ndarray | None = None  # for starts with sizes

    def __post_init__(self) -> None:
        pairs = self.kind == "starts_and_sizes"
        data, lengths = _numbers("starts" if pairs else self.kind, self.data), None
        if pairs:
            lengths = _numbers("sizes", self.lengths)
            if len(data) != len(lengths):
                raise ValueError(f"groups: {len(data)} starts and {len(lengths)} sizes; give one of each for every group")
            if data.dtype != lengths.dtype:
                data, lengths = data.astype(np.int64), lengths.astype(np.int64)
        elif self.lengths is not None:
            raise ValueError(f"groups: {self.kind} have no lengths; those of starts are given by from_starts_and_sizes")
        if self.kind == "offsets" and len(data) == 0:
            raise ValueError("groups: offsets are empty; G groups need G + 1 of them")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "lengths", lengths)

    @staticmethod
    def from_sizes(sizes: Any) -> "Groups":
        """[G]: groups touch, the first starts at row 0."""
        return Groups("sizes", sizes)

    @staticmethod
    def from_ends(ends: Any) -> "Groups":
        """[G] end rows, as torch._grouped_mm takes them: groups touch, the first starts at row 0."""
        return Groups("ends", ends)

    @staticmethod
    def from_offsets(offsets: Any) -> "Groups":
        """[G + 1] start rows and the last end: groups touch, rows before the first belong to none."""
        return Groups("offsets", offsets)

    @staticmethod
    def from_starts_and_sizes(starts: Any, sizes: Any) -> "Groups":
        """[G] and [G]: gaps between groups are legal (padded and masked layouts)."""
        return Groups("starts_and_sizes", starts, sizes)

    @property
    def count(self) -> int:
        """G."""
        return len(self.data) - (self.kind == "offsets")

    def sizes(self) -> np.ndarray:
        """Rows of each group, int64 [G]."""
        numbers = (self.data if self.lengths is None else self.lengths).astype(np.int64)
        if self.kind == "ends":
            return np.diff(numbers, prepend=0)
        return np.diff(numbers) if self.kind == "offsets" else numbers

    def fill(self, groups: _abi.Groups) -> None:
        """Writes the C struct; this object has to outlive its use."""
        groups.kind, groups.index = number_of("groups", "kind", self.kind, _abi.GROUP_KINDS), _INDEX[self.data.dtype]
        groups.data, groups.count = address(self.data), self.count
        groups.sizes = None if self.lengths is None else address(self.lengths)


def as_groups(groups: Any) -> Groups:
    """A vector stands for sizes."""
    return groups if isinstance(groups, Groups) else Groups.from_sizes(groups)
