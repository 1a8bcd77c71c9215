"""Calls of products. A plan and a filled C struct are kept for the next call on tensors of the same layout: then pointers alone change.

Planning, and writing a struct from Python, take longer than a small product.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch

from ragdot import _abi
from ragdot._library import LIBRARY, check, free_with, refuse
from ragdot.torch._executor import OPTIONS
from ragdot.torch._packed import columns_of, is_packed, packed_view
from ragdot.torch._pages import LARGE_BYTES, with_large_pages
from ragdot.torch._views import SCALE_FORMATS, VALUE_FORMATS, Grid, groups_of, scale_rows, view_of

_GMM = (_abi.GmmArgs, LIBRARY.ragdot_plan_gmm, LIBRARY.ragdot_run_gmm)
_TGMM = (_abi.TgmmArgs, LIBRARY.ragdot_plan_tgmm, LIBRARY.ragdot_run_tgmm)
_MOST_LAYOUTS = 512
_kept: dict[tuple, list["_Frame"]] = {}
# One for each call that ran at the same time as others.
_workspaces: list["_Workspace"] = []


class _Workspace:
    """Memory for a running call."""

    __slots__ = ("bytes", "memory", "address")

    def __init__(self, size: int):
        self.bytes, self.memory = size, torch.empty(size, dtype=torch.uint8, device="cpu")
        self.address = self.memory.data_ptr()


class _Frame:
    """A plan, a struct, and its fields that change. One call at a time has it."""

    __slots__ = ("args", "address", "plan", "bytes", "lhs", "lhs_scales", "rhs", "rhs_scales", "groups", "out", "bias", "like", "large",
                 "__weakref__")  # fmt: skip

    def __init__(self, args: Any, plan: int, out: torch.Tensor):
        self.args, self.address, self.plan = args, ctypes.addressof(args), plan
        self.bytes = LIBRARY.ragdot_plan_workspace_bytes(plan)
        self.groups, self.out, self.bias = args.groups, args.out, getattr(args, "bias", None)
        self.lhs, self.lhs_scales = args.lhs.values, args.lhs.scales.view
        self.rhs, self.rhs_scales = args.rhs.values, args.rhs.scales.view
        self.like = out.new_empty(1).expand(out.shape)  # a result like it is made from this in half the time
        self.large = out.nbytes >= LARGE_BYTES
        free_with(self, LIBRARY.ragdot_plan_free, plan)


def fill_operand(operand: _abi.Operand, x: torch.Tensor, scales: torch.Tensor | None, grid: Grid) -> list[torch.Tensor]:
    """Writes the struct. Returns the tensors that it points to, some of them copies, which have to outlive its use."""
    operand.values, x = packed_view(x) if is_packed(x) else view_of(x, VALUE_FORMATS, unit=True)
    if scales is None:
        return [x]
    view, scales = view_of(scales, SCALE_FORMATS)
    operand.scales = _abi.Scales(view, *grid)
    return [x, scales]


def _call(product: tuple, lhs: torch.Tensor, rhs: torch.Tensor, ends: torch.Tensor, lhs_scales: torch.Tensor | None,
          rhs_scales: torch.Tensor | None, grids: Sequence[int], bias: torch.Tensor | None, first_group: int, dtype: torch.dtype | None,
          out: torch.Tensor | None, out_mode: int) -> torch.Tensor:  # fmt: skip
    """The product into out; None makes it, dense and of the dtype."""
    struct, plan, run = product
    key = (
        struct, torch.get_num_threads(), first_group, dtype, lhs.shape, lhs.stride(), lhs.dtype, rhs.shape, rhs.stride(), rhs.dtype,
        ends.shape, ends.stride(), ends.dtype, *grids,
        lhs_scales is not None and (lhs_scales.shape, lhs_scales.stride(), lhs_scales.dtype),
        rhs_scales is not None and (rhs_scales.shape, rhs_scales.stride(), rhs_scales.dtype),
        bias is not None and (bias.shape, bias.stride(), bias.dtype),
        out is not None and (out_mode, out.shape, out.stride(), out.dtype),
    )  # fmt: skip
    frames = _frames_of(key)
    frame, copies = _taken(frames), None
    if frame is not None:
        if out is None:
            out = torch.empty_like(frame.like, memory_format=torch.contiguous_format)
            if frame.large:
                with_large_pages(out)
        frame.lhs.data, frame.rhs.data = lhs.data_ptr(), rhs.data_ptr()
        frame.groups.data, frame.out.data = ends.data_ptr(), out.data_ptr()
        if lhs_scales is not None:
            frame.lhs_scales.data = lhs_scales.data_ptr()
        if rhs_scales is not None:
            frame.rhs_scales.data = rhs_scales.data_ptr()
        if bias is not None:
            frame.bias.data = bias.data_ptr()
    else:
        if out is None:
            out = with_large_pages(lhs.new_empty((lhs.shape[0], columns_of(rhs)), dtype=dtype))
        args = struct(struct_size=ctypes.sizeof(struct), first_group=first_group, out_mode=out_mode)
        copies = _fill(args, lhs, rhs, ends, lhs_scales, rhs_scales, grids, bias, out)
        frame = _planned(args, plan, out)
    if grids:
        if grids[2]:
            frame.lhs_scales.rows = scale_rows(lhs_scales, ends, grids[0])  # type: ignore[arg-type]  # such grids come with scales
        if grids[5]:
            frame.rhs_scales.rows = scale_rows(rhs_scales, ends, grids[3])  # type: ignore[arg-type]
    workspace = _workspace(frame.bytes)
    status = run(frame.plan, frame.address, workspace.address, frame.bytes)
    _workspaces.append(workspace)
    if not copies:  # a struct that points to copies serves once
        frames.append(frame)
    if status:
        refuse(status)
    return out


def _fill(args: Any, lhs: torch.Tensor, rhs: torch.Tensor, ends: torch.Tensor, lhs_scales: torch.Tensor | None,
          rhs_scales: torch.Tensor | None, grids: Sequence[int], bias: torch.Tensor | None, out: torch.Tensor) -> list[torch.Tensor]:  # fmt: skip
    """Writes the struct. Returns the copies that it points to, which have to outlive its use."""
    held = [*fill_operand(args.lhs, lhs, lhs_scales, grids[:3]), *fill_operand(args.rhs, rhs, rhs_scales, grids[3:])]
    if is_packed(rhs):
        args.rhs_layout = _abi.RHS_LAYOUTS["packed"]
    args.groups, dense_ends = groups_of(ends)
    held.append(dense_ends)
    if bias is not None:
        args.bias, readable = view_of(bias, VALUE_FORMATS)
        held.append(readable)
    args.out, written = view_of(out, VALUE_FORMATS)
    if written is not out:
        raise ValueError(f"tgmm: out has strides {list(out.stride())} and overlaps itself; give one whose elements are apart")
    given = [id(x) for x in (lhs, lhs_scales, rhs, rhs_scales, ends, bias)]
    return [x for x in held if id(x) not in given]


def _planned(args: Any, plan: Any, out: torch.Tensor) -> _Frame:
    pointer = ctypes.c_void_p()
    check(plan(args, OPTIONS, pointer))
    return _Frame(args, pointer.value, out)  # type: ignore[arg-type]  # no null


def _workspace(size: int) -> _Workspace:
    """At least so many bytes, and one. Memory that a call allocates for itself is new pages each time, which cost more than a small product."""
    workspace = _taken(_workspaces)
    return _Workspace(max(size, 1)) if workspace is None or workspace.bytes < size else workspace


def _frames_of(key: tuple) -> list[_Frame]:
    """Those that no call has at the moment; the list itself, where a call puts its frame back."""
    frames = _kept.get(key)
    if frames is None:
        if len(_kept) >= _MOST_LAYOUTS:
            _kept.clear()
        frames = _kept[key] = []
    return frames


def _taken(kept: list[Any]) -> Any:
    """One that no other thread gets as well; None where there is none."""
    try:
        return kept.pop()
    except IndexError:
        return None


def call_gmm(lhs: torch.Tensor, rhs: torch.Tensor, ends: torch.Tensor, lhs_scales: torch.Tensor | None = None,
             rhs_scales: torch.Tensor | None = None, grids: Sequence[int] = (), bias: torch.Tensor | None = None, first_group: int = 0,
             dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:  # fmt: skip
    """ragdot_gmm."""
    return _call(_GMM, lhs, rhs, ends, lhs_scales, rhs_scales, grids, bias, first_group, dtype, None, 0)


def call_tgmm(lhs: torch.Tensor, rhs: torch.Tensor, ends: torch.Tensor, lhs_scales: torch.Tensor | None, rhs_scales: torch.Tensor | None,
              grids: Sequence[int], first_group: int, out: torch.Tensor, out_mode: int) -> None:  # fmt: skip
    """ragdot_tgmm into out, or added to it."""
    _call(_TGMM, lhs, rhs, ends, lhs_scales, rhs_scales, grids, None, first_group, None, out, out_mode)
