"""Checks ragdot.torch on the GPU at hand: python3 python/tools/gpu/torch_check.py. Prints a table, ends with 1 where a check fails.

RAGDOT_LIBRARY names libragdot.so, beside which libragdot_cuda.so lies; python/ is on PYTHONPATH. Takes about 20 s. docs/cuda.md.
"""

import sys
import time
from collections.abc import Callable

import torch
from checks import Failed, run

import ragdot.torch as rt
from ragdot._library import LIBRARY
from ragdot.torch import _operators as ops

DEVICE = "cuda"
BF16, F32, F64 = torch.bfloat16, torch.float32, torch.float64
ROWS, COLUMNS, SQUARES = [1, 128, 0], [128, 1, 0], [128, 128, 0]
WORDS = "e4m3", "absmax", "f32"
# Of the sum of the magnitudes of a result's terms: what the matrix unit loses, and f32's own roundings.
LOSS = {8: 2.0**-11, 16: 2.0**-18}
CASES = [  # sizes of groups, rows behind them, K, N
    ([1], 0, 128, 128),
    ([0, 5, 0], 2, 16, 16),
    ([70, 0, 59, 1, 40], 2, 140, 136),
    ([3, 130, 128, 127, 257], 7, 129, 3),
    ([300, 1, 0, 511, 212], 0, 512, 384),
    ([777, 1291, 0, 2028], 100, 1024, 768),
]


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def ends_of(sizes: list[int], dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(sizes).cumsum(0).to(DEVICE, dtype)


def ranges(sizes: list[int]) -> list[slice]:
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes)]


def spread(scales: torch.Tensor, axis: int, block: int, extent: int) -> torch.Tensor:
    return scales.double().repeat_interleave(block, axis).narrow(axis, 0, extent)


def real(values: torch.Tensor, scales: torch.Tensor | None, grid: list[int], sizes: list[int]) -> torch.Tensor:
    """values * scales in float64; rows outside the groups of group-wise scales are 0."""
    if scales is None:
        return values.double()
    scales = spread(scales, -1, grid[1], values.shape[-1])
    if not grid[2]:
        return values.double() * spread(scales, -2, grid[0], values.shape[-2])
    result, at = torch.zeros(values.shape, dtype=F64, device=DEVICE), 0
    for rows in ranges(sizes):
        size = rows.stop - rows.start
        count = -(-size // grid[0])
        result[rows] = values[rows].double() * spread(scales[at : at + count], 0, grid[0], size)
        at += count
    return result


def multiplied(x: torch.Tensor, w: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    parts = [x[rows] @ w[g] for g, rows in enumerate(ranges(sizes))]
    return torch.cat([*parts, x.new_zeros(len(x) - sum(sizes), w.shape[2])])


def summed(x: torch.Tensor, y: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    return torch.stack([x[rows].T @ y[rows] for rows in ranges(sizes)])


def within(what: str, found: torch.Tensor, function: Callable, a: torch.Tensor, b: torch.Tensor, bits: int) -> float:
    """Largest error in parts of what is allowed."""
    exact, total = function(a, b), function(a.abs(), b.abs())
    step = 2.0**-8 if found.dtype == BF16 else 2.0**-23
    bound = LOSS[bits] * total + step * (exact.abs() + LOSS[bits] * total) + 1e-30
    if not found.numel():
        return 0.0
    part = ((found.double() - exact).abs() / bound).nan_to_num(nan=float("inf")).max().item()
    expect(part <= 1, f"{what}: error is {part:.3g} of what is allowed")
    return part


def check_quantisers() -> str:
    """Bytes and scales of the CPU's calls."""
    count = 0
    for dtype in (BF16, F32):
        for sizes, behind, k, n in CASES:
            x, w, ends = normal(sum(sizes) + behind, k, dtype=dtype), normal(len(sizes), k, n, dtype=dtype), ends_of(sizes)
            blocks = sum(-(-size // 128) for size in sizes)
            for scaling in ("absmax", "pow2", "mx"):
                words = "e4m3", scaling, "f32"
                for name, operator, given, used, tensor in (
                    ("both", ops.quantize_both, (ends, ROWS, COLUMNS), (sum(sizes), blocks), x),
                    ("squares both ways", ops.quantize_both, (None, SQUARES, SQUARES), (None, None), w),
                    ("columns", ops.quantize_turned, (ends, COLUMNS), (blocks,), x),
                    ("rows", ops.quantize, (None, ROWS), (None,), x),
                    ("squares", ops.quantize, (None, SQUARES), (None,), w),
                ):
                    found = [z.cpu() for z in operator(tensor, *given, *words)]
                    wanted = operator(tensor.cpu(), *(None if z is None else z.cpu() if isinstance(z, torch.Tensor) else z for z in given), *words)
                    for i, scale_rows in enumerate(used):
                        where = f"{name} {dtype} {scaling} {sizes} {k}x{n}, copy {i}"
                        (a, a_scales), (b, b_scales) = ((z[2 * i], z[2 * i + 1][..., :scale_rows, :]) for z in (found, wanted))
                        expect(torch.equal(a.view(torch.uint8), b.view(torch.uint8)), f"{where}: bytes differ from the CPU's")
                        expect(torch.equal(a_scales, b_scales), f"{where}: scales differ from the CPU's")
                        count += 1
    return f"{count} copies with the CPU's bits"


def check_places() -> str:
    """Groups of the second copy at multiples of 16 rows, with the bytes and scales of a copy without gaps."""
    for sizes, behind, k, _ in CASES:
        for index in (torch.int32, torch.int64):
            x, ends = normal(sum(sizes) + behind, k), ends_of(sizes, index)
            rows, row_scales, values, scales, places = ops.quantize_both_placed(x, ends, ROWS, COLUMNS, *WORDS)
            wanted = ops.quantize_both(x, ends, ROWS, COLUMNS, *WORDS)
            starts, counts = places.tolist()
            expect(places.dtype == index and counts == sizes and not any(start % 16 for start in starts), f"{sizes}: places are {starts}, {counts}")
            parts = [values[start : start + size] for start, size in zip(starts, sizes)]
            blocks = sum(-(-size // 128) for size in sizes)
            covered = sum(sizes)
            pairs = (
                (rows, wanted[0]),
                (row_scales[:covered], wanted[1][:covered]),
                (torch.cat([part.view(torch.uint8) for part in parts]), wanted[2][:covered]),
                (scales[:blocks], wanted[3][:blocks]),
            )
            for i, (a, b) in enumerate(pairs):
                expect(torch.equal(*(z.contiguous().view(torch.uint8) for z in (a, b))), f"{sizes} x {k}: tensor {i} differs from quantize_both's")
    return f"{len(CASES)} problems, both index types"


def check_products() -> str:
    """gmm, the gradient of x, tgmm, of FP8 and of bf16, against float64."""
    worst, count = 0.0, 0
    for sizes, behind, k, n in CASES:
        m, ends = sum(sizes) + behind, ends_of(sizes, torch.int64)
        x, w, dy = normal(m, k), normal(len(sizes), k, n, seed=1), normal(m, n, seed=2)
        x[sum(sizes) :], dy[sum(sizes) :] = torch.nan, torch.nan
        row_x, row_x_scales, col_x, col_x_scales = ops.quantize_both(x, ends, ROWS, COLUMNS, *WORDS)
        row_dy, row_dy_scales, col_dy, col_dy_scales = ops.quantize_both(dy, ends, ROWS, COLUMNS, *WORDS)
        along_n, w_scales, along_k, _ = ops.quantize_both(w, None, SQUARES, SQUARES, *WORDS)
        at_places = [ops.quantize_both_placed(z, ends, ROWS, COLUMNS, *WORDS) for z in (x, dy)]
        by_group = [[*ROWS[:2], 1], [*COLUMNS[:2], 1]]
        for dtype in (BF16, F32):
            def gmm(lhs, rhs, lhs_scales=None, rhs_scales=None, grids=(0,) * 6, dtype=dtype, ends=ends):
                return ops.gmm_general(lhs, rhs, ends, lhs_scales, rhs_scales, list(grids), None, 0, dtype)

            def tgmm(lhs, rhs, lhs_scales=None, rhs_scales=None, grids=(0,) * 6, order=(0, 1, 2), dtype=dtype, ends=ends):
                return ops.tgmm(lhs, rhs, ends, lhs_scales, rhs_scales, list(grids), 0, len(ends), dtype, list(order))

            columns = [*by_group[1], *by_group[1]]
            clean_x, clean_dy = (torch.cat([z[: sum(sizes)], torch.zeros_like(z[sum(sizes) :])]) for z in (x, dy))
            results = [
                ("gmm fp8", gmm(row_x, along_k, row_x_scales, w_scales, [*by_group[0], *SQUARES]), multiplied, 8,
                 real(row_x, row_x_scales, by_group[0], sizes), real(along_k, w_scales, SQUARES, sizes)),
                ("dlhs fp8", gmm(row_dy, along_n.mT, row_dy_scales, w_scales.mT, [*by_group[0], *SQUARES]), multiplied, 8,
                 real(row_dy, row_dy_scales, by_group[0], sizes), real(along_n, w_scales, SQUARES, sizes).mT),
                ("tgmm fp8", tgmm(col_x, col_dy, col_x_scales, col_dy_scales, columns), summed, 8,
                 real(col_x, col_x_scales, by_group[1], sizes), real(col_dy, col_dy_scales, by_group[1], sizes)),
                ("tgmm fp8 placed", ops.tgmm(at_places[0][2], at_places[1][2], at_places[0][4], at_places[0][3], at_places[1][3], columns, 0,
                                             len(sizes), dtype, [0, 1, 2]), summed, 8,
                 real(col_x, col_x_scales, by_group[1], sizes), real(col_dy, col_dy_scales, by_group[1], sizes)),
                ("tgmm fp8 stored [L, N, K]", tgmm(col_x, col_dy, col_x_scales, col_dy_scales, columns, (0, 2, 1)), summed, 8,
                 real(col_x, col_x_scales, by_group[1], sizes), real(col_dy, col_dy_scales, by_group[1], sizes)),
                ("gmm bf16", gmm(x, w), multiplied, 16, clean_x.double(), w.double()),
                ("gmm bf16 stored [L, N, K]", gmm(x, w.mT.contiguous().mT), multiplied, 16, clean_x.double(), w.double()),
                ("dlhs bf16", gmm(dy, w.mT), multiplied, 16, clean_dy.double(), w.double().mT),
                ("tgmm bf16", tgmm(x, dy), summed, 16, clean_x.double(), clean_dy.double()),
            ]  # fmt: skip
            for name, found, function, bits, a, b in results:
                where = f"{name} {dtype} {sizes} {k}x{n}"
                worst = max(worst, within(where, found, lambda p, q, function=function, sizes=sizes: function(p, q, sizes), a, b, bits))
                if function is multiplied:
                    expect(not found[sum(sizes) :].any(), f"{where}: rows behind the last group")
                else:
                    expect(not any(found[g].any() for g, size in enumerate(sizes) if size == 0), f"{where}: empty groups")
                count += 1
        sum_of = torch.ones(len(sizes), n, k, device=DEVICE)
        ops.tgmm_add(col_x, col_dy, ends, col_x_scales, col_dy_scales, columns, 0, sum_of.mT)
        once = ops.tgmm(col_x, col_dy, ends, col_x_scales, col_dy_scales, columns, 0, len(sizes), F32, [0, 2, 1])
        expect(torch.allclose(sum_of.mT, once + 1, rtol=1e-5, atol=1e-4), f"tgmm_add {sizes} {k}x{n}")
    return f"{count} products, the worst error {worst:.2f} of what is allowed"


def step(layer: torch.nn.Module, x: torch.Tensor, ends: torch.Tensor, dy: torch.Tensor) -> list[torch.Tensor]:
    """Result, gradient of x, gradient of the weight."""
    layer.zero_grad()
    leaf = x.detach().clone().requires_grad_()
    y = layer(leaf, ends)
    y.backward(dy)
    return [y.detach(), leaf.grad, layer.weight.grad]


def linear(sizes: list[int], k: int, n: int, recipe: str, dtype: torch.dtype = BF16) -> rt.GroupedLinear:
    torch.manual_seed(0)
    layer = rt.GroupedLinear(len(sizes), k, n, recipe=recipe, dtype=dtype)
    return layer.to(DEVICE)


def check_gradients() -> str:
    """GroupedLinear in FP8 and in bf16 beside float64 of the same numbers."""
    worst = {"bf16": 0.0, "blockwise": 0.0}
    for sizes, behind, k, n in CASES[2:]:
        m, ends = sum(sizes) + behind, ends_of(sizes)
        for dtype in (BF16, F32):
            x, dy = normal(m, k, dtype=dtype), normal(m, n, seed=2, dtype=dtype)
            for recipe, allowed in (("bf16", 0.006), ("blockwise", 0.06)):
                layer = linear(sizes, k, n, recipe, dtype)
                w = layer.weight.detach().double().mT
                exact = [multiplied(x.double(), w, sizes), multiplied(dy.double(), w.mT, sizes), summed(x.double(), dy.double(), sizes).mT]
                for name, found, wanted in zip(("y", "dx", "dw"), step(layer, x, ends, dy), exact):
                    expect(found.dtype == dtype, f"{name} is {found.dtype}")
                    error = ((found.double() - wanted).norm() / wanted.norm()).item()
                    expect(error < allowed, f"{recipe} {dtype} {sizes} {k}x{n}: {name} is {error:.4f} off")
                    worst[recipe] = max(worst[recipe], error)
    return ", ".join(f"{recipe} {error:.4f} off" for recipe, error in worst.items()) + " (Frobenius norm)"


def check_strides() -> str:
    """Memory that no kernel takes is copied: the same bits."""
    sizes, _, k, n = CASES[4]
    x, w, ends = normal(sum(sizes), k), normal(len(sizes), k, n), ends_of(sizes)
    for recipe in ("blockwise", "bf16"):
        plain = rt.grouped_mm(x, w, ends, recipe=recipe)
        for how in (lambda z: torch.cat([z, z[..., :1]], -1)[..., :-1], lambda z: z.mT.contiguous().mT,
                    lambda z: z.repeat_interleave(2, -1)[..., ::2]):  # fmt: skip
            expect(torch.equal(rt.grouped_mm(how(x), how(w), ends, recipe=recipe), plain), f"{recipe}: other strides give other bits")
    return "3 ways to lie in memory, the same bits"


def check_no_waits() -> str:
    """Forward and backward neither wait for the device nor read from it, on a stream of their own."""
    sizes, behind, k, n = CASES[2]
    layer, x, ends, dy = linear(sizes, k, n, "blockwise"), normal(172, k), ends_of(sizes), normal(172, n, seed=2)
    wanted = step(layer, x, ends, dy)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            found = step(layer, x, ends, dy)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    expect(all(torch.equal(a, b) for a, b in zip(found, wanted)), "another stream gives other bits")
    return "no wait, the same bits on another stream"


def check_graph() -> str:
    """A captured step, replayed with other numbers and other groups, gives an eager step's bits."""
    sizes, behind, k, n = CASES[4]
    m = sum(sizes)
    for recipe in ("blockwise", "bf16"):
        layer, x, ends, dy = linear(sizes, k, n, recipe), normal(m, k).requires_grad_(), ends_of(sizes), normal(m, n, seed=2)

        def run(layer=layer, x=x, ends=ends, dy=dy):
            layer.weight.grad = x.grad = None
            y = layer(x, ends)
            y.backward(dy)
            return y

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        layer.weight.grad = x.grad = None
        with torch.cuda.graph(graph):
            y = run()
        captured = [y, x.grad, layer.weight.grad]
        for seed, other in ((5, [0, 100, 613, 1, 310]), (6, [m, 0, 0, 0, 0]), (7, sizes)):
            with torch.no_grad():
                x.copy_(normal(m, k, seed=seed))
                ends.copy_(ends_of(other))
                layer.weight.mul_(1.25)
            graph.replay()
            torch.cuda.synchronize()
            found = [z.detach().clone() for z in captured]
            wanted = step(layer, x, ends, dy)
            for name, a, b in zip(("y", "dx", "dw"), found, wanted):
                expect(torch.equal(a, b), f"{recipe}: {name} of the graph differs from an eager step's for groups {other}")
            layer.weight.grad, x.grad = captured[2], captured[1]
    return "forward and backward replayed with other weights and groups, the same bits"


def check_training() -> str:
    """A Mixture of Experts learns a fixed map in FP8 as in bf16."""
    ends = {}
    for recipe in ("bf16", "blockwise"):
        torch.manual_seed(0)
        module = rt.MoE(128, 256, 8, 2, recipe=recipe, dtype=BF16).to(DEVICE)
        optimizer = torch.optim.Adam(module.parameters(), lr=2e-3)
        x = normal(512, 128)
        target = (x.float() @ normal(128, 128, seed=3, dtype=F32) / 128**0.5).tanh()
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = (module(x).float() - target).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        losses = torch.stack(losses).tolist()
        expect(losses[-1] < 0.7 * losses[0], f"{recipe}: loss went from {losses[0]:.4f} to {losses[-1]:.4f}")
        ends[recipe] = losses[0], losses[-1]
    expect(abs(ends["blockwise"][1] / ends["bf16"][1] - 1) < 0.25, f"FP8 ends at {ends['blockwise'][1]:.4f}, bf16 at {ends['bf16'][1]:.4f}")
    return ", ".join(f"{recipe} {first:.3f} -> {last:.3f}" for recipe, (first, last) in ends.items()) + " in 40 steps"


def check_compiled() -> str:
    """torch.compile traces it whole; the same bits."""
    sizes, behind, k, n = CASES[2]
    x, w, ends = normal(172, k).requires_grad_(), normal(len(sizes), k, n).requires_grad_(), ends_of(sizes)

    def function(x, w, ends):
        return rt.grouped_mm(x, w, ends, recipe="blockwise")

    results = []
    for call in (function, torch.compile(function, fullgraph=True, backend="aot_eager")):
        x.grad = w.grad = None
        y = call(x, w, ends)
        y.float().square().sum().backward()
        results.append([y.detach(), x.grad, w.grad])
    expect(all(torch.equal(a, b) for a, b in zip(*results)), "compiled gives other bits")
    return "traced whole, the same bits"


def check_errors() -> str:
    x, w, ends = normal(128, 128), normal(2, 128, 128), ends_of([64, 64])
    cases = [
        (NotImplementedError, "gmm: bias is not offered on the GPU", lambda: rt.grouped_mm(x, w, ends, normal(2, 128))),
        (NotImplementedError, "gmm: lhs f32 with rhs f32 is not offered on the GPU", lambda: rt.grouped_mm(x.float(), w.float(), ends)),
        (NotImplementedError, "on the GPU it is 1x128, 128x1 or 128x128", lambda: rt.grouped_mm(x, w, ends, recipe="channelwise")),
        (NotImplementedError, "scales are e8m0", lambda: rt.grouped_mm(x, w, ends, recipe="mx")),
        (NotImplementedError, "out is f16", lambda: rt.grouped_mm(x, w, ends, out_dtype=torch.float16)),
        (NotImplementedError, "dequantize: not offered on the GPU", lambda: rt.quantize(x, (1, 128)).dequantize()),
        (ValueError, "x is on cuda:0, w on cpu, offs on cuda:0", lambda: rt.grouped_mm(x, w.cpu(), ends)),
        (ValueError, "x is on cuda:0, w on cuda:0, offs on cpu", lambda: rt.grouped_mm(x, w, ends.cpu())),
        (ValueError, "gmm: lhs is on cpu, rhs is on cuda:0, ends is on cuda:0", lambda: ops.gmm(x.cpu(), w, ends)),
        (ValueError, "gmm: lhs is on cuda:0, rhs is on cuda:0, ends is on cpu", lambda: ops.gmm(x, w, ends.cpu())),
        (ValueError, "inner sizes differ", lambda: ops.gmm(x, w[:, :64], ends)),
    ]  # fmt: skip
    for kind, sentence, call in cases:
        try:
            call()
        except kind as error:
            expect(sentence in str(error), f"{kind.__name__} says {error}, not {sentence}")
        else:
            raise Failed(f"no {kind.__name__}: {sentence}")
    torch.cuda.synchronize()
    return f"{len(cases)} refused by their sentences"


def check_time() -> str:
    """Not a bar: what a step takes beside torch's, and what a call costs the caller."""
    sizes, k, n = [1024] * 8, 2048, 2048
    x, ends, dy = normal(sum(sizes), k).requires_grad_(), ends_of(sizes), normal(sum(sizes), n, seed=2)
    layer = linear(sizes, k, n, "blockwise")
    weight = layer.weight.detach().clone().requires_grad_()

    def ours():
        layer(x, ends).backward(dy)

    def theirs():
        torch._grouped_mm(x, weight.mT, offs=ends).backward(dy)

    times = {}
    for name, call in (("FP8", ours), ("torch bf16", theirs)):
        try:
            for _ in range(5):
                call()
        except (RuntimeError, NotImplementedError):
            if call is ours:
                raise
            continue  # a torch without it
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        for _ in range(20):
            call()
        end.record()
        torch.cuda.synchronize()
        times[name] = begin.elapsed_time(end) / 20
    small, small_w, small_ends = normal(16, 128), normal(2, 128, 128), ends_of([8, 8])
    with torch.no_grad():
        for _ in range(20):
            rt.grouped_mm(small, small_w, small_ends)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(200):
            rt.grouped_mm(small, small_w, small_ends)
        host = (time.perf_counter() - start) / 200 * 1e6
        torch.cuda.synchronize()
    steps = ", ".join(f"{name} {t:.3f} ms" for name, t in times.items())
    return f"8 x 1024 x {k} x {n}, a step: {steps}; a call takes the caller {host:.0f} us"


CHECKS = [check_quantisers, check_places, check_products, check_gradients, check_strides, check_no_waits, check_graph, check_training,
          check_compiled, check_errors, check_time]  # fmt: skip


def main() -> int:
    if not torch.cuda.is_available():
        print("torch finds no GPU")
        return 1
    torch.zeros(1, device=DEVICE)
    if why := LIBRARY.ragdot_cuda_refusal():
        print(why.decode())
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    return 1 if run(CHECKS) else 0


if __name__ == "__main__":
    sys.exit(main())
