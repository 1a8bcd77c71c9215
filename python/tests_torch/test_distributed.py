"""Several processes, over gloo: experts that each has a part of, and weights that each has a shard of."""

import copy
import pickle
from datetime import timedelta

import pytest
import torch
from problems import normal
from test_checkpoints import Dropping
from test_modules import EXPERTS, HIDDEN, MODEL, TOP, moe
from torch import distributed

import ragdot.torch as rt

TOKENS = 50


def gradients(module: rt.MoE, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The result, and the gradients of x, router, gate_up and down."""
    leaf = x.detach().clone().requires_grad_()
    module.zero_grad()
    y = module(leaf)
    y.float().square().sum().backward()
    return y.detach(), leaf.grad, module.router.weight.grad, module.gate_up.weight.grad, module.down.weight.grad


def share_out(whole: rt.MoE, part: rt.MoE, rank: int, processes: int) -> slice:
    """Gives `part` the router and its experts of `whole`; which these are."""
    count = EXPERTS // processes
    mine = slice(rank * count, (rank + 1) * count)
    with torch.no_grad():
        part.router.weight.copy_(whole.router.weight)
        for name in ("gate_up", "down"):
            getattr(part, name).weight.copy_(getattr(whole, name).weight[mine])
    return mine


def experts_have_the_bits_of_one_process(rank: int, processes: int) -> None:
    for recipe, dtype in ((None, torch.bfloat16), ("blockwise", torch.float32), ("mx", torch.bfloat16)):
        whole, part = moe(recipe, dtype=dtype), moe(recipe, dtype=dtype, process_group=distributed.group.WORLD)
        with torch.no_grad():
            whole.router.weight[5] = -whole.router.weight[4]  # experts without tokens, and with many
        mine = share_out(whole, part, rank, processes)
        # Process 0 has more tokens than the others, the last one none.
        ends = [0, *(TOKENS * (i + 2) // (processes + 1) for i in range(processes - 1)), TOKENS]
        ends[-2] = TOKENS
        x, own = normal(TOKENS, MODEL, dtype=dtype), slice(ends[rank], ends[rank + 1])
        y, dx, router, gate_up, down = gradients(whole, x)
        found = gradients(part, x[own])
        for name, ours, one in zip(("y", "dx", "gate_up", "down"), (*found[:2], *found[3:]), (y[own], dx[own], gate_up[mine], down[mine])):
            assert torch.equal(ours, one), (recipe, name)
        total = found[2].float()
        distributed.all_reduce(total)
        assert (total - router.float()).norm() <= 0.01 * router.float().norm()


def gradients_pass_through_processes_that_want_none(rank: int, processes: int) -> None:
    """One process's tokens are frozen, or it has none."""
    whole, part = moe(), moe(process_group=distributed.group.WORLD)
    mine = share_out(whole, part, rank, processes)
    for frozen in (TOKENS, 0):
        x = normal(processes * TOKENS, MODEL)
        rows = slice(rank * TOKENS, rank * TOKENS + (frozen if rank == 1 else TOKENS))
        own = x[rows].requires_grad_(rank != 1)
        used = x[[i for i in range(len(x)) if not TOKENS + frozen <= i < 2 * TOKENS]].requires_grad_()
        (part(own).square().sum() + 0.0).backward()
        whole.zero_grad()
        whole(used).square().sum().backward()
        begin = rows.start - (TOKENS - frozen if rank > 1 else 0)
        assert (own.grad is None) == (rank == 1) and (rank == 1 or torch.equal(own.grad, used.grad[begin : begin + TOKENS]))
        assert torch.equal(part.down.weight.grad, whole.down.weight.grad[mine])
        part.zero_grad()


def rows_of_no_expert_are_sent_nowhere(rank: int, processes: int) -> None:
    whole, part = (Dropping(MODEL, HIDDEN, EXPERTS, TOP, process_group=group) for group in (None, distributed.group.WORLD))
    whole.load_state_dict(moe().state_dict())
    share_out(whole, part, rank, processes)
    x, own = normal(processes * TOKENS, MODEL), slice(rank * TOKENS, (rank + 1) * TOKENS)
    y, dx, *_ = gradients(whole, x)
    found = gradients(part, x[own])
    assert torch.equal(found[0], y[own]) and torch.equal(found[1], dx[own])
    assert not torch.equal(y, moe()(x))


def copies_share_the_group(rank: int, processes: int) -> None:
    layer, x = moe(process_group=distributed.group.WORLD), normal(7, MODEL)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    with pytest.raises(TypeError, match="MoE: process_group belongs to this process; save the layer's state instead of the layer"):
        pickle.dumps(layer)


def sharded_layers_are_trained_as_plain_ones(rank: int, processes: int) -> None:
    """fully_shard over all processes: weights that change without a trace are seen."""
    from torch.distributed.fsdp import fully_shard

    mesh = distributed.init_device_mesh("cpu", (processes,))
    layer, plain = fully_shard(moe(), mesh=mesh), moe()
    optimizers = [torch.optim.AdamW(module.parameters(), lr=1e-2) for module in (layer, plain)]
    x, target = normal(64, MODEL), normal(64, MODEL, seed=1)
    own, losses = slice(rank * 64 // processes, (rank + 1) * 64 // processes), ([], [])
    for _ in range(6):
        for found, module, optimizer, rows in zip(losses, (layer, plain), optimizers, (own, slice(None))):
            loss = (module(x[rows]) - target[rows]).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            mean = loss.detach() / (processes if module is layer else 1)
            if module is layer:
                distributed.all_reduce(mean)
            found.append(mean.item())
        assert layer.gate_up._kept.copies is None and layer.down._kept.copies is None, "of weights that are not whole any more"
    assert losses[1][-1] < 0.95 * losses[1][0]
    assert all(abs(a - b) < 0.03 * b for a, b in zip(*losses)), losses


CHECKS = [experts_have_the_bits_of_one_process, gradients_pass_through_processes_that_want_none, rows_of_no_expert_are_sent_nowhere,
          copies_share_the_group, sharded_layers_are_trained_as_plain_ones]  # fmt: skip


def work(rank: int, processes: int, store: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", store=distributed.FileStore(store, processes), rank=rank, world_size=processes,
                                   timeout=timedelta(seconds=120))  # fmt: skip
    try:
        for check in CHECKS:
            check(rank, processes)
    finally:
        distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_available() or not distributed.is_gloo_available(), reason="this torch lacks torch.distributed with gloo")
@pytest.mark.parametrize("processes", [2, 4])
def test_processes(processes, tmp_path):
    """Each check in turn, in every process; a failure's traceback names it."""
    torch.multiprocessing.start_processes(work, (processes, str(tmp_path / "store")), processes, start_method="spawn")


def test_experts_are_shared_out_evenly():
    class Group:
        def size(self):
            return 3

    with pytest.raises(ValueError, match="MoE: num_experts is 8 for 3 processes of process_group; give a multiple of 3"):
        moe(process_group=Group())
