"""This library through its C interface, as a user who cares for speed calls it: planned, weights packed, own workspace."""

import ctypes

import ml_dtypes
import numpy as np

import c_library
from peers.case import Case
from peers.contenders import Prepared


def product(case: Case, threads: int, copies: int) -> Prepared:
    """gmm, dlhs and tgmm on the operands of the case."""
    held = [np.ascontiguousarray(x) if x is not None else None for x in (case.lhs, case.lhs_scale, case.rhs, case.rhs_scale)]
    lhs, lhs_scale, rhs, rhs_scale = held
    lhs_block, rhs_block = (case.problem.block(side) or (c_library.WHOLE_AXIS,) * 2 for side in ("lhs", "rhs"))
    sizes = case.sizes.astype(np.int64)
    out = np.empty(case.out_shape(), ml_dtypes.bfloat16)
    if case.op == "dlhs":
        rhs = rhs.transpose(0, 2, 1)
        rhs_scale = None if rhs_scale is None else rhs_scale.transpose(0, 2, 1)
        rhs_block = rhs_block[::-1]
    args = c_library.TgmmArgs() if case.op == "tgmm" else c_library.GmmArgs()
    args.lhs = c_library.operand(lhs, lhs_scale, lhs_block)
    args.rhs = c_library.operand(rhs, rhs_scale, rhs_block)
    args.groups = c_library.Groups(0, 1, sizes.ctypes.data, None, len(sizes))
    args.out = c_library.view(out)
    call = c_library.Product(args, threads, copies)
    call.keeps = (held, sizes)  # the arguments hold addresses only
    version = ctypes.string_at(c_library.LIBRARY.ragdot_version()).decode()
    return Prepared(call, lambda: out.astype(np.float32), call.kernel, version)
