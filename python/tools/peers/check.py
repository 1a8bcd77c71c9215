"""Is a contender's product right? Asked before it is timed. docs/peers.md states the bounds."""

import numpy as np

from peers.case import Case, Product

BF16_STEP = 2.0**-7  # two numbers that round to neighbouring bf16 are at most this part of them apart
F32_UNIT = 2.0**-24


def bound(product: Product, wanted: np.ndarray, rounded_weights: float) -> np.ndarray:
    """How far two right results may lie apart: both rounded to bf16, each a sum of `depth` f32 terms in an order of its own,
    and weights that one of them may round by `rounded_weights` of their size. |a| |b| is at least sum |a b| (Cauchy-Schwarz)."""
    norms = np.linalg.norm(product.a, axis=1)[:, None] * np.linalg.norm(product.b, axis=0)[None, :]
    depth = product.a.shape[1]
    return 1.01 * BF16_STEP * np.abs(wanted) + (2 * depth * F32_UNIT + rounded_weights) * norms


def worst_ratio(difference: np.ndarray, allowed: np.ndarray) -> float:
    """Largest difference over its bound; infinity where there is a NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    return float(np.nan_to_num(ratio, nan=np.inf).max(initial=0.0))


def worst_against_exact(case: Case, out: np.ndarray, rows: int = 64) -> float:
    """Largest error over its bound among about `rows` rows of the result, some of each group, against float64 products."""
    generator = np.random.default_rng(1)
    each = max(2, rows // max(1, int(np.count_nonzero(case.sizes))))
    worst = 0.0
    for p in case.products():
        ends = {0, len(p.a) - 1}  # where a group begins and ends is where mistakes lie
        some = np.array(sorted(ends | set(generator.integers(0, len(p.a), each).tolist())))
        part = Product(p.place, p.a[some], p.b)
        exact = part.a @ part.b
        worst = max(worst, worst_ratio(np.abs(out[p.place][some] - exact), bound(part, exact, 0.0)))
    return max(worst, nonzero_slabs(case, out))


def worst_against(case: Case, out: np.ndarray, wanted: np.ndarray, rounded_weights: float) -> float:
    """Largest distance of two results over its bound, over every output of every group."""
    worst = 0.0
    for p in case.products():
        difference = np.abs(out[p.place].astype(np.float64) - wanted[p.place])
        worst = max(worst, worst_ratio(difference, bound(p, wanted[p.place], rounded_weights)))
    return max(worst, nonzero_slabs(case, out))


def nonzero_slabs(case: Case, out: np.ndarray) -> float:
    """tgmm: infinity when an empty group's matrix is not zero."""
    empty = case.op == "tgmm" and bool(np.any(out[case.sizes == 0] != 0))
    return np.inf if empty else 0.0
