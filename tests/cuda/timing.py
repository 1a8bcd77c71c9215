"""Times gmm and tgmm of the device half beside what PyTorch has, interleaved: python3 timing.py LIBRARY[,LIBRARY...] [JSON].
The first library is compared with everything, further ones (other builds) with its FP8 kernels.

Operands are random, larger than the second-level cache together, and every contender's result is compared with ours before it
is timed. A round times each contender once, in turn; the table has medians over rounds."""

import json
import statistics
import sys

import data
import half as device_half
import torch

E4M3, BF16, F32 = torch.float8_e4m3fn, torch.bfloat16, torch.float32
ROUNDS = 9
ROUND_MS = 6.0


def random_8_bit(shape):
    return torch.randn(shape, device="cuda", dtype=BF16).to(E4M3)


def random_scales(shape):
    return torch.rand(shape, device="cuda") + 0.5


def event_ms(run, calls):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / calls


def interleaved(contenders):
    """Medians in ms of {name: function}."""
    calls = {}
    for name, run in contenders.items():
        run()
        calls[name] = max(1, round(ROUND_MS / event_ms(run, 2)))
    times = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, run in contenders.items():
            times[name].append(event_ms(run, calls[name]))
    return {name: statistics.median(t) for name, t in times.items()}


def agrees(name, ours, theirs, limit=2e-2):
    norm = (ours.float() - theirs.float()).norm() / ours.float().norm()
    if not norm < limit:
        raise RuntimeError(f"{name} differs from ours by {norm:.3g}")


def attempt(contenders, name, make, ours=None, result=None):
    """Adds a contender that runs here and agrees; says why not otherwise."""
    try:
        run = make()
        value = run()
        torch.cuda.synchronize()
        if ours is not None:
            agrees(name, ours, result(value) if result else value)
        contenders[name] = run
    except Exception as error:  # whatever a peer does not do here is printed, not hidden
        print(f"  left out: {name}: {str(error).splitlines()[0][:150]}")


def gmm_case(halves, g, m, k, n, sizes):
    half = halves[0]
    ends = sizes.cumsum(0).to(torch.int32).cuda()
    numbers = sizes.to(torch.int32).cuda()
    a, b = random_8_bit((m, k)), random_8_bit((g, n, k))
    a_scales = random_scales((data.ceil(k, 128), m)).t()
    b_scales = random_scales((g, data.ceil(k, 128), data.ceil(n, 128)))
    contenders = {}
    out = torch.empty(m, n, dtype=BF16, device="cuda")
    ours = device_half.prepared(half, "gmm", a, b, out, numbers, a_scales, b_scales)
    contenders["ragdot fp8"] = ours
    for i, other in enumerate(halves[1:], 1):
        contenders[f"ragdot fp8, library {i}"] = device_half.prepared(other, "gmm", a, b, torch.empty_like(out), numbers, a_scales, b_scales)
    a16, b16 = a.to(BF16), b.to(BF16)
    out16 = torch.empty(m, n, dtype=BF16, device="cuda")
    contenders["ragdot bf16"] = device_half.prepared(half, "gmm", a16, b16, out16, numbers)
    contenders["ragdot bf16"]()
    attempt(contenders, "torch._grouped_mm bf16", lambda: lambda: torch._grouped_mm(a16, b16.transpose(1, 2), offs=ends), out16)
    pieces = list(zip(a16.split(sizes.tolist()), b16, out16.clone().split(sizes.tolist())))
    attempt(contenders, "cuBLAS loop bf16", lambda: lambda: [torch.mm(x, w.t(), out=o) for x, w, o in pieces if len(x)],
            out16, lambda _: torch.cat([o for _, _, o in pieces]))
    ones_m, ones_n = torch.ones(m, device="cuda"), torch.ones(g, n, device="cuda")
    attempt(contenders, "torch._scaled_grouped_mm fp8 row-wise",
            lambda: lambda: torch._scaled_grouped_mm(a, b.transpose(1, 2), ones_m, ones_n, offs=ends, out_dtype=BF16), out16)

    def blockwise_loop():
        rows = a.split(sizes.tolist())
        scales = [s.t().contiguous().t() for s in a_scales.split(sizes.tolist())]
        weights = [(w, s.t().contiguous()) for w, s in zip(b, b_scales)]
        return lambda: [torch._scaled_mm(x, w.t(), scale_a=s, scale_b=t.t(), out_dtype=BF16)
                        for x, s, (w, t) in zip(rows, scales, weights) if len(x)]

    ours()
    attempt(contenders, "cuBLASLt loop fp8 1x128 . 128x128", blockwise_loop, out, torch.cat)
    return contenders, 2.0 * m * k * n


def tgmm_case(halves, g, m, k, n, sizes):
    half = halves[0]
    ends = sizes.cumsum(0).to(torch.int32).cuda()
    numbers = sizes.to(torch.int32).cuda()
    pitch = data.ceil(m, 16) * 16
    a, b = random_8_bit((k, pitch))[:, :m], random_8_bit((n, pitch))[:, :m]
    blocks = int(sum(data.ceil(s, 128) for s in sizes.tolist()))
    a_scales, b_scales = random_scales((blocks, k)), random_scales((blocks, n))
    out = torch.empty(g, k, n, dtype=F32, device="cuda")
    contenders = {"ragdot fp8": device_half.prepared(half, "tgmm", a, b, out, numbers, a_scales, b_scales)}
    for i, other in enumerate(halves[1:], 1):
        contenders[f"ragdot fp8, library {i}"] = device_half.prepared(other, "tgmm", a, b, out, numbers, a_scales, b_scales)
    a16, b16 = a.to(BF16).t().contiguous(), b.to(BF16).t().contiguous()
    out16 = torch.empty(g, k, n, dtype=F32, device="cuda")
    contenders["ragdot bf16"] = device_half.prepared(half, "tgmm", a16, b16, out16, numbers, a_across=True, b_across=True)
    contenders["ragdot bf16"]()
    attempt(contenders, "torch._grouped_mm bf16 (bf16 out)", lambda: lambda: torch._grouped_mm(a16.t(), b16, offs=ends), out16)
    pieces = list(zip(a16.split(sizes.tolist()), b16.split(sizes.tolist()), torch.empty(g, k, n, dtype=BF16, device="cuda")))
    attempt(contenders, "cuBLAS loop bf16 (bf16 out)", lambda: lambda: [torch.mm(x.t(), y, out=o) for x, y, o in pieces if len(x)])
    return contenders, 2.0 * m * k * n


def label_of(op, g, m, k, n, kind):
    return f"{op} g={g} m={m} k={k} n={n} {kind}"


def main():
    halves = [device_half.load(path) for path in sys.argv[1].split(",")]
    generator = torch.Generator().manual_seed(3)
    print(torch.cuda.get_device_name(0), "torch", torch.__version__)
    cases = []
    for op, g, m, k, n, kind in (
        ("gmm", 8, 32768, 7168, 4096, "even"), ("gmm", 8, 32768, 7168, 4096, "uniform"),
        ("gmm", 8, 32768, 2048, 7168, "even"), ("gmm", 8, 32768, 2048, 7168, "uniform"),
        ("gmm", 32, 32768, 7168, 4096, "aligned"), ("gmm", 32, 32768, 7168, 4096, "uniform"), ("gmm", 32, 32768, 7168, 4096, "zipf"),
        ("gmm", 256, 65536, 2048, 512, "uniform"), ("gmm", 256, 65536, 512, 2048, "uniform"),
        ("tgmm", 8, 32768, 7168, 4096, "even"), ("tgmm", 8, 32768, 7168, 4096, "uniform"), ("tgmm", 8, 32768, 2048, 7168, "uniform"),
        ("tgmm", 32, 32768, 7168, 2048, "aligned"), ("tgmm", 32, 32768, 7168, 2048, "uniform"), ("tgmm", 32, 32768, 7168, 2048, "zipf"),
        ("tgmm", 256, 65536, 2048, 512, "uniform"),
    ):
        if len(sys.argv) > 3 and not label_of(op, g, m, k, n, kind).startswith(sys.argv[3]):
            continue
        sizes = data.sizes_of("uniform" if kind == "aligned" else kind, g, m, generator)
        if kind == "aligned":
            sizes = data.aligned(sizes)
        label = label_of(op, g, m, k, n, kind)
        print(label)
        contenders, flops = (gmm_case if op == "gmm" else tgmm_case)(halves, g, m, k, n, sizes)
        times = interleaved(contenders)
        for name, ms in times.items():
            ratio = ms / times["ragdot bf16"]
            print(f"  {name:38s} {ms:8.3f} ms {flops / ms / 1e9:7.0f} TFLOP/s  {ratio:5.2f} of our bf16", flush=True)
        cases.append({"case": label, "ms": times, "flops": flops})
        del contenders
        torch.cuda.empty_cache()
        if len(sys.argv) > 2 and sys.argv[2]:  # behind each case: what follows may be cut short
            with open(sys.argv[2], "w") as file:
                json.dump({"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__, "cases": cases}, file, indent=1)


if __name__ == "__main__":
    main()
