"""Weights quantised once until they change."""

import contextlib
import threading
import weakref
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import _disable_current_modes

from ragdot._recipes import Recipe
from ragdot.torch._gradients import refuse_transforms
from ragdot.torch._packed import COLUMNS, is_packed, pack
from ragdot.torch._products import Operand, one_copy, weight_operands


class _Copies(NamedTuple):
    """A weight as it was quantised, and what tells that it is still the same: where it lay, how often it was written to, and some of its
    elements, as not every write is counted."""

    operands: tuple[Operand, Operand | None]
    recipe: Recipe
    storage: StorageWeakRef | None = None  # no later storage gets the number of one that is referred to
    address: int = 0
    version: int = 0
    samples: torch.Tensor | None = None
    may_be_asked_for: bool = False  # by is_first_microbatch=False
    for_inference: bool = False  # the last call wanted no gradients
    changes: int = -1  # of the KeptWeight, when they were begun; -1: of no weight that can be told apart

    def are_of(self, weight: torch.Tensor, recipe: Recipe) -> bool:
        """Whether they are what would be quantised now. Writes to a tensor of inference mode leave no trace."""
        return (self.recipe is recipe and not weight.is_inference() and self.address == weight.data_ptr()
                and self.version == weight._version and self.storage.cdata == weight.untyped_storage()._cdata  # type: ignore[union-attr]
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


_TRACERS = (torch._C._TorchDispatchModeKey.FAKE, torch._C._TorchDispatchModeKey.PROXY)


def _recorded(weight: torch.Tensor) -> bool:
    """Whether calls go into a graph or a trace, which runs again when copies have changed, or there are no numbers to compare."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or isinstance(weight, FakeTensor):
        return True
    return torch._C._len_torch_dispatch_stack() > 0 and any(torch._C._get_dispatch_mode(key) is not None for key in _TRACERS)


def _unseen_by_modes() -> contextlib.AbstractContextManager[None]:
    """A checkpoint with a policy plays the operators again that it has seen. Which ones make copies depends on what is kept by then."""
    return _disable_current_modes() if torch._C._len_torch_dispatch_stack() > 0 else contextlib.nullcontext()


_FEW_ROWS = 32  # of each group: products of more are not bound by reading weights

# Those that hold copies or make some, and what threads take to add to them; the collector may run a call within another. Optimizers write
# to weights without a trace that could be seen here: fused ones, and those that step others which become the weights, as shards and float32
# masters do.
_holders: "weakref.WeakSet[KeptWeight]" = weakref.WeakSet()
_lock = threading.RLock()


def _all_holders() -> "list[KeptWeight]":
    with _lock:
        while True:
            try:
                return list(_holders)
            except RuntimeError:  # a call that the collector ran has added one
                continue


def _after_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Every weight that wants gradients may have changed, and what the optimizer lists."""
    if torch.compiler.is_compiling() or not _holders:
        return
    listed = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    for kept in _all_holders():
        weight = None if (ref := kept.weight) is None else ref()
        if weight is not None and (weight.requires_grad or id(weight) in listed):
            kept.give_up(stepped=True)


register_optimizer_step_post_hook(_after_step)


class KeptWeight:
    """The copies of one weight, which they do not keep alive. A copied or pickled one has none."""

    def __init__(self) -> None:
        self.copies: _Copies | None = None
        self.weight: "weakref.ref[torch.Tensor] | None" = None  # that copies are made of, from before they are
        self.changes = 0  # that the weight may have had: copies that were begun before the last one are of no use

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptWeight":
        return KeptWeight()

    def __reduce__(self) -> tuple[type["KeptWeight"], tuple[()]]:
        return KeptWeight, ()

    def give_up(self, stepped: bool = False) -> None:
        """The weight may have changed. What is_first_microbatch=False may ask for stays, until a call after a step; other copies go, as those
        of all layers would add up where weights are gathered for each use."""
        self.changes += 1
        self.weight = None
        if self.copies is not None:
            asked_for = self.copies.may_be_asked_for
            self.copies = self.copies._replace(may_be_asked_for=not stepped) if asked_for else None

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
        compiling = _recorded(weight) or (weight.is_cuda and torch.cuda.is_current_stream_capturing())
        if compiling and is_first_microbatch is None:
            return None
        with contextlib.nullcontext() if compiling else _unseen_by_modes():
            if is_first_microbatch is None and kept is not None and self._current(kept, weight, recipe) and kept.serve(weight, backward):
                return self._again(kept, backward, rows, w.shape[0])
            return self._anew(weight, w, recipe, backward, is_first_microbatch is True, compiling)

    def _current(self, kept: _Copies, weight: torch.Tensor, recipe: Recipe) -> bool:
        seen = self.weight
        return kept.changes == self.changes and seen is not None and seen() is weight and kept.are_of(weight, recipe)

    def _anew(self, weight: torch.Tensor, w: torch.Tensor, recipe: Recipe, backward: bool, first: bool,
              compiling: bool) -> tuple[Operand, Operand | None]:  # fmt: skip
        # While compiling, nothing can be known of the memory that the weight will have; a captured copy is written when the graph runs.
        traceable = not compiling and not weight.is_inference()
        asked_for = first or (self.copies is not None and self.copies.recipe is recipe and self.copies.may_be_asked_for)
        # All before, so that a write or a step meanwhile is seen later. A GPU would have to be waited for.
        changes = self.changes if traceable else 0
        if traceable:
            self.weight = self._ref(weight, not first)
            with _lock:
                _holders.add(self)
        version = weight._version if traceable else 0
        samples = _sampled(weight).clone() if traceable and weight.numel() > 0 and weight.device.type == "cpu" else None
        # Copies made in inference mode could not be saved for a later way back.
        with contextlib.nullcontext() if compiling else torch.inference_mode(False):
            operands = weight_operands(w.detach(), recipe, backward or asked_for)
        if not traceable:
            self.copies = _Copies(operands, recipe, may_be_asked_for=asked_for)
            return operands
        if weight.grad_fn is not None and not first:  # computed, as adapters do: another one in the next call
            self.copies = None
            return operands
        self.copies = _Copies(operands, recipe, StorageWeakRef(weight.untyped_storage()), weight.data_ptr(), version, samples, asked_for,
                              not backward, changes)  # fmt: skip
        return operands

    def _ref(self, weight: torch.Tensor, forget: bool) -> "weakref.ref[torch.Tensor]":
        """forget: where the weight goes, as one does that is loaded for each use, its copies go too."""
        if not forget:
            return weakref.ref(weight)
        own = weakref.ref(self)

        def gone(ref: "weakref.ref[torch.Tensor]") -> None:
            kept = own()
            if kept is not None and kept.weight is ref:
                kept.copies = None

        return weakref.ref(weight, gone)

    def _again(self, kept: _Copies, backward: bool, rows: int, groups: int) -> tuple[Operand, Operand | None]:
        """Copies that are kept. Those that serve a second call without gradients in a row are packed if rows are few, which reads faster; in
        place of what they were, so that memory holds the weight once. Not where gradients will ask for them: those want no packed ones."""
        packs = not backward and kept.for_inference and rows <= _FEW_ROWS * groups and not kept.may_be_asked_for
        if kept.for_inference is backward:
            self.copies = kept = kept._replace(for_inference=not backward)
        if backward:
            return kept.operands
        values, scales, grid = kept.operands[0]
        if packs and values.device.type == "cpu" and not is_packed(values) and values.shape[2] % COLUMNS == 0:
            self.copies = kept = kept._replace(operands=((pack(values), scales, grid), None))
        return kept.operands[0], None
