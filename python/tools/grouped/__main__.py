"""python -m grouped: ragdot.torch.grouped_mm in FP8 beside torch._grouped_mm in bf16, at the sizes of the presets `seed` and `decode`.

Eight experts, 256 rows each: w0 (K = 2048, N = 512) and wo (K = 512, N = 2048); 32 experts, few rows each (K = 2048, N = 1408); and a step
of training, forward and backward, of eight experts (K = 2048, N = 1408). Weights are stored [G, N, K] as layers store them. Results are
checked before any is timed; the contenders take turns within one process.
"""

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from contest import Contender, measure, table
from ragdot.torch import GroupedLinear, ScaledTensor, grouped_mm, quantize

PEER = "torch bf16"


@dataclass(frozen=True)
class Case:
    """x [experts * rows, inner] by w [experts, inner, outer]; `anew`: also with weights that are quantised in every call; `step`: with
    gradients of both."""

    name: str
    inner: int
    outer: int
    rows: int
    experts: int
    anew: bool = True
    step: bool = False

    def flops(self) -> int:
        """Of a call."""
        return 2 * self.experts * self.rows * self.inner * self.outer * (3 if self.step else 1)


CASES = (Case("w0", 2048, 512, 256, 8), Case("wo", 512, 2048, 256, 8),
         *(Case(f"decode{rows}", 2048, 1408, rows, 32, anew=False) for rows in (1, 4, 16)),
         *(Case(f"step{rows}", 2048, 1408, rows, 8, step=True) for rows in (256, 1024)))  # fmt: skip


def _real(x: ScaledTensor) -> torch.Tensor:
    return x.dequantize().double()


def _check_product(name: str, x: torch.Tensor, w: torch.Tensor, result: torch.Tensor) -> None:
    """Refuses one that is further from the exact product than sums and one rounding to bf16 can take it."""
    parts = list(zip(x.chunk(len(w)), w))
    exact, magnitude = torch.cat([a @ b for a, b in parts]), torch.cat([a.abs() @ b.abs() for a, b in parts])
    error = (result.double() - exact).abs()
    wrong = int((~(error <= exact.abs() * 2.0**-8 + magnitude * x.shape[1] * 2.0**-24)).sum())
    if wrong:
        raise SystemExit(f"grouped: {name} is wrong in {wrong} of {error.numel()} results, by up to {float(error.max())}; nothing was timed")


def _contender(name: str, call: Callable[[], torch.Tensor], operands: tuple[torch.Tensor, torch.Tensor]) -> Contender:
    """Whose product is to be exact of these operands."""
    return Contender(name, call, functools.partial(_check_product, name, *operands))


def contenders(case: Case) -> list[Contender]:
    """torch's, and ragdot's: weights quantised once, in every call, and bf16 as torch's."""
    if case.step:
        return _steps(case)
    inner, outer, rows, experts = case.inner, case.outer, case.rows, case.experts
    generator = torch.Generator().manual_seed(0)
    layer = GroupedLinear(experts, inner, outer, recipe="blockwise", dtype=torch.bfloat16)
    x = torch.randn(experts * rows, inner, generator=generator).bfloat16()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    w, ends = layer.weight.detach().mT, torch.arange(rows, experts * rows + 1, rows, dtype=torch.int32)
    exact, quantized = (x.double(), w.double()), (_real(quantize(x, (1, 128))), _real(quantize(w, (128, 128))))
    anew = [_contender("ragdot blockwise", lambda: grouped_mm(x, w, ends, recipe="blockwise"), quantized)] if case.anew else []
    return [_contender(PEER, lambda: torch._grouped_mm(x, w, offs=ends), exact),
            _contender("ragdot blockwise, weights kept", lambda: layer(x, ends), quantized), *anew,
            _contender("ragdot bf16", lambda: grouped_mm(x, w, ends), exact)]  # fmt: skip


def _steps(case: Case) -> list[Contender]:
    """torch's, and ragdot's layers: bf16, FP8 whose weights an optimizer has changed, and that with gradients added to main_grad."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(case.experts * case.rows, case.inner, generator=generator).bfloat16().requires_grad_()
    dy = torch.randn(case.experts * case.rows, case.outer, generator=generator).bfloat16()
    w = torch.randn(case.experts, case.outer, case.inner, generator=generator).bfloat16().requires_grad_()
    ends = torch.arange(case.rows, case.experts * case.rows + 1, case.rows, dtype=torch.int32)
    rows = [(d, a, b) for d, a, b in zip(dy.double().chunk(case.experts), x.detach().double().chunk(case.experts), w.detach().double())]
    exact = torch.cat([d @ b for d, _, b in rows]), torch.stack([d.T @ a for d, a, _ in rows])

    def contender(name: str, forward: Callable[[], torch.Tensor], weight: torch.Tensor, quantized: bool) -> Contender:
        def call() -> tuple[torch.Tensor, torch.Tensor]:
            x.grad = weight.grad = None
            forward().backward(dy)
            return x.grad, weight.main_grad if weight.grad is None else weight.grad

        def check(gradients: tuple[torch.Tensor, torch.Tensor]) -> None:
            for found, of in zip(gradients, exact):
                far = float((found.double() - of).norm() / of.norm())
                # Both operands in E4M3: 2^-5 of each element at most, far less on average.
                if not far <= (0.05 if quantized else 0.005):
                    raise SystemExit(f"grouped: {name} has gradients that are off by {far} of their norm; nothing was timed")

        return Contender(name, call, check)

    def layer(name: str, recipe: str | None, fused: bool = False) -> Contender:
        of = GroupedLinear(case.experts, case.inner, case.outer, recipe=recipe, fuse_wgrad_accumulation=fused, dtype=torch.bfloat16)
        with torch.no_grad():
            of.weight.copy_(w)
        if fused:
            of.weight.main_grad = torch.zeros_like(of.weight, dtype=torch.float32)
        first = True if of.recipe.quantizes else None
        return contender(name, lambda: of(x, ends, is_first_microbatch=first), of.weight, of.recipe.quantizes)

    return [contender(PEER, lambda: torch._grouped_mm(x, w.mT, offs=ends), w, False), layer("ragdot blockwise", "blockwise"),
            layer("ragdot blockwise, main_grad", "blockwise", fused=True), layer("ragdot bf16", None)]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="grouped", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="(%(default)s)")
    parser.add_argument("--calls", type=int, default=10, help="of each contender in each round, of a step a fifth of that (%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, torch.get_num_threads()], help="(one, and all of torch's)")
    given = parser.parse_args()
    for case in CASES:
        found = contenders(case)
        with torch.set_grad_enabled(case.step):
            for contender in found:
                contender.check(contender.call())
            calls = max(given.calls // 5, 1) if case.step else given.calls
            for threads in given.threads:
                torch.set_num_threads(threads)
                print(f"{case.name}, {case.experts} x {case.rows} rows, {threads} thread{'s' * (threads > 1)}, "
                      f"medians of {given.rounds} rounds of {calls} calls")  # fmt: skip
                print(table(measure(found, PEER, given.rounds, calls), case.flops()), flush=True)


if __name__ == "__main__":
    main()
