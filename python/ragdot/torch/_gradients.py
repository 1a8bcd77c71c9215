"""Which gradients are offered: first derivatives, on the way back."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from ragdot.torch._scaled import ScaledTensor


def first_derivatives(backward: Callable[..., Any]) -> Callable[..., Any]:
    """For the backward of an autograd.Function: refuses to be recorded. once_differentiable alone does where what comes in wants gradients;
    where it does not, as that of a sum, what depends on saved tensors would have none in silence."""
    once = once_differentiable(backward)

    @functools.wraps(backward)
    def checked(ctx: Any, *gradients: Any) -> Any:
        if not torch.compiler.is_compiling() and torch.is_grad_enabled():
            raise NotImplementedError("ragdot.torch: gradients of gradients are not offered; leave out create_graph=True")
        return once(ctx, *gradients)

    return checked


def wanted_gradients(ctx: Any, count: int) -> list[bool]:
    """In the backward of an autograd.Function: which of its first `count` inputs this way back leads on to. torch.autograd.grad asks for some
    inputs alone, which ctx.needs_input_grad does not say. Of leaves torch cannot tell."""
    needed = ctx.needs_input_grad[:count]
    if torch.compiler.is_compiling():
        return list(needed)
    nodes = (node for node, _ in ctx.next_functions if node is not None)  # of the inputs that need gradients, in their order
    return [need and _leads_on(next(nodes)) for need in needed]


def _leads_on(node: torch.autograd.graph.Node) -> bool:
    return node.name() == "torch::autograd::AccumulateGrad" or torch._C._will_engine_execute_node(node)


def gradients_wanted(*operands: torch.Tensor | ScaledTensor | None) -> bool:
    """Whether any operand is to get one. Raises under torch.func and torch.vmap if so."""
    if not torch.is_grad_enabled():
        return False
    for x in operands:
        if x is not None and not isinstance(x, ScaledTensor) and (x.requires_grad or _batches_one_that_wants(x)):
            refuse_transforms()
            return True
    return False


def transforms_active() -> bool:
    """Whether a call is within torch.func or torch.vmap."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def refuse_transforms() -> None:
    """Raises under torch.func, whose tensors have no memory that could be looked at, and torch.vmap, whose calls have no gradients."""
    if transforms_active():
        raise NotImplementedError("ragdot.torch: torch.func is not offered, nor are gradients under torch.vmap; call in a loop, and use "
                                  "torch.autograd.grad or backward()")  # fmt: skip


def _batches_one_that_wants(x: torch.Tensor) -> bool:
    """A batch of torch.vmap never says that it requires gradients."""
    if not transforms_active():
        return False
    functorch = torch._C._functorch
    while functorch.is_batchedtensor(x):
        x = functorch.get_unwrapped(x)
    return x.requires_grad
