"""Checks gmm and tgmm of the device half on the GPU at hand: python3 check.py LIBRARY. Ends with the number of failures."""

import sys

import data
import half as device_half
import torch

E4M3, E5M2, BF16, F32 = torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float32
# Of the sum of the magnitudes of all terms: what the matrix unit may lose (docs/numerics.md), and f32's own roundings.
FP8_LOSS = 2.0**-11
BF16_LOSS = 2.0**-18

failures = []
started = []  # names of cases, so that one that ends the process is named
worst = {}


def expect(name, passed, detail=""):
    if not passed:
        failures.append(name)
        print(f"FAILED {name} {detail}")


def within(name, out, exact, total, loss):
    """out is f32 or bf16; the bound's rounding to out's format included."""
    step = 2.0**-8 if out.dtype == BF16 else 0.0
    error = (out.double() - exact).abs()
    bound = loss * total + step * (exact.abs() + loss * total) + 1e-30
    share = (error / bound).nan_to_num(nan=float("inf")).max().item() if out.numel() else 0.0
    if out.dtype == F32 and out.numel():
        of_total = (error / total.clamp(min=1e-30)).max().item()
        key = name.split()[0]
        worst[key] = max(worst.get(key, 0.0), of_total)
    expect(name, share <= 1, f"error / bound {share:.3g}")


def same_bits(a, b):
    """Zeros are +0 in results: what is expected is made so."""
    words = torch.int16 if a.dtype == BF16 else torch.int32
    return torch.equal(a.contiguous().view(words), (b + 0).contiguous().view(words))


def zeros(x):
    return same_bits(x, torch.zeros_like(x))


def integers(shape, dtype, generator):
    return torch.randint(-3, 4, shape, generator=generator, device="cuda").to(dtype)


def scales_of(shape, generator):
    """Of any bits: a product that scales in another order gives others."""
    return torch.rand(shape, generator=generator, device="cuda") + 0.5


def poisoned(shape, dtype, pitch=None):
    """NaN, in rows that are longer than asked where a pitch is given."""
    if pitch is None:
        return torch.full(shape, float("nan"), dtype=dtype, device="cuda")
    wide = torch.full((*shape[:-1], pitch), float("nan"), dtype=dtype, device="cuda")
    return wide[..., : shape[-1]]


def check_gmm(half, generator, sizes, m, k, n, formats, out_dtype, exactly, pitch=None):
    name = f"gmm-{'fp8' if formats[0] != BF16 else 'bf16'} {formats} {out_dtype} {sizes} m={m} k={k} n={n} exactly={exactly} {pitch}"
    started.append(name)
    counts = torch.tensor(sizes)
    g = len(sizes)
    numbers = counts.to(torch.int32).cuda()
    a_scales = b_scales = None
    if formats[0] == BF16:
        make = integers if exactly else lambda s, d, q: torch.randn(s, generator=q, device="cuda").to(d)
        a, b = make((m, k), BF16, generator), make((g, n, k), BF16, generator)
    elif exactly:
        a, b = integers((m, k), formats[0], generator), integers((g, n, k), formats[1], generator)
        a_scales = scales_of((m, data.ceil(k, 128)), generator)
        b_scales = scales_of((g, data.ceil(k, 128), data.ceil(n, 128)), generator)
    else:
        a, a_scales = data.quantised_rows(torch.randn(m, k, generator=generator, device="cuda"), formats[0])
        b, b_scales = data.quantised_squares(torch.randn(g, k, n, generator=generator, device="cuda"), formats[1])
    covered = int(counts.sum())
    if covered < m and formats[0] != BF16:  # NaN behind the groups reaches nothing
        a.view(torch.uint8)[covered:] = 0x7F
        a_scales[covered:] = float("nan")
    variants = [(b, False)]
    if formats[0] == BF16:
        variants.append((b.transpose(1, 2).contiguous(), True))
    exact, total = data.gmm_exact(a[:covered], None if a_scales is None else a_scales[:covered], b, b_scales, counts)
    if exactly and a_scales is not None:
        exact = data.gmm_in_order(a[:covered], a_scales[:covered], b, b_scales, counts)
    for operand, across in variants:
        out = poisoned((m, n), out_dtype, pitch)
        device_half.prepared(half, "gmm", a, operand, out, numbers, a_scales, b_scales, b_across=across)()
        torch.cuda.synchronize()
        expect(name + " rows outside", zeros(out[covered:]))
        if exactly:
            expect(name + f" bits across={across}", same_bits(out[:covered], exact.to(out_dtype)))
        else:
            within(name + f" across={across}", out[:covered], exact, total, BF16_LOSS if formats[0] == BF16 else FP8_LOSS)
        if pitch is not None:
            expect(name + " beyond the columns", bool(out._base[:, n:].isnan().all()))


def check_tgmm(half, generator, sizes, m, k, n, formats, out_dtype, exactly, accumulate=False):
    name = f"tgmm-{'fp8' if formats[0] != BF16 else 'bf16'} {formats} {out_dtype} {sizes} m={m} k={k} n={n} exactly={exactly} {accumulate}"
    started.append(name)
    counts = torch.tensor(sizes)
    numbers = counts.to(torch.int64).cuda()
    covered = int(counts.sum())
    a_scales = b_scales = None
    pitch = data.ceil(m, 16) * 16
    if formats[0] == BF16:
        make = integers if exactly else lambda s, d, q: torch.randn(s, generator=q, device="cuda").to(d)
        a, b = make((m, k), BF16, generator), make((m, n), BF16, generator)
        a[covered:] = float("nan")
        b[covered:] = float("nan")
        along = [padded_transpose(t, pitch) for t in (a, b)]
        variants = [(a, True, b, True), (along[0], False, along[1], False), (a, True, along[1], False), (along[0], False, b, True)]
        exact, total = data.tgmm_exact(a[:covered].t(), None, b[:covered].t(), None, counts)
    else:
        blocks = sum(data.ceil(s, 128) for s in sizes)
        if exactly:
            a, b = (padded_transpose(integers((m, w), f, generator), pitch) for w, f in ((k, formats[0]), (n, formats[1])))
            a_scales = scales_of((max(blocks, 1), data.ceil(k, 4) * 4), generator)[:, :k]
            b_scales = scales_of((max(blocks, 1), n), generator)
        else:
            a, a_scales = data.quantised_columns(torch.randn(covered, k, generator=generator, device="cuda"), counts, formats[0])
            b, b_scales = data.quantised_columns(torch.randn(covered, n, generator=generator, device="cuda"), counts, formats[1])
            if covered < m:
                a, b = (torch.cat([t._base[:, :covered], torch.zeros(len(t), pitch - covered, dtype=t.dtype, device="cuda")], 1)[:, :m]
                        for t in (a, b))
        exact, total = data.tgmm_exact(a[:, :covered], a_scales, b[:, :covered], b_scales, counts)
        if exactly:
            exact = data.tgmm_in_order(a[:, :covered], a_scales, b[:, :covered], b_scales, counts)
        a.view(torch.uint8)[:, covered:] = 0x7F
        b.view(torch.uint8)[:, covered:] = 0x7F
        variants = [(a, False, b, False)]
    for left, across_a, right, across_b in variants:
        out = poisoned((len(sizes), k, n), out_dtype)
        before = None
        if accumulate:
            before = torch.randn(out.shape, generator=generator, device="cuda") if not exactly else integers(out.shape, F32, generator)
            out.copy_(before)
        device_half.prepared(half, "tgmm", left, right, out, numbers, a_scales, b_scales, a_across=across_a, b_across=across_b,
                             accumulate=accumulate)()
        torch.cuda.synchronize()
        wanted = exact if before is None else exact + before.to(exact.dtype)
        label = f"{name} across={across_a},{across_b}"
        if exactly:
            expect(label + " bits", same_bits(out, wanted.to(out_dtype)))
        else:
            within(label, out, wanted, total + (0 if before is None else before.abs()), BF16_LOSS if formats[0] == BF16 else FP8_LOSS)
        empty = counts == 0
        if empty.any() and before is None:
            expect(label + " empty groups", zeros(out[empty.cuda()]))


def padded_transpose(x, pitch):
    wide = torch.zeros(x.shape[1], pitch, dtype=x.dtype, device=x.device)
    wide[:, : x.shape[0]] = x.t()
    return wide[:, : x.shape[0]]


def check_neighbours(half, generator):
    """NaN in one group reaches no row of another group (gmm) and no other group's matrix (tgmm)."""
    sizes = [37, 150, 1, 200]
    m, k, n = sum(sizes), 256, 384
    counts = torch.tensor(sizes)
    numbers = counts.to(torch.int32).cuda()
    a, a_scales = data.quantised_rows(torch.randn(m, k, generator=generator, device="cuda"), E4M3)
    b, b_scales = data.quantised_squares(torch.randn(4, k, n, generator=generator, device="cuda"), E4M3)
    clean = poisoned((m, n), F32)
    device_half.prepared(half, "gmm", a, b, clean, numbers, a_scales, b_scales)()
    a.view(torch.uint8)[37:187] = 0x7F
    dirty = poisoned((m, n), F32)
    device_half.prepared(half, "gmm", a, b, dirty, numbers, a_scales, b_scales)()
    keep = torch.ones(m, dtype=torch.bool, device="cuda")
    keep[37:187] = False
    expect("gmm NaN stays in its rows", torch.equal(clean[keep], dirty[keep]) and bool(dirty[~keep].isnan().all()))
    expect("gmm one NaN", bool((dirty[~keep].view(torch.int32) == 0x7FC00000).all()))
    a, a_scales = data.quantised_columns(torch.randn(m, k, generator=generator, device="cuda"), counts, E4M3)
    b, b_scales = data.quantised_columns(torch.randn(m, n, generator=generator, device="cuda"), counts, E4M3)
    clean, dirty = poisoned((4, k, n), F32), poisoned((4, k, n), F32)
    device_half.prepared(half, "tgmm", a, b, clean, numbers, a_scales, b_scales)()
    a.view(torch.uint8)[:, 37:187] = 0x7F
    b.view(torch.uint8)[:, 37:187] = 0x7F
    device_half.prepared(half, "tgmm", a, b, dirty, numbers, a_scales, b_scales)()
    others = torch.tensor([0, 2, 3], device="cuda")
    expect("tgmm NaN stays in its group", torch.equal(clean[others], dirty[others]) and bool(dirty[1].isnan().all()))


def check_shards(half, generator):
    """Local groups are those of the whole call; other rows are zero or left."""
    sizes = [100, 30, 0, 270, 64]
    m, k, n = 512, 384, 256
    numbers = torch.tensor(sizes, dtype=torch.int32).cuda()
    a, a_scales = data.quantised_rows(torch.randn(m, k, generator=generator, device="cuda"), E4M3)
    b, b_scales = data.quantised_squares(torch.randn(5, k, n, generator=generator, device="cuda"), E4M3)
    whole, part, left = (poisoned((m, n), BF16) for _ in range(3))
    device_half.prepared(half, "gmm", a, b, whole, numbers, a_scales, b_scales)()
    device_half.prepared(half, "gmm", a, b[1:4], part, numbers, a_scales, b_scales[1:4], first=1, local=3)()
    device_half.prepared(half, "gmm", a, b[1:4], left, numbers, a_scales, b_scales[1:4], first=1, local=3, zero_outside=False)()
    expect("gmm shard", torch.equal(whole[100:400], part[100:400]) and bool((part[:100] == 0).all() and (part[400:] == 0).all()))
    expect("gmm shard leaves", torch.equal(whole[100:400], left[100:400]) and bool(left[:100].isnan().all() and left[400:].isnan().all()))
    plain, kept = poisoned((m, n), F32), torch.full((m, n), 7.0, device="cuda")
    device_half.prepared(half, "gmm", a, b, plain, numbers, a_scales, b_scales)()
    device_half.prepared(half, "gmm", a, b, kept, numbers, a_scales, b_scales, accumulate=True, zero_outside=False)()
    expect("gmm accumulates", torch.equal(kept[:464], plain[:464] + 7.0) and bool((kept[464:] == 7).all()))
    counts = torch.tensor(sizes)
    a, a_scales = data.quantised_columns(torch.randn(464, k, generator=generator, device="cuda"), counts, E4M3)
    b, b_scales = data.quantised_columns(torch.randn(464, n, generator=generator, device="cuda"), counts, E4M3)
    whole, part = poisoned((5, k, n), F32), poisoned((3, k, n), F32)
    device_half.prepared(half, "tgmm", a, b, whole, numbers, a_scales, b_scales)()
    device_half.prepared(half, "tgmm", a, b, part, numbers, a_scales, b_scales, first=1, local=3)()
    expect("tgmm shard", torch.equal(whole[1:4], part))
    kept = torch.full((5, k, n), 7.0, device="cuda")
    device_half.prepared(half, "tgmm", a, b, kept, numbers, a_scales, b_scales, accumulate=True)()
    expect("tgmm accumulates", torch.equal(kept, whole + 7.0))


def check_repeats(half, generator, calls=2000):
    """The same bits each time, on tiny groups, with few and with all multiprocessors, and in a graph."""
    sizes = [int(x) for x in torch.randint(0, 5, (64,), generator=torch.Generator().manual_seed(5))]
    m, k, n = sum(sizes), 512, 512
    counts = torch.tensor(sizes)
    numbers = counts.to(torch.int32).cuda()
    a, a_scales = data.quantised_rows(torch.randn(m, k, generator=generator, device="cuda"), E4M3)
    b, b_scales = data.quantised_squares(torch.randn(64, k, n, generator=generator, device="cuda"), E4M3)
    out = poisoned((m, n), BF16)
    run = device_half.prepared(half, "gmm", a, b, out, numbers, a_scales, b_scales)
    run()
    first = out.clone()
    different = torch.zeros((), dtype=torch.int64, device="cuda")
    for _ in range(calls):
        out.fill_(float("nan"))
        run()
        different += (out.view(torch.int16) != first.view(torch.int16)).any()
    expect("gmm repeats", int(different) == 0, f"{int(different)} of {calls}")
    few = poisoned((m, n), BF16)
    device_half.prepared(half, "gmm", a, b, few, numbers, a_scales, b_scales, multiprocessors=10)()
    expect("gmm on ten multiprocessors", torch.equal(few, first))
    a, a_scales = data.quantised_columns(torch.randn(m, k, generator=generator, device="cuda"), counts, E4M3)
    b, b_scales = data.quantised_columns(torch.randn(m, n, generator=generator, device="cuda"), counts, E4M3)
    wide = poisoned((64, k, n), F32)
    run = device_half.prepared(half, "tgmm", a, b, wide, numbers, a_scales, b_scales)
    run()
    first = wide.clone()
    different.zero_()
    for _ in range(calls // 4):
        wide.fill_(float("nan"))
        run()
        different += (wide.view(torch.int32) != first.view(torch.int32)).any()
    expect("tgmm repeats", int(different) == 0, f"{int(different)} of {calls // 4}")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    wide.fill_(float("nan"))
    graph.replay()
    expect("tgmm in a graph", torch.equal(wide, first))


def probe(half):
    """How many bits the matrix unit keeps: 2^16 and 2^(16 - t) in one instruction, and in two after each other."""
    k, n, rows = 128, 128, 32
    numbers = torch.tensor([rows], dtype=torch.int32).cuda()
    one = torch.ones(rows, 1, device="cuda"), torch.ones(1, 1, 1, device="cuda")
    for label, second in (("one instruction", 1), ("the next instruction", 32), ("two halves of it, one instruction", (1, 2))):
        a = torch.zeros(rows, k, device="cuda")
        b = torch.zeros(1, n, k, device="cuda")
        a[:, 0] = b[:, :, 0] = 256
        places = second if isinstance(second, tuple) else (second,)
        a[:, list(places)] = torch.tensor([2.0 ** (8 - t - (len(places) - 1)) if t <= 17 - len(places) else 0 for t in range(rows)],
                                          device="cuda")[:, None]
        b[:, :, list(places)] = 256
        out = torch.zeros(rows, n, device="cuda")
        device_half.prepared(half, "gmm", a.to(E4M3), b.to(E4M3), out, numbers, *one)()
        added = (out[:, 0].double() - 65536).cpu()
        kept = [t for t in range(16) if added[t] == 2.0 ** (16 - t)]
        print(f"probe, {label}: 2^(16 - t) beside 2^16 is kept for t in {kept}; others give {[(t, added[t].item()) for t in range(16) if t not in kept]}")


def main():
    half = device_half.load(sys.argv[1])
    generator = torch.Generator(device="cuda").manual_seed(7)
    family = [[256, 128], [1], [0, 130, 0, 1, 17], [300, 5, 0, 129], [3, 127, 128, 129, 255, 64]]
    family += [[1100, 3, 0, 940], [0, 1030]]  # gmm in tiles of 192 rows: 512 rows a group and more
    for exactly in (True, False):
        for sizes in family:
            for out_dtype in (BF16, F32):
                for formats in ((E4M3, E4M3), (E5M2, E4M3), (E4M3, E5M2), (E5M2, E5M2), (BF16, BF16)):
                    m = sum(sizes) + 7
                    check_gmm(half, generator, sizes, m, 512, 384, formats, out_dtype, exactly)
                    check_tgmm(half, generator, sizes, m, 256, 384, formats, out_dtype, exactly)
    for k, n in ((16, 8), (144, 72), (2880, 200), (112, 130), (48, 257)):
        for formats in ((E4M3, E4M3), (BF16, BF16)):
            for exactly in (True, False):
                check_gmm(half, generator, [300, 5, 0, 129], 450, k, n if formats[0] == E4M3 else n // 8 * 8, formats, F32, exactly)
                check_gmm(half, generator, [300, 5, 0, 129], 450, k, n if formats[0] == E4M3 else n // 8 * 8, formats, BF16, exactly, pitch=n // 8 * 8 + 24)
                wide = n if formats[0] == E4M3 else n // 8 * 8
                check_tgmm(half, generator, [300, 5, 0, 129], 450, k, wide, formats, F32, exactly)
                check_tgmm(half, generator, [300, 5, 0, 129], 450, k, wide, formats, F32, exactly, accumulate=True)
    check_neighbours(half, generator)
    check_shards(half, generator)
    check_repeats(half, generator, int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
    probe(half)
    for name, share in worst.items():
        print(f"{name}: worst error of f32 results {share:.3g} of the sum of magnitudes = 2^{torch.tensor(share).log2().item():.2f}")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        print(f"ended by {started[-1]}, case {len(started)}")
        raise
