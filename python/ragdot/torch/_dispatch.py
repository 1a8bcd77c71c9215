"""Rows on their way to experts and back: within a process, and between processes that hold experts of their own."""

from collections.abc import Callable

import torch
from torch import distributed

from ragdot.torch._gradients import first_derivatives

Run = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_PART_BYTES = 4 << 20  # of float32 numbers, which stay in the caches


def _parts(x: torch.Tensor, count: int, rows_each: int = 1) -> list[tuple[int, int]]:
    """Ranges of `count` things that are worked on at a time, each with so many rows of x in float32."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or x.device.type != "cpu":
        return [(0, count)]
    step = max(1, _PART_BYTES // (4 * rows_each * max(1, x.shape[1])))
    return [(begin, min(begin + step, count)) for begin in range(0, count, step)]


def _picked(rows: torch.Tensor, places: torch.Tensor, begin: int, end: int, each: int) -> torch.Tensor:
    """rows[places[begin:end]] in float32, [count, each, N], to be written to; places: [T * each]."""
    picked = rows.index_select(0, places[begin * each : end * each])
    # Not where an operator has put them: a checkpoint with a policy may have saved its result.
    return rows.new_empty(picked.shape, dtype=torch.float32).copy_(picked).unflatten(0, (end - begin, each))


def _add_up(rows: torch.Tensor, places: torch.Tensor, each: int, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    """out[t] = the sum of weights[t, i] * rows[places[t, i]] over i, in this order and in float32. Torch's sum has orders of its own."""
    for begin, end in _parts(rows, out.shape[0], each):
        picked = _picked(rows, places, begin, end, each)
        if weights is not None:
            picked.mul_(weights[begin:end].unsqueeze(2))
        total = picked[:, 0]
        for i in range(1, each):
            total.add_(picked[:, i])
        out[begin:end] = total


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
    @first_derivatives
    def backward(ctx, grad):
        (inverse,) = ctx.saved_tensors
        if ctx.copies == 1:
            return grad.index_select(0, inverse), None, None, None
        total = grad.new_empty((grad.shape[0] // ctx.copies, grad.shape[1]))
        _add_up(grad, inverse, ctx.copies, None, total)
        return total, None, None, None


class _Combine(torch.autograd.Function):
    """[*shape, N] in the dtype of rows: for each token the sum of its experts' results rows[inverse], by weights [T, top_k].

    Part by part: in one piece, copies of all rows in float32 go to memory and back for each step.
    """

    @staticmethod
    def forward(ctx, rows, weights, order, inverse, shape):
        # In its shape from the beginning: a view would be the result, and fully_shard's hooks want none.
        out = rows.new_empty((*(weights.shape[:1] if shape is None else shape), rows.shape[1]))
        _add_up(rows, inverse, weights.shape[1], weights.float(), out.view(weights.shape[0], rows.shape[1]))
        ctx.save_for_backward(rows if ctx.needs_input_grad[1] else None, weights, order, inverse)
        ctx.rows_dtype = rows.dtype
        return out

    @staticmethod
    @first_derivatives
    def backward(ctx, dy):
        rows, weights, order, inverse = ctx.saved_tensors
        top_k, dy, drows, dweights = weights.shape[1], dy.reshape(weights.shape[0], dy.shape[-1]), None, None
        if ctx.needs_input_grad[0]:
            drows, by_row = dy.new_empty((order.shape[0], dy.shape[1]), dtype=ctx.rows_dtype), weights.float().flatten()
            for begin, end in _parts(dy, order.shape[0]):
                of = order[begin:end]
                drows[begin:end] = dy.index_select(0, of // top_k).float().mul_(by_row[of].unsqueeze(1))
        if ctx.needs_input_grad[1]:
            dweights = torch.empty_like(weights)
            for begin, end in _parts(dy, dy.shape[0], top_k):
                picked = _picked(rows, inverse, begin, end, top_k)
                dweights[begin:end] = picked.mul_(dy[begin:end].float().unsqueeze(1)).sum(2)
        return drows, dweights, None, None, None


def _sorted(experts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The places of rows in the order of their experts, each expert's as they come, and the inverse."""
    order = experts.argsort(stable=True)
    return order, torch.empty_like(order).scatter(0, order, torch.arange(order.shape[0], device=order.device))


def through_experts(tokens: torch.Tensor, weights: torch.Tensor, experts: torch.Tensor, count: int, run: Run,
                    shape: torch.Size | None = None) -> torch.Tensor:  # fmt: skip
    """What `count` experts make of tokens [T, K], added by the weights in float32: [T, N] in their results' dtype, or [*shape, N].

    weights, experts: [T, top_k], experts from 0; other numbers are none's, and add nothing. run: gives the results of rows [M, K], sorted by
    expert, whose groups end at offs [count]; rows of no expert lie behind them and have zeros. Within a group rows are in the order of the
    tokens; results are added in that of top_k.
    """
    top_k, experts = experts.shape[-1], experts.flatten()
    experts = experts.masked_fill((experts < 0) | (experts > count), count)
    order, inverse = _sorted(experts)
    offs = torch.searchsorted(experts.index_select(0, order), torch.arange(1, count + 1, device=experts.device, dtype=experts.dtype))
    rows = run(_Gather.apply(tokens, order, inverse, top_k), offs)
    if shape is None or not torch.jit.is_tracing():
        return _Combine.apply(rows, weights, order, inverse, shape)
    return _Combine.apply(rows, weights, order, inverse, None).view(*shape, -1)  # a trace's sizes are tensors, which no tuple may hold


class _Exchange(torch.autograd.Function):
    """The first `sent[0]` rows go to process 0 of the group, the next ones to process 1; `received` says how many come from each."""

    @staticmethod
    def forward(ctx, rows, sent, received, group):
        ctx.sent, ctx.received, ctx.group = sent, received, group
        return _exchanged(rows, sent, received, group)

    @staticmethod
    @first_derivatives
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
    of the processes, as if one had them all. Rows behind the groups are sent nowhere and have zeros."""
    if torch.is_grad_enabled() and not rows.requires_grad:
        rows = rows.detach().requires_grad_()  # gradients of those that want them pass through all processes
    counts, processes = offs.diff(prepend=offs.new_zeros(1)), group.size()
    here = torch.empty_like(counts)  # from each process, for each expert of this one
    distributed.all_to_all_single(here, counts, group=group)
    here = here.view(processes, -1)
    sent, received = counts.view(processes, -1).sum(1).tolist(), here.sum(1).tolist()
    away = rows.shape[0] - sum(sent)
    arrived = _Exchange.apply(rows[: sum(sent)], sent, received, group)
    order, inverse = _sorted(torch.arange(here.shape[1], device=offs.device).repeat(processes).repeat_interleave(here.flatten()))
    results = run(_Gather.apply(arrived, order, inverse, 1), here.sum(0).cumsum(0))
    returned = _Exchange.apply(_Gather.apply(results, inverse, order, 1), received, sent, group)
    return torch.nn.functional.pad(returned, (0, 0, 0, away)) if away else returned
