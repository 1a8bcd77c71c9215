"""Operands for the GPU's checks and timings: random, quantised in plain torch, with references in float64."""

import torch

BLOCK = 128


def sizes_of(kind, groups, rows, generator):
    """Group sizes that sum to rows: even, zipf (exponent 1.1, shuffled), uniform (multinomial)."""
    if kind == "even":
        sizes = torch.full((groups,), rows // groups)
        sizes[: rows % groups] += 1
        return sizes
    weights = torch.ones(groups, dtype=torch.float64)
    if kind == "zipf":
        weights = 1 / torch.arange(1, groups + 1, dtype=torch.float64) ** 1.1
        weights = weights[torch.randperm(groups, generator=generator)]
    counts = (weights / weights.sum() * rows).floor().long()
    if kind == "uniform":
        draws = torch.multinomial(weights, rows, replacement=True, generator=generator)
        return torch.bincount(draws, minlength=groups)
    counts[counts.argmax()] += rows - counts.sum()
    return counts


def aligned(sizes, to=BLOCK):
    """The same sizes rounded to multiples, with the same sum where that divides."""
    rounded = (sizes // to) * to
    missing = int(sizes.sum() - rounded.sum()) // to
    order = (sizes - rounded).argsort(descending=True)
    rounded[order[:missing]] += to
    return rounded


def ceil(a, b):
    return -(-a // b)


def padded(x, axis, to):
    """x with zeros behind it on an axis until that is a multiple."""
    missing = -x.shape[axis] % to
    if missing == 0:
        return x
    shape = list(x.shape)
    shape[axis] = missing
    return torch.cat([x, x.new_zeros(shape)], axis)


def limit(dtype):
    return torch.finfo(dtype).max


def quantised_rows(x, dtype):
    """1 x 128: values [M, K] and scales [M, ceil(K / 128)]."""
    m, k = x.shape
    tiles = padded(x.float(), 1, BLOCK).view(m, -1, BLOCK)
    scales = (tiles.abs().amax(2) / limit(dtype)).clamp(min=2.0**-126)
    return (tiles / scales[..., None]).view(m, -1)[:, :k].contiguous().to(dtype), scales


def quantised_squares(x, dtype):
    """128 x 128 of [L, K, N]: values as [L, N, K], scales [L, ceil(K / 128), ceil(N / 128)]."""
    batch, k, n = x.shape
    tiles = padded(padded(x.float(), 1, BLOCK), 2, BLOCK)
    kb, nb = tiles.shape[1] // BLOCK, tiles.shape[2] // BLOCK
    tiles = tiles.view(batch, kb, BLOCK, nb, BLOCK)
    scales = (tiles.abs().amax((2, 4)) / limit(dtype)).clamp(min=2.0**-126)
    values = (tiles / scales[:, :, None, :, None]).view(batch, kb * BLOCK, nb * BLOCK)[:, :k, :n]
    return values.transpose(1, 2).contiguous().to(dtype), scales.contiguous()


def quantised_columns(x, sizes, dtype):
    """128 rows of a group x 1: values as [K, M] with a pitch of a multiple of 16, scales [blocks of all groups, K]."""
    m, k = x.shape
    values = torch.zeros(k, ceil(m, 16) * 16, dtype=dtype, device=x.device)
    scales = []
    row = 0
    for size in sizes.tolist():
        part = padded(x[row : row + size].float(), 0, BLOCK)
        tiles = part.view(-1, BLOCK, k)
        scale = (tiles.abs().amax(1) / limit(dtype)).clamp(min=2.0**-126)
        scales.append(scale)
        values[:, row : row + size] = (tiles / scale[:, None]).view(-1, k)[:size].to(dtype).t()
        row += size
    return values[:, :m], torch.cat(scales) if scales else torch.zeros(0, k, device=x.device)


def spread(scales, block, axis, extent):
    """One scale for each element of an axis."""
    return scales.repeat_interleave(block, axis).narrow(axis, 0, extent)


def gmm_exact(a, a_scales, b, b_scales, sizes):
    """In float64: the product, and the sum of the magnitudes of its terms. b is [L, N, K]."""
    m, k = a.shape
    n = b.shape[1]
    left = a.double()
    if a_scales is not None:
        left = left * spread(a_scales, BLOCK, 1, k).double()
    exact = torch.zeros(m, n, dtype=torch.float64, device=a.device)
    total = torch.zeros_like(exact)
    row = 0
    for g, size in enumerate(sizes.tolist()):
        right = b[g].double().t()
        if b_scales is not None:
            right = right * spread(spread(b_scales[g], BLOCK, 0, k), BLOCK, 1, n).double()
        part = left[row : row + size]
        exact[row : row + size] = part @ right
        total[row : row + size] = part.abs() @ right.abs()
        row += size
    return exact, total


def segments(x):
    """[rows, K] cut along K into [B, rows, 128], zeros behind, in float64."""
    return padded(x.double(), 1, BLOCK).unflatten(1, (-1, BLOCK)).transpose(0, 1)


def scaled_in_order(terms, rows, cols):
    """acc = fma(row scale * column scale, term, acc), each step rounded to float32; for terms that are exact and of few bits, as those
    of small integers are. terms [B, M, N] in float64, rows [B, M] and cols [B, N] of scales; float32 [M, N]."""
    acc = torch.zeros(terms.shape[1:], device=terms.device)
    for term, row, col in zip(terms, rows, cols):
        acc = ((row[:, None] * col[None]).double() * term + acc.double()).float()
    return acc


def gmm_in_order(a, a_scales, b, b_scales, sizes):
    """The bits that blockwise gmm promises where all sums of a segment are exact. b is [L, N, K]."""
    m, k = a.shape
    n = b.shape[1]
    out = torch.zeros(m, n, device=a.device)
    row = 0
    for g, size in enumerate(sizes.tolist()):
        terms = segments(a[row : row + size]) @ segments(b[g]).mT
        out[row : row + size] = scaled_in_order(terms, a_scales[row : row + size].t(), spread(b_scales[g], BLOCK, 1, n))
        row += size
    return out


def tgmm_in_order(a, a_scales, b, b_scales, sizes):
    """Those of blockwise tgmm; a is [K, M], b is [N, M]."""
    out = torch.zeros(len(sizes), a.shape[0], b.shape[0], device=a.device)
    row, block = 0, 0
    for g, size in enumerate(sizes.tolist()):
        blocks = ceil(size, BLOCK)
        terms = segments(a[:, row : row + size]) @ segments(b[:, row : row + size]).mT
        out[g] = scaled_in_order(terms, a_scales[block : block + blocks], b_scales[block : block + blocks])
        row += size
        block += blocks
    return out


def tgmm_exact(a, a_scales, b, b_scales, sizes):
    """In float64; a is [K, M], b is [N, M]."""
    k, n = a.shape[0], b.shape[0]
    exact = torch.zeros(len(sizes), k, n, dtype=torch.float64, device=a.device)
    total = torch.zeros_like(exact)
    row, block = 0, 0
    for g, size in enumerate(sizes.tolist()):
        left = a[:, row : row + size].double()
        right = b[:, row : row + size].double()
        if a_scales is not None:
            blocks = ceil(size, BLOCK)
            left = left * spread(a_scales[block : block + blocks].t(), BLOCK, 1, size).double()
            right = right * spread(b_scales[block : block + blocks].t(), BLOCK, 1, size).double()
            block += blocks
        exact[g] = left @ right.t()
        total[g] = left.abs() @ right.abs().t()
        row += size
    return exact, total
