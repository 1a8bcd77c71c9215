"""A Mixture-of-Experts layer: router, top-k, SwiGLU experts."""

from typing import TYPE_CHECKING, Any

import torch

from ragdot._library import OfOneProcess
from ragdot._recipes import Recipe
from ragdot.torch import _views
from ragdot.torch._dispatch import through_experts, through_processes
from ragdot.torch._grouped_mm import autocast, grouped_mm
from ragdot.torch._linear import GroupedLinear


def _split(x: torch.Tensor, turned: bool) -> torch.Tensor:
    """float32 [rows, K] as bfloat16 [rows, 3 K]: the products of a plain and a turned one sum to the float32 ones but for 2^-16 of each."""
    high = x.bfloat16()
    low = (x - high.float()).bfloat16()
    return torch.cat([high, low, high] if turned else [high, high, low], 1)


class Router(torch.nn.Linear):
    """Logits [tokens, num_experts] in float32, without bias."""

    def __init__(self, model_size: int, num_experts: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        super().__init__(model_size, num_experts, bias=False, device=device, dtype=dtype)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """As one group: torch's own product gives a token other bits beside other tokens, and close calls another expert."""
        ends = torch.full((1,), tokens.shape[0], dtype=torch.int64, device=tokens.device)
        tokens, weight = autocast(tokens, self.weight)
        if tokens.dtype != weight.dtype:
            tokens, weight = tokens.float(), weight.float()
        if tokens.dtype == torch.float32 and _views.on_gpu(tokens):
            tokens, weight = _split(tokens, False), _split(weight, True)
        return grouped_mm(tokens, weight.T.unsqueeze(0), ends, out_dtype=torch.float32)

    if TYPE_CHECKING:  # torch's own takes and gives anything
        __call__ = forward


class _Processes(OfOneProcess):
    """A process group in a module, whose copies share it."""

    _not_pickled = "MoE: process_group belongs to this process; save the layer's state instead of the layer"

    def __init__(self, group: torch.distributed.ProcessGroup):
        self.group = group


class MoE(torch.nn.Module):
    """Each token goes to its top_k experts, down(silu(gate(x)) * up(x)), whose results are added with the router's weights.

    router: a torch.nn.Linear to num_experts without bias, or what you set in its place: a module that gives logits [tokens, num_experts].
        Their softmax, over the chosen experts scaled to sum to 1 with normalize_weights, weights the experts' results and receives
        gradients. gate_up, down: GroupedLinear, which `recipe` and fuse_wgrad_accumulation are for; gate_up.weight has gate's rows
        first.
    process_group: of torch.distributed; each of its processes holds as many of the experts, in order, and calls with tokens of its own,
        which are sent to their experts and back. The router, equal in all, has gradients from this process's tokens alone. Results
        and gradients of x and the experts have the bits of one process with all experts and the tokens of all, in order.

    A token's result does not depend on the tokens beside it, nor on the number of threads: rows are sorted stably by expert, no token
    is dropped or padded, and results are added in order of rank, in float32.
    """

    def __init__(self, model_size: int, hidden_size: int, num_experts: int, top_k: int, *, recipe: str | Recipe | None = "blockwise",
                 normalize_weights: bool = True, fuse_wgrad_accumulation: bool = False,
                 process_group: torch.distributed.ProcessGroup | None = None, device: torch.device | str | None = None,
                 dtype: torch.dtype | None = None):  # fmt: skip
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise ValueError(f"MoE: top_k is {top_k} of {num_experts} experts; it must be from 1 to {num_experts}")
        processes = 1 if process_group is None else process_group.size()
        if num_experts % processes:
            raise ValueError(f"MoE: num_experts is {num_experts} for {processes} processes of process_group; give a multiple of {processes}")
        self.model_size, self.num_experts, self.top_k, self.normalize_weights = model_size, num_experts, top_k, normalize_weights
        self._processes = None if process_group is None else _Processes(process_group)
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        experts: dict[str, Any] = {"recipe": recipe, "fuse_wgrad_accumulation": fuse_wgrad_accumulation, **where}
        self.router: torch.nn.Module = Router(model_size, num_experts, **where)
        self.gate_up = GroupedLinear(num_experts // processes, model_size, 2 * hidden_size, **experts)
        self.down = GroupedLinear(num_experts // processes, hidden_size, model_size, **experts)

    @property
    def recipe(self) -> Recipe:
        """That of the experts; another one may be set at any time."""
        return self.gate_up.recipe

    @recipe.setter
    def recipe(self, recipe: str | Recipe | None) -> None:
        for name in ("gate_up", "down"):
            if not isinstance(getattr(self, name), GroupedLinear):
                raise ValueError(f"MoE: {name} is a {type(getattr(self, name)).__name__}, whose recipe is that of its codes; set another such "
                                 "layer in its place")  # fmt: skip
        for layer in (self.gate_up, self.down):
            layer.recipe = recipe  # type: ignore[assignment]

    def forward(self, x: torch.Tensor, *, is_first_microbatch: bool | None = None) -> torch.Tensor:
        """x [..., model_size]: the same shape. is_first_microbatch: as in GroupedLinear."""
        if x.shape[-1] != self.model_size:
            raise ValueError(f"MoE: x is {list(x.shape)}; model_size is {self.model_size}, which x's last dimension has to be")
        tokens = x.reshape(-1, x.shape[-1])  # for the router and the experts: their gradients are added before those of x's other uses
        weights, experts = self.route(tokens)

        def run(rows: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
            gate, up = self.gate_up(rows, offs, is_first_microbatch=is_first_microbatch).chunk(2, -1)
            return self.down(torch.nn.functional.silu(gate) * up, offs, is_first_microbatch=is_first_microbatch)

        def run_anywhere(rows: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
            return run(rows, offs) if self._processes is None else through_processes(rows, offs, self._processes.group, run)

        return through_experts(tokens, weights, experts, self.num_experts, run_anywhere, x.shape[:-1])

    if TYPE_CHECKING:  # torch's own takes and gives anything
        __call__ = forward

    def route(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (float32) and numbers of each token's experts, both [tokens, top_k], the best first. A subclass may choose otherwise; a number
        that is no expert's, as -1, adds nothing."""
        logits = self.router(tokens)
        if logits.shape[-1] != self.num_experts:
            raise ValueError(f"MoE: the router gives {logits.shape[-1]} logits for {self.num_experts} experts; set one that gives one for each")
        weights, experts = logits.softmax(-1, dtype=torch.float32).topk(self.top_k)
        if self.normalize_weights:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights, experts
