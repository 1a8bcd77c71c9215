"""PyTorch on the CPU: a loop of matmuls, and torch._grouped_mm. Weights lie as [G, N, K], the way its Linear layers hold them."""

import numpy as np
import torch

from peers.case import Case
from peers.contenders import Prepared


def tensor(x: np.ndarray) -> torch.Tensor:
    """A bf16 array as a tensor in memory of its own."""
    return torch.from_numpy(np.array(x.view(np.uint16), order="C")).view(torch.bfloat16)


def weights(case: Case, copies: int) -> list[torch.Tensor]:
    """[G, inner, outer] views of [G, N, K] memory, several copies of it."""
    stored = [tensor(case.rhs.transpose(0, 2, 1)) for _ in range(copies)]
    return [w if case.op == "dlhs" else w.transpose(1, 2) for w in stored]


def prepared(call, out, kernel: str, threads: int) -> Prepared:
    """`out` gives the tensor of the last call."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return Prepared(call, lambda: out().float().numpy(), kernel, torch.__version__)


def loop(case: Case, threads: int, copies: int) -> Prepared:
    """torch.mm for each group, into slices of one output."""
    lhs, out, ranges = tensor(case.lhs), torch.empty(case.out_shape(), dtype=torch.bfloat16), case.row_ranges()
    turn = 0
    if case.op == "tgmm":
        rhs = tensor(case.rhs)

        def call() -> None:
            for group, rows in enumerate(ranges):
                torch.mm(lhs[rows].t(), rhs[rows], out=out[group])
    else:
        held = weights(case, copies)

        def call() -> None:
            nonlocal turn
            turn = (turn + 1) % copies
            for group, rows in enumerate(ranges):
                if rows.start < rows.stop:
                    torch.mm(lhs[rows], held[turn][group], out=out[rows])

    return prepared(call, lambda: out, "mm", threads)


def grouped_mm(case: Case, threads: int, copies: int) -> Prepared:
    """torch._grouped_mm: 2d-3d for gmm and dlhs, 2d-2d for tgmm."""
    lhs, ends, last = tensor(case.lhs), torch.from_numpy(case.ends), [torch.empty(0)]
    turn = 0
    if case.op == "tgmm":
        rhs = tensor(case.rhs)

        def call() -> None:
            last[0] = torch._grouped_mm(lhs.t(), rhs, offs=ends)
    else:
        held = weights(case, copies)

        def call() -> None:
            nonlocal turn
            turn = (turn + 1) % copies
            last[0] = torch._grouped_mm(lhs, held[turn], offs=ends)

    return prepared(call, lambda: last[0], "_grouped_mm", threads)
