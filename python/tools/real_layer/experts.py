"""MoEfication (arXiv 2110.01786): the neurons of a dense layer in balanced clusters, each an expert; tokens go to their top ones."""

from dataclasses import dataclass

import numpy as np

from real_layer.model import FeedForward, gelu, gelu_slope


def balanced_clusters(points: np.ndarray, count: int, rounds: int = 12, seed: int = 1) -> np.ndarray:
    """k-means over the rows of `points` in which every cluster gets the same number; returns [count, rows / count] indices."""
    size = len(points) // count
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    centers = points[np.random.default_rng(seed).choice(len(points), count, replace=False)]
    for _ in range(rounds):
        closeness = points @ centers.T
        members = np.full(len(points), -1)
        room = np.full(count, size)
        for flat in np.argsort(-closeness, axis=None, kind="stable"):  # the closest pairs choose first
            point, cluster = divmod(int(flat), count)
            if members[point] < 0 and room[cluster] > 0:
                members[point] = cluster
                room[cluster] -= 1
        centers = np.array([points[members == c].mean(0) for c in range(count)])
    return np.array([np.flatnonzero(members == c) for c in range(count)])


@dataclass
class Experts:
    """The layer split: up [E, 384, n], up_bias [E, n], down [E, n, 384]; rows sorted by expert, token of each row, group sizes."""

    up: np.ndarray
    up_bias: np.ndarray
    down: np.ndarray
    tokens: np.ndarray
    sizes: np.ndarray

    def combine(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Adds the rows of each token, in row order."""
        out = np.zeros((count, rows.shape[1]), rows.dtype)
        np.add.at(out, self.tokens, rows)
        return out

    def per_group(self):
        """(expert, its rows) pairs."""
        ends = np.cumsum(self.sizes)
        return [(e, slice(end - size, end)) for e, (size, end) in enumerate(zip(self.sizes, ends))]

    def grouped(self, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Every expert's rows times its weights, in x's precision."""
        out = np.zeros((len(x), weights.shape[2]), x.dtype)
        for expert, rows in self.per_group():
            out[rows] = x[rows] @ weights[expert]
        return out

    def bias_rows(self) -> np.ndarray:
        """up_bias of every row's expert."""
        return np.repeat(self.up_bias, self.sizes, axis=0)


def split(layer: FeedForward, x: np.ndarray, count: int, top: int) -> Experts:
    """Experts of `layer`, and each token of x with the `top` experts whose neurons fire most for it."""
    clusters = balanced_clusters(layer.up, count)
    hidden = np.maximum(gelu(x @ layer.up.T + layer.up_bias), 0)
    mass = np.stack([hidden[:, c].sum(1) for c in clusters], axis=1)
    chosen = np.argsort(-mass, axis=1, kind="stable")[:, :top]
    tokens = np.concatenate([np.flatnonzero((chosen == e).any(1)) for e in range(count)])
    sizes = np.array([(chosen == e).any(1).sum() for e in range(count)], np.int32)
    return Experts(np.stack([layer.up[c].T for c in clusters]), np.stack([layer.up_bias[c] for c in clusters]),
                   np.stack([layer.down[:, c].T for c in clusters]), tokens, sizes)  # fmt: skip


def hidden_gradient(layer: FeedForward, experts: Experts, x: np.ndarray) -> np.ndarray:
    """Gradient [rows, n] at the up products of L = |moe(x) - layer(x)|^2 / 2: the loss that would train the routed layer to be the dense one."""
    rows = x[experts.tokens]
    before = experts.grouped(rows, experts.up) + experts.bias_rows()
    moe = experts.combine(experts.grouped(gelu(before), experts.down), len(x)) + layer.down_bias
    error = (moe - layer(x))[experts.tokens]
    return (experts.grouped(error, experts.down.transpose(0, 2, 1)) * gelu_slope(before)).astype(np.float32)
