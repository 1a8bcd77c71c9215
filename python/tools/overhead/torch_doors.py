"""The same call from torch: without gradients, with them, compiled; and a product right after a matmul of torch."""

import importlib.util
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import ragdot
from overhead.doors import Door, Operands, c_doors, repeated

ROUNDS, WARM = 7, 20


def torch_doors(given: Operands) -> Iterator[Door]:
    """FP8 operands come quantised, as ScaledTensors, and have no gradients. None, with a word, where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        print("no rows for torch, which is not installed: pip install .[torch]", file=sys.stderr)
        return
    import torch

    from ragdot.torch import grouped_mm

    torch.set_num_threads(given.threads)
    x, w, ends = _operand(given.lhs), _operand(given.rhs), torch.from_numpy(given.sizes.cumsum(dtype="int32"))
    yield Door("torch", "C, at once", repeated(lambda: grouped_mm(x, w, ends)))
    if isinstance(w, torch.Tensor):
        wanted = w.clone().requires_grad_()
        yield Door("torch, gradients", "C, at once", repeated(lambda: grouped_mm(x, wanted, ends)))
    plus_one, compiled, small = torch.compile(lambda z: z + 1), torch.compile(grouped_mm, fullgraph=True), torch.zeros(8, 256)
    at_once, least = next(door.seconds for door in c_doors(given) if door.name == "C, at once"), repeated(lambda: plus_one(small))
    # What any compiled function costs is torch's, not the product's. In turn: a product's weights push torch's own code and data out
    # of the caches, as they do in a compiled product.
    yield Door("C, torch's x + 1", "", lambda calls: sum(at_once(1) + least(1) for _ in range(calls)))
    yield Door("torch, compiled", "C, torch's x + 1", repeated(lambda: compiled(x, w, ends)))


def _operand(x: Any) -> Any:
    import torch

    from ragdot.torch import ScaledTensor

    if isinstance(x, ragdot.ScaledArray):
        return ScaledTensor(torch.from_numpy(x.values.view("uint8")).view(torch.float8_e4m3fn), torch.from_numpy(x.scales), x.block)
    return torch.from_numpy(x.view("int16")).view(torch.bfloat16)


def after_matmul(calls: int) -> float | None:
    """Time of a product right after a matmul, whose threads are still spinning then, over that of one among its like: bf16, 8 experts of
    64 rows, K = N = 512, on all of torch's threads. None without torch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    from ragdot.torch import grouped_mm

    x, w, ends = torch.randn(512, 512).bfloat16(), torch.randn(8, 512, 512).bfloat16(), torch.arange(64, 513, 64)
    square = torch.randn(256, 256)

    def seconds(matmul_first: bool) -> float:
        times = []
        for _ in range(WARM + calls):
            if matmul_first:
                torch.mm(square, square)
            start = time.perf_counter()
            grouped_mm(x, w, ends)
            times.append(time.perf_counter() - start)
        return statistics.median(times[WARM:])

    return statistics.median(seconds(True) / seconds(False) for _ in range(ROUNDS))
