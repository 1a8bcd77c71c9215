"""Weights quantised once until they change."""

import contextlib
import threading
import weakref
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim.optimizer import register_optimizer_step_post_hook

from ragdot._recipes import Recipe
from ragdot.torch._gradients import refuse_transforms
from ragdot.torch._packed import COLUMNS, is_packed, pack
from ragdot.torch._products import Operand, one_copy, weight_operands


class _Copies(NamedTuple):
    """A weight as it was quantised, and what tells that it is still the same: itself, where it lay, how often it was written to, and some of
    its elements, as not every write is counted."""

    operands: tuple[Operand, Operand | None]
    recipe: Recipe
    weight: "weakref.ref[torch.Tensor] | None" = None  # None: it may have changed
    storage: StorageWeakRef | None = None  # no later storage gets the number of one that is referred to
    address: int = 0
    version: int = 0
    samples: torch.Tensor | None = None
    may_be_asked_for: bool = False  # by is_first_microbatch=False

    def are_current(self, weight: torch.Tensor, recipe: Recipe) -> bool:
        """Whether they are what would be quantised now. Writes to a tensor of inference mode leave no trace."""
        return (self.weight is not None and self.weight() is weight and self.recipe is recipe and not weight.is_inference()
                and self.address == weight.data_ptr() and self.version == weight._version
                and self.storage.cdata == weight.untyped_storage()._cdata  # type: ignore[union-attr]
                and (self.samples is None or torch.equal(self.samples, _sampled(weight))))  # fmt: skip

    def serve(self, weight: torch.Tensor, backward: bool) -> bool:
        """Whether there is a copy for each direction."""
        if is_packed(self.operands[0][0]):
            return not backward
        return not backward or self.operands[1] is not None or one_copy(weight, self.recipe)


def _sampled(weight: torch.Tensor) -> torch.Tensor:
    """Elements in equal distances, a view: one for each group at least, and 64. Writes through weight.data, numpy's or a pointer leave no
    trace but these."""
    last = sum((size - 1) * stride for size, stride in zip(weight.shape, weight.stride()))
    step = max(last // max(64, weight.shape[0]), 1) | 1  # odd: no multiple of a row
    return weight.detach().as_strided((last // step + 1,), (step,))


def _recorded() -> bool:
    """Whether calls go into a graph or a trace, which runs again when copies have changed."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


_FEW_ROWS = 32  # of each group: products of more are not bound by reading weights

# Those that hold copies, and what threads take to add to them. Optimizers write to weights without a trace that could be seen here: fused
# ones, and those that step others which become the weights, as shards and float32 masters do.
_holders: "weakref.WeakSet[KeptWeight]" = weakref.WeakSet()
_lock = threading.Lock()


def _after_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Every weight that wants gradients may have changed, and what the optimizer lists."""
    if torch.compiler.is_compiling() or not _holders:
        return
    with _lock:
        holders = list(_holders)
    listed = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    for kept in holders:
        weight = None if kept.copies is None or kept.copies.weight is None else kept.copies.weight()
        if weight is not None and (weight.requires_grad or id(weight) in listed):
            kept.give_up()


register_optimizer_step_post_hook(_after_step)


class KeptWeight:
    """The copies of one weight, which they do not keep alive. A copied or pickled one has none."""

    def __init__(self) -> None:
        self.copies: _Copies | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptWeight":
        return KeptWeight()

    def __reduce__(self) -> tuple[type["KeptWeight"], tuple[()]]:
        return KeptWeight, ()

    def give_up(self) -> None:
        """The weight may have changed. is_first_microbatch=False still takes what was quantised last."""
        if self.copies is not None:
            self.copies = self.copies._replace(weight=None)

    def quantized(self, weight: torch.Tensor, w: torch.Tensor, recipe: Recipe, rows: int,
                  is_first_microbatch: bool | None = None) -> tuple[Operand, Operand | None] | None:  # fmt: skip
        """w, a view [L, K, N] of the weight, for `rows` rows of products. None: the product is to quantise for itself."""
        refuse_transforms()
        backward, kept = torch.is_grad_enabled(), self.copies
        if is_first_microbatch is False:
            of_another = kept is not None and kept.recipe is not recipe
            if kept is None or of_another or not kept.serve(weight, backward):
                what = "" if kept is None else " and this recipe" if of_another else " and gradients"
                raise ValueError(f"GroupedLinear: is_first_microbatch is False before any call with True{what}; the first call of a step "
                                 "needs True")  # fmt: skip
            return kept.operands
        compiling = _recorded() or (weight.is_cuda and torch.cuda.is_current_stream_capturing())
        if is_first_microbatch is None:
            if compiling:
                return None
            if kept is not None and kept.are_current(weight, recipe) and kept.serve(weight, backward):
                return kept.operands if backward else self._for_inference(kept, rows, w.shape[0])
        # While compiling, nothing can be known of the memory that the weight will have; a captured copy is written when the graph runs.
        traceable = not compiling and not weight.is_inference()
        # Before, so that a write meanwhile is seen later. A GPU would have to be waited for.
        version = weight._version if traceable else 0
        samples = _sampled(weight).clone() if traceable and weight.numel() > 0 and weight.device.type == "cpu" else None
        # Copies made in inference mode could not be saved for a later way back.
        with contextlib.nullcontext() if compiling else torch.inference_mode(False):
            operands = weight_operands(w.detach(), recipe, backward or is_first_microbatch is True)
        if not traceable:
            self.copies = _Copies(operands, recipe)
            return operands
        if weight.grad_fn is not None and not is_first_microbatch:  # computed, as adapters do: another one in the next call
            self.copies = None
            return operands
        self.copies = _Copies(operands, recipe, self._ref(weight, is_first_microbatch is None), StorageWeakRef(weight.untyped_storage()),
                              weight.data_ptr(), version, samples, is_first_microbatch is True)  # fmt: skip
        with _lock:
            _holders.add(self)
        return operands

    def _ref(self, weight: torch.Tensor, forget: bool) -> "weakref.ref[torch.Tensor]":
        """forget: where the weight goes, as one does that is loaded for each use, its copies go too."""
        if not forget:
            return weakref.ref(weight)
        own = weakref.ref(self)

        def gone(ref: "weakref.ref[torch.Tensor]") -> None:
            kept = own()
            if kept is not None and kept.copies is not None and kept.copies.weight is ref:
                kept.copies = None

        return weakref.ref(weight, gone)

    def _for_inference(self, kept: _Copies, rows: int, groups: int) -> tuple[Operand, None]:
        """Kept copies that serve again. With few rows they are packed, which reads faster; in place of what they were, so that memory
        holds the weight once. Not where gradients will ask for them: those want no packed ones."""
        weight = kept.operands[0]
        few = rows <= _FEW_ROWS * groups and not kept.may_be_asked_for
        values, scales, grid = weight
        if few and values.device.type == "cpu" and not is_packed(values) and values.shape[2] % COLUMNS == 0:
            weight = pack(values), scales, grid
            self.copies = kept._replace(operands=(weight, None))
        return weight, None
