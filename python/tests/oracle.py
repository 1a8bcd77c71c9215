"""What a product must be, in float64 by numpy alone, and whether a result is that within its bound."""

import ml_dtypes
import numpy as np

import ragdot


def row_ranges(groups) -> list[slice]:
    """The rows of each group, for any form of groups."""
    if not isinstance(groups, ragdot.Groups):
        groups = ragdot.Groups.from_sizes(groups)
    numbers = [int(x) for x in groups.data]
    if groups.kind == "starts_and_sizes":
        return [slice(start, start + int(size)) for start, size in zip(numbers, groups.lengths)]
    offsets = numbers if groups.kind == "offsets" else [0, *(np.cumsum(numbers) if groups.kind == "sizes" else numbers)]
    return [slice(int(begin), int(end)) for begin, end in zip(offsets, offsets[1:])]


def _spread(scales: np.ndarray, axis: int, block: int | None, extent: int) -> np.ndarray:
    index = np.zeros(extent, np.int64) if block is None else np.arange(extent) // block
    return np.take(scales, index, axis=axis)


def real(x, groups=None) -> np.ndarray:
    """Values times scales in float64; rows outside the groups of per_group scales are 0."""
    if not isinstance(x, ragdot.ScaledArray):
        return np.asarray(x).astype(np.float64)
    values, scales = np.asarray(x.values).astype(np.float64), np.asarray(x.scales).astype(np.float64)
    scales = _spread(scales, -1, x.block[1], values.shape[-1])
    if x.origin == "global":
        return values * _spread(scales, -2, x.block[0], values.shape[-2])
    result, at = np.zeros(values.shape), 0
    for rows in row_ranges(groups):
        size = rows.stop - rows.start
        count = 1 if x.block[0] is None else -(-size // x.block[0])
        result[rows] = values[rows] * _spread(scales[at : at + count], 0, x.block[0], size)
        at += count
    return result


def product(op: str, lhs, rhs, groups, first_group: int = 0, num_groups: int | None = None) -> np.ndarray:
    """gmm, dlhs or tgmm in float64."""
    ranges, a, b = row_ranges(groups), real(lhs, groups), real(rhs, groups)
    if op == "tgmm":
        count = len(ranges) - first_group if num_groups is None else num_groups
        out = np.zeros((count, a.shape[1], b.shape[1]))
        for matrix, rows in zip(out, ranges[first_group:]):
            matrix[:] = a[rows].T @ b[rows]
        return out
    b = b.swapaxes(1, 2) if op == "dlhs" else b
    out = np.zeros((a.shape[0], b.shape[2]))
    for weights, rows in zip(b, ranges[first_group:]):
        out[rows] = a[rows] @ weights
    return out


def assert_right(op: str, result: np.ndarray, lhs, rhs, groups, **local) -> None:
    """The result within its bound of the exact one, rounding of the output included; the exact one is numpy's."""
    exact, bound = ragdot.error_bound(op, lhs, rhs, groups, **local)
    mine = product(op, lhs, rhs, groups, **local)
    assert exact.shape == mine.shape == result.shape
    size = np.abs(product(op, _size(lhs), _size(rhs), groups, **local))
    np.testing.assert_array_less(np.abs(exact - mine), 1e-14 * size + 1e-300)
    low, high = ((exact + sign * bound).astype(np.float32).astype(result.dtype).astype(np.float64) for sign in (-1, 1))
    if result.dtype == np.float32:
        low, high = exact - bound, exact + bound
    got = result.astype(np.float64)
    assert np.all((low <= got) & (got <= high)), f"{np.sum(~((low <= got) & (got <= high)))} of {got.size} outputs lie outside their bound"


def _size(x):
    """The operand's magnitudes."""
    if isinstance(x, ragdot.ScaledArray):
        return ragdot.ScaledArray(np.abs(np.asarray(x.values).astype(np.float32)), np.abs(np.asarray(x.scales).astype(np.float32)), x.block, x.origin)
    return np.abs(np.asarray(x).astype(np.float32))


def bf16(x) -> np.ndarray:
    return np.asarray(x).astype(ml_dtypes.bfloat16)


def bits(x: np.ndarray) -> np.ndarray:
    """Of equal arrays, equal numbers, NaN included."""
    return np.ascontiguousarray(x).view(f"u{x.itemsize}")
