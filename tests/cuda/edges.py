"""What check.py leaves out: wrong group numbers, gaps between groups, NaN between lines, weights with groups innermost, an operand of
more than 2^32 bytes, two threads with streams of their own: python3 edges.py LIBRARY. Ends with the number of failures."""

import sys
import threading

import check
import data
import half as device_half
import torch
from check import BF16, E4M3, F32, expect

LARGE = 700_000, 7168  # rows and K: 5.0e9 bytes of FP8
TOP = 1 << 62
WRONG = {  # sizes, or starts and sizes, over 450 rows
    "negative": ([-5, 300, -(1 << 30), 100], None),
    "too many": ([300, 300, 1, 5], None),
    "huge": ([TOP, TOP, -TOP, 7], None),
    "wide": ([(1 << 32) + 300, (1 << 32) + 300, 1 << 32, 300], None),  # harmless in their low halves alone
    "descending": ([100, 100, 100, 50], [400, 200, 0, 100]),
    "beyond": ([10, 10, 10, 10], [0, 449, TOP, -TOP]),
}


def guarded(shape, dtype):
    """A result between two stretches of another number, and what tells whether they still hold it."""
    count = torch.Size(shape).numel()
    memory = torch.full((count + 2048,), 7.0, dtype=dtype, device="cuda")

    def kept():
        return bool((memory[:1024] == 7).all() and (memory[1024 + count :] == 7).all())

    return memory[1024 : 1024 + count].view(shape), kept


def gmm_operands(generator, sizes, k, n, m=None):
    m = sum(sizes) if m is None else m
    a, a_scales = data.quantised_rows(torch.randn(m, k, generator=generator, device="cuda"), E4M3)
    b, b_scales = data.quantised_squares(torch.randn(len(sizes), k, n, generator=generator, device="cuda"), E4M3)
    return a, b, a_scales, b_scales


def tgmm_operands(generator, sizes, k, n):
    counts = torch.tensor(sizes)
    pairs = [data.quantised_columns(torch.randn(sum(sizes), width, generator=generator, device="cuda"), counts, E4M3) for width in (k, n)]
    (a, a_scales), (b, b_scales) = pairs
    return a, b, a_scales, b_scales


def check_wrong_numbers(half, generator, m=450, k=272, n=136):
    """They give wrong results and no access outside the operands; compute-sanitizer looks at the reads."""
    a8, b8, rows, squares = gmm_operands(generator, [m // 4] * 4, k, n, m)
    at, bt, at_scales, bt_scales = tgmm_operands(generator, [m - 3, 1, 1, 1], k, n)  # as many scale rows as any sizes need
    a16, b16, bt16 = a8.to(BF16), b8.to(BF16), bt.to(BF16).t().contiguous()
    for what, (sizes, starts) in WRONG.items():
        sizes, starts = (None if x is None else torch.tensor(x, dtype=torch.int64).cuda() for x in (sizes, starts))
        for name, shape, arguments in (
            ("gmm-fp8", (m, n), ("gmm", a8, b8, rows, squares)), ("gmm-bf16", (m, n), ("gmm", a16, b16, None, None)),
            ("tgmm-fp8", (4, k, n), ("tgmm", at, bt, at_scales, bt_scales)), ("tgmm-bf16", (4, k, n), ("tgmm", a16, bt16, None, None)),
        ):  # fmt: skip
            op, left, right, left_scales, right_scales = arguments
            out, kept = guarded(shape, F32)
            across = {"a_across": True, "b_across": True} if name == "tgmm-bf16" else {}
            device_half.prepared(half, op, left, right, out, sizes, left_scales, right_scales, starts=starts, **across)()
            torch.cuda.synchronize()
            expect(f"{name} with {what} numbers writes its out alone", kept())


def check_gaps(half, generator, sizes=(100, 0, 37, 200), starts=(5, 120, 130, 256), m=480, k=272, n=136):
    """Rows between groups are zero, the groups those of the same rows without gaps."""
    numbers, begins = (torch.tensor(x, dtype=torch.int32).cuda() for x in (sizes, starts))
    rows = torch.cat([torch.arange(s, s + c) for s, c in zip(starts, sizes)]).cuda()
    a, b, a_scales, b_scales = gmm_operands(generator, sizes, k, n, m)
    between = torch.ones(m, dtype=torch.bool, device="cuda")
    between[rows] = False
    a.view(torch.uint8)[between] = 0x7F
    a_scales[between] = float("nan")
    out, dense = check.poisoned((m, n), F32), check.poisoned((len(rows), n), F32)
    device_half.prepared(half, "gmm", a, b, out, numbers, a_scales, b_scales, starts=begins)()
    device_half.prepared(half, "gmm", a[rows], b, dense, numbers, a_scales[rows], b_scales)()
    torch.cuda.synchronize()
    expect("gmm with gaps", check.same_bits(out[rows], dense) and check.zeros(out[between]))
    a, b, a_scales, b_scales = tgmm_operands(generator, list(sizes), k, n)
    wide = []
    for x in (a, b):
        x_wide = torch.full((len(x), m), 0x7F, dtype=torch.uint8, device="cuda")
        x_wide[:, rows] = x.view(torch.uint8)
        wide.append(x_wide.view(E4M3))
    out, dense = (check.poisoned((len(sizes), k, n), F32) for _ in range(2))
    device_half.prepared(half, "tgmm", *wide, out, numbers, a_scales, b_scales, starts=begins)()
    device_half.prepared(half, "tgmm", a, b, dense, numbers, a_scales, b_scales)()
    torch.cuda.synchronize()
    expect("tgmm with gaps", torch.equal(out, dense))


def check_padding(half, generator, sizes=(100, 30), k=272, n=136):
    """NaN behind the elements of each line, and weights stored [N, L, K], change nothing."""
    numbers = torch.tensor(sizes, dtype=torch.int32).cuda()
    a, b, a_scales, b_scales = gmm_operands(generator, sizes, k, n)

    def padded(x):
        wide = torch.full((*x.shape[:-1], k + 48), 0x7F, dtype=torch.uint8, device="cuda")
        wide[..., :k] = x.view(torch.uint8)
        return wide.view(E4M3)[..., :k]

    plain, padding, turned = (check.poisoned((sum(sizes), n), F32) for _ in range(3))
    device_half.prepared(half, "gmm", a, b, plain, numbers, a_scales, b_scales)()
    device_half.prepared(half, "gmm", padded(a), padded(b), padding, numbers, a_scales, b_scales)()
    device_half.prepared(half, "gmm", a, b.transpose(0, 1).contiguous().transpose(0, 1), turned, numbers, a_scales, b_scales)()
    torch.cuda.synchronize()
    expect("gmm with NaN between its lines", torch.equal(plain, padding))
    expect("gmm of weights with groups innermost", torch.equal(plain, turned))


def check_large(half, generator, m=LARGE[0], k=LARGE[1], n=256):
    """The last rows of operands whose offsets pass 2^32 have the bits of a small call."""
    last = 1000
    _, b, _, b_scales = gmm_operands(generator, [1], k, n)
    a = torch.randint(0, 0x70, (m, k), generator=generator, device="cuda", dtype=torch.uint8).view(E4M3)
    a_scales = torch.rand(m, data.ceil(k, 128), generator=generator, device="cuda") + 0.5
    out, small = check.poisoned((m, n), BF16), check.poisoned((last, n), BF16)
    device_half.prepared(half, "gmm", a, b, out, torch.tensor([m], dtype=torch.int64).cuda(), a_scales, b_scales)()
    device_half.prepared(half, "gmm", a[-last:], b, small, torch.tensor([last]).cuda(), a_scales[-last:], b_scales)()
    torch.cuda.synchronize()
    expect("gmm of 5 GB", torch.equal(out[-last:], small))


def check_streams(half, generator, calls=500, sizes=(40, 3, 0, 150), k=272, n=136):
    """Two threads at once, each on a stream of its own."""
    numbers = torch.tensor(sizes, dtype=torch.int32).cuda()
    results, runs = [], []
    for _ in range(2):
        a, b, a_scales, b_scales = gmm_operands(generator, sizes, k, n)
        results.append([check.poisoned((sum(sizes), n), F32) for _ in range(2)])
        runs.append([device_half.prepared(half, "gmm", a, b, out, numbers, a_scales, b_scales) for out in results[-1]])
    different = [None, None]
    torch.cuda.synchronize()

    def work(i):
        (first, out), (run_first, run) = results[i], runs[i]
        with torch.cuda.stream(torch.cuda.Stream()):
            run_first()
            wrong = 0
            for _ in range(calls):
                out.fill_(float("nan"))
                run()
                wrong += (out.view(torch.int32) != first.view(torch.int32)).any()
            different[i] = int(wrong)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect("two streams", different == [0, 0], str(different))


def main():
    half = device_half.load(sys.argv[1])
    generator = torch.Generator(device="cuda").manual_seed(9)
    check_gaps(half, generator)
    check_padding(half, generator)
    check_wrong_numbers(half, generator)
    check_streams(half, generator)
    check_large(half, generator)
    print(f"{len(check.failures)} failures")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
