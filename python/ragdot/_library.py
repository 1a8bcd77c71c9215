"""Finds and loads libragdot, with the oneTBB of the Python environment, and turns its refusals into exceptions."""

import ctypes
import importlib.metadata
import os
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Self

from ragdot import _abi, _cuda_abi

_EXCEPTIONS = {_abi.INVALID_ARGUMENT: ValueError, _abi.UNSUPPORTED: NotImplementedError, _abi.OUT_OF_MEMORY: MemoryError,
               _abi.FAILED: RuntimeError}  # fmt: skip


def installed(name: str) -> Path:
    """A file of the wheel, such as lib/libragdot.so. An editable install keeps these apart from the sources."""
    folders = [Path(folder) for folder in sys.modules["ragdot"].__path__]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise ImportError(f"ragdot: {name} is not in {', '.join(map(str, folders))}; install the package: pip install .")


def environment_tbb() -> Path | None:
    """libtbb of the installed package tbb; None where oneTBB does not come from Python's packages."""
    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for path in (Path(file.locate()).resolve() for file in files if file.name == "libtbb.so.12"):
        if path.exists():
            return path
    warnings.warn("ragdot: the package tbb lacks its libtbb.so.12 (pip install --target leaves it out), so the system's oneTBB is used; "
                  "install into a virtual environment", RuntimeWarning, stacklevel=2)  # fmt: skip
    return None


def _declared(path: str) -> ctypes.CDLL:
    return _abi.declare(_abi.declare(ctypes.CDLL(path)), _cuda_abi.FUNCTIONS)


def _load() -> ctypes.CDLL:
    """RAGDOT_LIBRARY names another build's library, which brings its own oneTBB."""
    if other := os.environ.get("RAGDOT_LIBRARY"):
        return _declared(other)
    # Where the package lies in a folder of its own, the library's search path misses the environment's oneTBB and would take the
    # system's.
    if tbb := environment_tbb():
        ctypes.CDLL(str(tbb))
    return _declared(str(installed("lib/libragdot.so")))


LIBRARY = _load()


class OfOneProcess:
    """Holds what one process has, such as memory of the library, and does not change: copies are the object itself, and it cannot be
    pickled."""

    _not_pickled: str  # the sentence

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(self._not_pickled)


def free_with(owner: object, free: Callable[[Any], None], pointer: Any) -> None:
    """Frees what the library made for an object when that is collected. Not at the interpreter's end, where finalizers run that are left
    over: threads, and functions of atexit, may still use it."""
    weakref.finalize(owner, free, pointer).atexit = False


def refuse(status: int) -> NoReturn:
    """Raises the sentence of this thread's last call, which gave `status`."""
    raise _EXCEPTIONS.get(status, RuntimeError)(LIBRARY.ragdot_last_error().decode())


def check(status: int) -> None:
    """Raises unless the call went well."""
    if status:
        refuse(status)
