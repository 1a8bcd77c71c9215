"""This library as a user who cares for speed calls it from Python: planned, weights packed."""

from itertools import cycle

import numpy as np

import ragdot
from peers.case import Case
from peers.contenders import Prepared


def operand(case: Case, side: str):
    """In memory of its own: the case's lies in a mapped file."""
    values, scales, block = (getattr(case, side), getattr(case, f"{side}_scale"), case.problem.block(side))
    values = np.ascontiguousarray(values)
    return values if block is None else ragdot.ScaledArray(values, np.ascontiguousarray(scales), block)


def product(case: Case, threads: int, copies: int) -> Prepared:
    """gmm, dlhs and tgmm on the operands of the case; calls take the copies of packed weights in turn."""
    lhs, rhs, sizes = operand(case, "lhs"), operand(case, "rhs"), case.sizes.astype(np.int64)
    weights = [rhs] if case.op == "tgmm" else [ragdot.pack(rhs, op=case.op, threads=threads) for _ in range(copies)]
    plan = ragdot.plan(case.op, lhs, weights[0], sizes, out_dtype="bf16", threads=threads)
    out, turns = plan(lhs, weights[0], sizes), cycle(weights)  # its first result: memory that begins at a cache line

    def call() -> None:
        plan(lhs, next(turns), sizes, out=out)

    return Prepared(call, lambda: out.astype(np.float32), plan.kernel, ragdot.__version__)
