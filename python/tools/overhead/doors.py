"""The doors: one decode-size call, prepared as its users would, and a function that makes it n times."""

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

import ragdot
from ragdot import _abi
from ragdot._arrays import address
from ragdot._calls import Output, gmm_call
from ragdot._choices import options_of
from ragdot._library import LIBRARY, installed

ROWS, EXPERTS, INNER, OUTER = 8, 8, 256, 256


@dataclass(frozen=True)
class Door:
    """`above` names the door that it is compared with, "" for none; `seconds` makes so many calls and says how long they took."""

    name: str
    above: str
    seconds: Callable[[int], float]


@dataclass(frozen=True)
class Operands:
    """A decode step: one row for each expert."""

    lhs: np.ndarray | ragdot.ScaledArray
    rhs: np.ndarray | ragdot.ScaledArray
    sizes: np.ndarray
    threads: int


def operands(recipe: str, threads: int) -> Operands:
    """bf16, or blockwise: e4m3 with 1x128 and 128x128 scales."""
    generator = np.random.default_rng(0)
    lhs, rhs = (generator.standard_normal(shape).astype(ml_dtypes.bfloat16) for shape in ((ROWS, INNER), (EXPERTS, INNER, OUTER)))
    if recipe == "blockwise":
        lhs, rhs = ragdot.quantize(lhs, (1, 128)), ragdot.quantize(rhs, (128, 128))
    return Operands(lhs, rhs, np.full(EXPERTS, ROWS // EXPERTS, np.int32), threads)


def repeated(call: Callable[[], object]) -> Callable[[int], float]:
    """Times a Python call."""

    def seconds(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - start

    return seconds


def clock() -> ctypes.CDLL:
    """clock.c, compiled against the library that this process runs."""
    with tempfile.TemporaryDirectory(prefix="ragdot_overhead_") as folder:
        shared, include = Path(folder) / "clock.so", installed("include/ragdot/ragdot.h").parents[1]
        words = ["cc", "-O2", "-shared", "-fPIC", f"-I{include}", Path(__file__).with_name("clock.c"), "-o", shared, ragdot.info()["library"]]
        subprocess.run(words, check=True)
        library = ctypes.CDLL(str(shared))
    for name in ("seconds_of_runs", "seconds_of_gmms"):
        getattr(library, name).restype = ctypes.c_double
    return library


def c_doors(given: Operands) -> Iterator[Door]:
    """From C, planned and at once, on structs that Python filled."""
    library = clock()
    call = gmm_call("gmm", given.lhs, given.rhs, given.sizes, Output(), None, None, 0, "zero")
    options, plan = options_of("gmm", None, None, given.threads, False), ctypes.c_void_p()
    assert LIBRARY.ragdot_plan_gmm(call.args, options, plan) == _abi.OK
    workspace = np.empty(LIBRARY.ragdot_plan_workspace_bytes(plan), np.uint8)
    held = call, options, workspace  # the structs hold addresses only

    def runs(calls: int) -> float:
        assert held
        return library.seconds_of_runs(plan, ctypes.byref(call.args), ctypes.c_void_p(address(workspace)),
                                       ctypes.c_size_t(len(workspace)), ctypes.c_int64(calls))  # fmt: skip

    def gmms(calls: int) -> float:
        return library.seconds_of_gmms(ctypes.byref(call.args), ctypes.byref(options), ctypes.c_int64(calls))

    yield Door("C, planned", "", runs)
    yield Door("C, at once", "", gmms)


def python_doors(given: Operands) -> Iterator[Door]:
    """From Python, with a result of its own for each call."""
    plan = ragdot.plan("gmm", given.lhs, given.rhs, given.sizes, threads=given.threads)
    yield Door("Python, planned", "C, planned", repeated(lambda: plan(given.lhs, given.rhs, given.sizes)))
    yield Door("Python, at once", "C, at once", repeated(lambda: ragdot.gmm(given.lhs, given.rhs, given.sizes, threads=given.threads)))


DOORS = (c_doors, python_doors)
