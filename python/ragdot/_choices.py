"""Words for the library's numbers, and the options that every call takes."""

import ctypes
from typing import Any

from ragdot import _abi

Tiling = tuple[int, int, int]


def number_of(op: str, what: str, word: Any, numbers: dict[str, int]) -> int:
    """The number of a word."""
    try:
        return numbers[word]
    except (KeyError, TypeError):
        raise ValueError(f"{op}: {what} is {word!r}; it must be one of {', '.join(numbers)}") from None


def options_of(op: str, tiling: Tiling | None, kernel: str | None, threads: int | None, strict: bool) -> _abi.Options | None:
    """ragdot_options; None, which is quicker, for the defaults."""
    if tiling is None and kernel is None and threads is None and not strict:
        return None
    options = _abi.Options(struct_size=ctypes.sizeof(_abi.Options), threads=threads or 0, strictness=int(strict))
    if kernel is not None:
        options.kernel = str(kernel).encode()
    if tiling is not None:
        try:
            options.tiling = ctypes.pointer(_abi.Tiling(*tiling))
        except TypeError:
            raise ValueError(f"{op}: tiling is {tiling!r}; give (rows, depth, columns) of a work item") from None
    return options
