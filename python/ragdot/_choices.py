"""Words for the library's numbers, and the options that every call takes."""

import ctypes
import operator
from typing import Any

from ragdot import _abi

Tiling = tuple[int, int, int]


def number_of(op: str, what: str, word: Any, numbers: dict[str, int]) -> int:
    """The number of a word."""
    try:
        return numbers[word]
    except (KeyError, TypeError):
        raise ValueError(f"{op}: {what} is {word!r}; it must be one of {', '.join(numbers)}") from None


def integer_of(op: str, what: str, x: Any, bits: int = 64) -> int:
    """A whole number that C holds in so many bits; True and 1.0 are none."""
    try:
        number = None if isinstance(x, bool) else operator.index(x)
    except TypeError:
        number = None
    if number is None or not -(1 << bits - 1) <= number < 1 << bits - 1:
        raise ValueError(f"{op}: {what} is {x!r}; give a whole number of {bits} bits")
    return number


def options_of(op: str, tiling: Tiling | None, kernel: str | None, threads: int | None, strict: bool) -> _abi.Options | None:
    """ragdot_options; None, which is quicker, for the defaults."""
    if tiling is None and kernel is None and threads is None and not strict:
        return None
    threads = 0 if threads is None else integer_of(op, "threads", threads, 32)
    options = _abi.Options(struct_size=ctypes.sizeof(_abi.Options), threads=threads, strictness=int(strict))
    if kernel is not None:
        options.kernel = str(kernel).encode()
    if tiling is not None:
        try:
            rows, depth, columns = (integer_of(op, "tiling", extent) for extent in tiling)
        except (TypeError, ValueError):
            raise ValueError(f"{op}: tiling is {tiling!r}; give (rows, depth, columns) of a work item") from None
        options.tiling = ctypes.pointer(_abi.Tiling(rows, depth, columns))
    return options
