"""Runs the library's tasks on the OpenMP threads of torch: a second pool would fight them over the cores.

The threads of torch spin for a while after each of its own operators; work of another pool gets half a core each in that time.
"""

import ctypes
import os
from pathlib import Path
from typing import Any

import torch

from ragdot import _abi
from ragdot._library import LIBRARY


def _openmp_of_torch() -> _abi.Openmp | None:
    """The runtime that torch itself is linked with; None for a torch without one."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        loaded = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        functions = loaded.GOMP_parallel, loaded.omp_get_max_threads
    except (OSError, AttributeError):
        return None
    return _abi.Openmp(*(_address(function) for function in functions))


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


def _options() -> _abi.Options | None:
    """ragdot_options of every call; None, the library's own threads, where torch has no OpenMP."""
    openmp = _openmp_of_torch()
    if openmp is None:
        return None
    options = _abi.Options(struct_size=ctypes.sizeof(_abi.Options))
    options.run, options.concurrency = _address(LIBRARY.ragdot_openmp_run), _address(LIBRARY.ragdot_openmp_concurrency)
    options.executor_context = ctypes.addressof(openmp)
    options.openmp = openmp  # lives as long as the options
    return options


OPTIONS = _options()
