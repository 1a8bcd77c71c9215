"""Rows on their way to experts and back: within a process, and between processes that hold experts of their own."""

from collections.abc import Callable

import torch
from torch import distributed
from torch.autograd.function import once_differentiable

Run = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class _Gather(torch.autograd.Function):
    """x[order // copies], where `order` is a permutation of `copies` of each row, and `inverse` its inverse.

    The gradient gathers as well: each row's copies are added in their order. Torch's own would add them where they lie scattered.
    """

    @staticmethod
    def forward(ctx, x, order, inverse, copies):
        ctx.save_for_backward(inverse)
        ctx.copies = copies
        return x.index_select(0, order // copies)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (inverse,) = ctx.saved_tensors
        rows = grad.index_select(0, inverse)
        return rows.unflatten(0, (-1, ctx.copies)).sum(1), None, None, None


def _sorted(experts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The places of rows in the order of their experts, each expert's as they come, and the inverse."""
    order = experts.argsort(stable=True)
    return order, torch.empty_like(order).scatter(0, order, torch.arange(order.shape[0], device=order.device))


def through_experts(tokens: torch.Tensor, weights: torch.Tensor, experts: torch.Tensor, count: int, run: Run,
                    shape: torch.Size | None = None) -> torch.Tensor:  # fmt: skip
    """What `count` experts make of tokens [T, K], added by the weights in float32: [T, N] in their results' dtype, or [*shape, N].

    weights, experts: [T, top_k]. run: gives the results of rows [M, K], sorted by expert, whose groups end at offs [count]; rows
    of experts from `count` on lie behind them. Within a group rows are in the order of the tokens; results are added in that of top_k.
    """
    top_k, experts = experts.shape[-1], experts.flatten()
    order, inverse = _sorted(experts)
    offs = (experts.unsqueeze(1) == torch.arange(count, device=experts.device)).sum(0).cumsum(0)
    rows = run(_Gather.apply(tokens, order, inverse, top_k), offs)
    # In its shape before the sum: a view would be the result, and fully_shard's hooks want none.
    shape = tokens.shape[:1] if shape is None else shape
    rows = _Gather.apply(rows, inverse, order, 1).reshape(*shape, top_k, rows.shape[-1])
    return (rows.float() * weights.reshape(*shape, top_k, 1)).sum(-2).to(rows.dtype)


class _Exchange(torch.autograd.Function):
    """The first `sent[0]` rows go to process 0 of the group, the next ones to process 1; `received` says how many come from each."""

    @staticmethod
    def forward(ctx, rows, sent, received, group):
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return _exchanged(rows, sent, received, group)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return _exchanged(grad, ctx.received, ctx.sent, ctx.group), None, None, None


def _exchanged(rows: torch.Tensor, sent: list[int], received: list[int], group: "distributed.ProcessGroup") -> torch.Tensor:
    """As bytes: not every backend sends bfloat16."""
    found = rows.new_empty((sum(received), rows.shape[1]))
    distributed.all_to_all_single(found.view(torch.uint8), rows.contiguous().view(torch.uint8), received, sent, group=group)
    return found


def through_processes(rows: torch.Tensor, offs: torch.Tensor, group: "distributed.ProcessGroup", run: Run) -> torch.Tensor:
    """The results of rows [M, K], sorted by expert, whose groups end at offs [num_experts]; the processes of the group hold equally many
    experts each, in order. run: gives those of the experts of this process, on the rows of all. Within a group rows are in the order
    of the processes, as if one had them all."""
    counts, processes = offs.diff(prepend=offs.new_zeros(1)), group.size()
    here = torch.empty_like(counts)  # from each process, for each expert of this one
    distributed.all_to_all_single(here, counts, group=group)
    here = here.view(processes, -1)
    sent, received = counts.view(processes, -1).sum(1).tolist(), here.sum(1).tolist()
    arrived = _Exchange.apply(rows, sent, received, group)
    order, inverse = _sorted(torch.arange(here.shape[1], device=offs.device).repeat(processes).repeat_interleave(here.flatten()))
    results = run(_Gather.apply(arrived, order, inverse, 1), here.sum(0).cumsum(0))
    return _Exchange.apply(_Gather.apply(results, inverse, order, 1), received, sent, group)
