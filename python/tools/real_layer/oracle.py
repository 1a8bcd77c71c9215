"""Exact results and the error bound of docs/numerics.md in float64, one group at a time; nothing of the library is used."""

import numpy as np

from real_layer.quantizer import WHOLE, Quantized

UNIT = 2.0**-24


def cuts(operand: Quantized, axis: int, begin: int, depth: int) -> set[int]:
    """Places within [0, depth) where the operand's f32 scale changes along the reduction axis, which starts at `begin`."""
    block = operand.block[axis]
    if operand.scales is None or operand.folds() or block is WHOLE:
        return set()
    return {x for x in range(1, depth) if (begin + x) % block == 0}


def exact_and_bound(lhs: np.ndarray, lhs_scale: np.ndarray, rhs: np.ndarray, rhs_scale: np.ndarray, ends: list[int]):
    """Values lhs [m, k], rhs [k, n] with the scales of their elements; ends of the segments of k. Returns exact [m, n], bound [m, n]."""
    shape = (lhs.shape[0], rhs.shape[1])
    exact, total, flush = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    begin, longest = 0, 0
    for end in ends:
        a, b = lhs[:, begin:end], rhs[begin:end]
        scale = lhs_scale[:, begin : begin + 1] * rhs_scale[begin : begin + 1]
        size = np.abs(scale)
        block = np.abs(a) @ np.abs(b)
        length = end - begin
        exact += scale * (a @ b)
        total += size * block
        flush += (length + 2 * -(-length // 32)) * size + block + 1
        longest = max(longest, length)
        begin = end
    h = len(ends) + -(-longest // 32) + 17
    return exact, h * UNIT / (1 - h * UNIT) * total + 2.0**-125 * flush


def parts(operand: Quantized) -> tuple[np.ndarray, np.ndarray]:
    """Values and scales per element, a folded power of two in the value."""
    values, scales = operand.values.astype(np.float64), operand.scale_of_elements()
    return (values * scales, np.ones(values.shape)) if operand.folds() else (values, scales)


def check(op: str, lhs: Quantized, rhs: Quantized, sizes: np.ndarray, out: np.ndarray) -> tuple[float, np.ndarray]:
    """Largest error over its bound, and the exact results. gmm and dlhs: rhs [E, K, N], dlhs against its transpose; tgmm: both [M, .]."""
    (a, sa), (b, sb) = parts(lhs), parts(rhs)
    exact = np.zeros(out.shape)
    worst, begin = 0.0, 0
    for group, size in enumerate(int(s) for s in sizes):
        rows = slice(begin, begin + size)
        if op == "tgmm":
            ends = sorted(cuts(lhs, 0, begin, size) | cuts(rhs, 0, begin, size) | {size})
            found = exact_and_bound(a[rows].T, sa[rows].T, b[rows], sb[rows], ends)
            place = group
        else:
            depth = lhs.values.shape[1]
            flip = op == "dlhs"
            weights, scales = (b[group].T, sb[group].T) if flip else (b[group], sb[group])
            ends = sorted(cuts(lhs, 1, 0, depth) | cuts(rhs, 1 if flip else 0, 0, depth) | {depth})
            found = exact_and_bound(a[rows], sa[rows], weights, scales, ends)
            place = rows
        exact[place] = found[0]
        if size:
            worst = max(worst, float((np.abs(out[place] - found[0]) / found[1]).max()))
        begin += size
    return worst, exact
