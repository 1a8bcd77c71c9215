"""Contenders for tests of peers: a right one, and one for each way of failing."""

import os
import signal

import numpy as np

from peers.case import Case
from peers.contenders import Prepared


def exact(case: Case) -> np.ndarray:
    """The product in float64, as f32."""
    out = np.zeros(case.out_shape())
    for p in case.products():
        out[p.place] = p.a @ p.b
    return out.astype(np.float32)


def right(case: Case, threads: int, copies: int) -> Prepared:
    print("what a library prints must not look like an answer")
    out = exact(case)
    return Prepared(lambda: None, lambda: out, f"stub on {threads} threads with {copies} copies", "1")


def last_group_missing(case: Case, threads: int, copies: int) -> Prepared:
    out = exact(case)
    out[list(case.products())[-1].place] = 0
    return Prepared(lambda: None, lambda: out, "stub", "1")


def nan_somewhere(case: Case, threads: int, copies: int) -> Prepared:
    out = exact(case)
    out.flat[7] = np.nan
    return Prepared(lambda: None, lambda: out, "stub", "1")


def of_another_shape(case: Case, threads: int, copies: int) -> Prepared:
    return Prepared(lambda: None, lambda: exact(case).T, "stub", "1")


def not_here(case: Case, threads: int, copies: int) -> Prepared:
    raise ImportError("no such library")


def dies(case: Case, threads: int, copies: int) -> Prepared:
    os.write(2, b"said before\n")
    os.kill(os.getpid(), signal.SIGILL)
