"""What this build offers on this machine."""

import ctypes
import os
from typing import Any

from ragdot import _abi
from ragdot._library import LIBRARY, check


def info() -> dict[str, Any]:
    """What the library finds here.

    version: of the library. kernels: best first, each with name, usable and, where it is not, the reason. library, tbb: the files
    that this process runs (None where not loaded from a file). variables: RAGDOT_* of the environment, as it is now; the
    library took its own at its first call.
    """
    kernels = []
    for index in range(LIBRARY.ragdot_kernel_count()):
        kernel = _abi.KernelInfo(struct_size=ctypes.sizeof(_abi.KernelInfo))
        check(LIBRARY.ragdot_kernel(index, kernel))
        kernels.append({"name": kernel.name.decode(), "usable": bool(kernel.usable), "reason": kernel.reason.decode()})
    return {
        "version": LIBRARY.ragdot_version().decode(),
        "kernels": kernels,
        "library": _mapped("libragdot.so"),
        "tbb": _mapped("libtbb.so"),
        "variables": {name: value for name, value in os.environ.items() if name.startswith("RAGDOT_")},
    }


def _mapped(name: str) -> str | None:
    """The file of a library as this process has mapped it."""
    with open("/proc/self/maps") as maps:
        paths = (line.split(maxsplit=5)[-1].strip() for line in maps)
        return next((path for path in paths if os.path.basename(path).startswith(name)), None)
