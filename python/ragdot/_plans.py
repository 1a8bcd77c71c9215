"""A product prepared ahead: a struct whose pointers change from call to call, a plan, and workspace."""

import ctypes
from typing import Any

import numpy as np

from ragdot import _abi
from ragdot._arrays import FORMATS, address, new_array, to_read, to_write, view_of
from ragdot._calls import Output
from ragdot._choices import Tiling, options_of
from ragdot._groups import as_groups
from ragdot._library import LIBRARY, OfOneProcess, check, free_with, refuse
from ragdot._packing import PackedWeights
from ragdot._products import call_of
from ragdot._scaled import ScaledArray, fill_operand, transposed

_DTYPES = {number: dtype for dtype, number in FORMATS.items()}


class _Slot:
    """The layout of the array that a struct was last filled from: for one of the same layout the pointer alone changes."""

    __slots__ = ("shape", "strides", "dtype")

    def __init__(self):
        self.shape = None

    def remember(self, array: Any) -> None:
        """None, or what is no numpy array, is forgotten."""
        if isinstance(array, np.ndarray):
            self.shape, self.strides, self.dtype = array.shape, array.strides, array.dtype
        else:
            self.shape = None

    def fits(self, array: Any) -> bool:
        return type(array) is np.ndarray and array.shape == self.shape and array.strides == self.strides and array.dtype is self.dtype


class _OperandSlot:
    """lhs or rhs."""

    __slots__ = ("name", "op", "ndim", "shape", "struct", "values_view", "scales_view", "values", "scales", "block", "origin")

    def __init__(self, op: str, name: str, struct: _abi.Operand):
        self.op, self.name, self.struct = op, name, struct
        self.ndim, self.shape = (3, "[groups, rows, columns]") if op != "tgmm" and name == "rhs" else (2, "[rows, columns]")
        self.values_view, self.scales_view = struct.values, struct.scales.view
        self.values, self.scales, self.block, self.origin = _Slot(), _Slot(), None, None

    def put(self, x: Any) -> Any:
        """Points the struct at x. Returns what has to stay alive."""
        if type(x) is ScaledArray:
            values, scales = x.values, x.scales
            if self.block == x.block and self.origin == x.origin and self.values.fits(values) and self.scales.fits(scales):
                self.values_view.data, self.scales_view.data = address(values), address(scales)
                return x
        elif self.block is None and self.values.fits(x):
            self.values_view.data = address(x)
            return x
        return self._fill(x)

    def _fill(self, x: Any) -> Any:
        self.values.remember(None)
        self.struct.scales = _abi.Scales()
        turned = transposed(self.op, self.name, x) if self.op == "dlhs" and self.name == "rhs" else x
        held = fill_operand(self.op, self.name, turned, self.ndim, self.shape, self.struct)
        scaled = isinstance(x, ScaledArray)
        given = (x.values, x.scales) if scaled else (x,)
        # An array that was copied, or came by DLPack, has to be looked at each time.
        if all(isinstance(a, np.ndarray) and np.may_share_memory(a, h) for a, h in zip(given, held)):
            self.values.remember(given[0])
            self.scales.remember(given[-1])
            self.block, self.origin = (x.block, x.origin) if scaled else (None, None)
        return held


class _Frame:
    """What one running call needs for itself: arguments, and workspace."""

    def __init__(self, op: str, like: _abi.GmmArgs | _abi.TgmmArgs, workspace_bytes: int):
        self.args = type(like).from_buffer_copy(like)
        self.lhs, self.rhs = _OperandSlot(op, "lhs", self.args.lhs), _OperandSlot(op, "rhs", self.args.rhs)
        self.packed = op != "tgmm" and bool(like.packed_rhs)
        self.groups, self.groups_struct = _Slot(), self.args.groups
        self.out, self.out_view = _Slot(), self.args.out
        self.lhs_view = self.args.lhs.values
        self.address = ctypes.addressof(self.args)
        self.workspace = np.empty(workspace_bytes, np.uint8)
        self.workspace_address = address(self.workspace)

    def put_groups(self, groups: Any) -> Any:
        if self.groups.fits(groups):
            self.groups_struct.data = address(groups)
            return groups
        held = as_groups(groups)
        held.fill(self.groups_struct)
        self.groups.remember(groups if held.data is groups else None)
        return held

    def put_rhs(self, rhs: Any) -> Any:
        if isinstance(rhs, PackedWeights):
            rhs.check_op(self.rhs.op)
            self.args.rhs, self.args.packed_rhs, self.packed = _abi.Operand(), rhs.pointer, True
            self.rhs.values.remember(None)
            return rhs
        if self.packed:
            self.args.packed_rhs, self.packed = None, False
        return self.rhs.put(rhs)

    def put_bias(self, bias: Any) -> Any:
        """None takes the plan's bias away, which the run then refuses."""
        if self.rhs.op == "tgmm":
            raise ValueError("tgmm: bias belongs to gmm; leave it out")
        held = None if bias is None else to_read(f"{self.rhs.op}: bias", bias, 2, "[groups, columns]", ("f32",))
        self.args.bias = _abi.View() if held is None else view_of(held)
        return held

    def put_out(self, out: np.ndarray, given: bool) -> None:
        if self.out.fits(out) and (not given or out.flags.writeable):
            self.out_view.data = address(out)
            return
        if given:
            to_write(f"{self.lhs.op}: out", out, 3 if self.lhs.op == "tgmm" else 2, "that of the result")
        self.args.out = view_of(out)
        self.out.remember(out)


class Plan(OfOneProcess):
    """What plan gives: call it as often as you like, from any number of threads, each call with arrays of its own."""

    _not_pickled = "a Plan is memory of one process; pickle the arguments of plan and plan where it is used"

    def __init__(self, op: str, like: _abi.GmmArgs | _abi.TgmmArgs, columns: tuple[int, ...], pointer: ctypes.c_void_p):
        self._op, self._like, self._columns, self._pointer = op, like, columns, pointer.value
        free_with(self, LIBRARY.ragdot_plan_free, pointer)
        self._dtype = _DTYPES[like.out.format]
        self._has_bias = op != "tgmm" and bool(like.bias.format)
        self._leaves = op != "tgmm" and bool(like.rows_outside)
        self._run = LIBRARY.ragdot_run_tgmm if op == "tgmm" else LIBRARY.ragdot_run_gmm
        self._workspace_bytes = LIBRARY.ragdot_plan_workspace_bytes(pointer)
        self._frames: list[_Frame] = []

    def __call__(self, lhs: Any, rhs: Any, groups: Any, *, bias: Any = None, out: np.ndarray | None = None) -> np.ndarray:
        """Computes; arguments as in gmm, dlhs and tgmm, in the formats, grids and sizes of the plan, with as many rows or fewer.

        Returns out, a new array unless one is given. Raises as the products do.
        """
        try:
            frame = self._frames.pop()  # no other call has it until this one is done
        except IndexError:
            frame = _Frame(self._op, self._like, self._workspace_bytes)
        held = [frame.lhs.put(lhs), frame.put_rhs(rhs), frame.put_groups(groups)]
        if bias is not None or self._has_bias:
            held.append(frame.put_bias(bias))
        result = self._new_out(frame.lhs_view.rows) if out is None else out
        frame.put_out(result, out is not None)
        status = self._run(self._pointer, frame.address, frame.workspace_address, self._workspace_bytes)
        # A frame with a bias that the plan lacks is not used again.
        if bias is None or self._has_bias:
            self._frames.append(frame)
        if status:
            refuse(status)
        return result

    def _new_out(self, rows: int) -> np.ndarray:
        if self._like.out_mode:
            raise ValueError(f"{self._op}: this plan accumulates; give out, the float32 array to add to")
        if self._leaves:
            raise ValueError(f"{self._op}: this plan leaves rows outside as they are; give out, the array whose other rows are kept")
        return new_array(self._columns if self._op == "tgmm" else (rows, *self._columns), self._dtype)

    @property
    def workspace_bytes(self) -> int:
        """Of each call that runs at the same time as others."""
        return self._workspace_bytes

    @property
    def kernel(self) -> str:
        """Name of the kernel that computes."""
        return LIBRARY.ragdot_plan_kernel(self._pointer).decode()

    @property
    def tiling(self) -> Tiling:
        """Rows, depth and columns of a work item."""
        tiling = LIBRARY.ragdot_plan_tiling(self._pointer)
        return tiling.tm, tiling.tk, tiling.tn

    def describe(self) -> str:
        """Lines for people: problem, kernel and why not the others, tile, threads, workspace."""
        return LIBRARY.ragdot_plan_describe(self._pointer).decode()

    def __repr__(self) -> str:
        return f"<ragdot.Plan: {self.describe().splitlines()[0]}>"


def plan(op: str, lhs: Any, rhs: Any, groups: Any, *, bias: Any = None, activation: str | None = None, out_dtype: Any = None,
         first_group: int | None = None, rows_outside: str = "zero", accumulate: bool = False, num_groups: int | None = None,
         tiling: Tiling | None = None, kernel: str | None = None, threads: int | None = None, strict: bool = False) -> Plan:  # fmt: skip
    """Chooses kernel, tiles and workspace once for calls like this one.

    op: "gmm", "dlhs" or "tgmm". lhs, rhs, groups and the rest are those of a call like the ones to come: their shapes, formats,
    grids and choices count, their contents do not. The rows of lhs are the largest M that a call may have.

    Returns a Plan: plan(lhs, rhs, groups, bias=, out=). Raises as the products do.
    """
    output = Output(out_dtype, accumulate=accumulate, wanted=False)
    call = call_of(op, lhs, rhs, groups, output, bias=bias, activation=activation, first_group=first_group, rows_outside=rows_outside,
                   num_groups=num_groups)  # fmt: skip
    pointer = ctypes.c_void_p()
    function = LIBRARY.ragdot_plan_tgmm if op == "tgmm" else LIBRARY.ragdot_plan_gmm
    check(function(call.args, options_of(op, tiling, kernel, threads, strict), pointer))
    out = call.args.out
    return Plan(op, call.args, (out.batch, out.rows, out.cols) if op == "tgmm" else (out.cols,), pointer)
