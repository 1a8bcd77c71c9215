"""The C interface through ctypes, with arrays of numpy and ml_dtypes: quantisers, and products prepared ahead."""

import ctypes
import os

import ml_dtypes
import numpy as np

FORMATS = {
    np.dtype(np.float32): 1,
    np.dtype(ml_dtypes.bfloat16): 2,
    np.dtype(np.float16): 3,
    np.dtype(ml_dtypes.float8_e4m3fn): 4,
    np.dtype(ml_dtypes.float8_e5m2): 5,
    np.dtype(np.int8): 6,
    np.dtype(ml_dtypes.float8_e8m0fnu): 7,
}
WHOLE_AXIS = 2**63 - 1
RECIPES = {"absmax": 0, "pow2": 1, "mx": 2, "fixed": 3}


class View(ctypes.Structure):
    """ragdot_view and ragdot_const_view."""

    _fields_ = [("data", ctypes.c_void_p), ("format", ctypes.c_int32)] + [
        (name, ctypes.c_int64) for name in ("batch", "rows", "cols", "batch_stride", "row_stride", "col_stride")
    ]


class Scales(ctypes.Structure):
    """ragdot_scales."""

    _fields_ = [("view", View), ("block_rows", ctypes.c_int64), ("block_cols", ctypes.c_int64), ("origin", ctypes.c_int32)]


class Operand(ctypes.Structure):
    """ragdot_operand."""

    _fields_ = [("values", View), ("scales", Scales)]


class ScalesOut(ctypes.Structure):
    """ragdot_scales_out."""

    _fields_ = [("view", View), ("block_rows", ctypes.c_int64), ("block_cols", ctypes.c_int64)]


class QuantizedOut(ctypes.Structure):
    """ragdot_quantized_out."""

    _fields_ = [("values", View), ("scales", ScalesOut), ("recipe", ctypes.c_int32)]


class QuantizeArgs(ctypes.Structure):
    """ragdot_quantize_args."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("input", View), ("groups", ctypes.c_void_p), ("out", QuantizedOut)]


class DequantizeArgs(ctypes.Structure):
    """ragdot_dequantize_args."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("input", Operand), ("groups", ctypes.c_void_p), ("out", View)]


class Groups(ctypes.Structure):
    """ragdot_groups."""

    _fields_ = [("kind", ctypes.c_int32), ("index", ctypes.c_int32), ("data", ctypes.c_void_p), ("sizes", ctypes.c_void_p),
                ("count", ctypes.c_int64)]  # fmt: skip


class Options(ctypes.Structure):
    """ragdot_options."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("tiling", ctypes.c_void_p), ("kernel", ctypes.c_char_p),
                ("threads", ctypes.c_int32), ("strictness", ctypes.c_int32), ("run", ctypes.c_void_p),
                ("concurrency", ctypes.c_void_p), ("executor_context", ctypes.c_void_p)]  # fmt: skip


class GmmArgs(ctypes.Structure):
    """ragdot_gmm_args."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("lhs", Operand), ("rhs", Operand), ("packed_rhs", ctypes.c_void_p),
                ("groups", Groups), ("out", View), ("bias", View), ("activation", ctypes.c_int32),
                ("rows_outside", ctypes.c_int32), ("out_mode", ctypes.c_int32), ("first_group", ctypes.c_int64)]  # fmt: skip


class TgmmArgs(ctypes.Structure):
    """ragdot_tgmm_args."""

    _fields_ = [("struct_size", ctypes.c_size_t), ("lhs", Operand), ("rhs", Operand), ("groups", Groups), ("out", View),
                ("out_mode", ctypes.c_int32), ("first_group", ctypes.c_int64)]  # fmt: skip


def load() -> ctypes.CDLL:
    """The library that RAGDOT_LIBRARY names."""
    path = os.environ.get("RAGDOT_LIBRARY")
    if not path:
        raise RuntimeError("RAGDOT_LIBRARY is not set; name the built libragdot.so, or run ./dev test")
    library = ctypes.CDLL(path)
    for name in ("ragdot_last_error", "ragdot_version", "ragdot_plan_kernel"):
        getattr(library, name).restype = ctypes.c_char_p
    library.ragdot_plan_kernel.argtypes = [ctypes.c_void_p]
    library.ragdot_plan_workspace_bytes.argtypes = [ctypes.c_void_p]
    library.ragdot_plan_workspace_bytes.restype = ctypes.c_size_t
    return library


LIBRARY = load()


def view(array: np.ndarray) -> View:
    """A matrix, or a batch of them, by its strides."""
    rows, cols = array.shape[-2:]
    batch, batch_stride = (array.shape[0], array.strides[0]) if array.ndim == 3 else (1, 0)
    strides = (stride // array.itemsize for stride in (batch_stride, *array.strides[-2:]))
    return View(array.ctypes.data, FORMATS[array.dtype], batch, rows, cols, *strides)


def check(status: int) -> None:
    """Raises the library's sentence."""
    if status != 0:
        raise ValueError(LIBRARY.ragdot_last_error().decode())


def quantize(x, dtype, block, recipe="absmax", scale_dtype=np.float32, scales=None):
    """x [rows, cols] -> values and scales; scales are given for recipe fixed."""
    values = np.empty(x.shape, dtype)
    extents = [1 if b == WHOLE_AXIS else -(-dim // b) for dim, b in zip(x.shape, block)]
    if scales is None:
        scales = np.empty(extents, scale_dtype)
    out = QuantizedOut(view(values), ScalesOut(view(scales), *block), RECIPES[recipe])
    check(LIBRARY.ragdot_quantize(ctypes.byref(QuantizeArgs(ctypes.sizeof(QuantizeArgs), view(x), None, out)), None))
    return values, scales


def dequantize(values, scales, block, dtype=np.float32):
    """values * scales -> [rows, cols]."""
    out = np.empty(values.shape, dtype)
    scaled = operand(values, scales, block)
    check(LIBRARY.ragdot_dequantize(ctypes.byref(DequantizeArgs(ctypes.sizeof(DequantizeArgs), scaled, None, view(out))), None))
    return out


def operand(values, scales=None, block=(WHOLE_AXIS, WHOLE_AXIS), origin=0) -> Operand:
    """Values with the scales of their blocks; without scales it is unscaled."""
    return Operand(view(values), Scales(View() if scales is None else view(scales), *block, origin))


class Product:
    """A gmm or tgmm prepared ahead: plan, workspace and, for gmm, `copies` of packed weights that calls take in turn."""

    def __init__(self, args: GmmArgs | TgmmArgs, threads: int, copies: int = 1):
        self.args, self.copies, self.calls = args, [], 0
        args.struct_size = ctypes.sizeof(args)
        options = Options(ctypes.sizeof(Options), threads=threads)
        self.op = "gmm" if isinstance(args, GmmArgs) else "tgmm"
        if self.op == "gmm":
            for _ in range(copies):
                packed = ctypes.c_void_p()
                check(LIBRARY.ragdot_pack_rhs(ctypes.byref(args.rhs), ctypes.byref(options), ctypes.byref(packed)))
                self.copies.append(packed)
            args.rhs, args.packed_rhs = Operand(), self.copies[0]
        self.plan = ctypes.c_void_p()
        check(getattr(LIBRARY, f"ragdot_plan_{self.op}")(ctypes.byref(args), ctypes.byref(options), ctypes.byref(self.plan)))
        self.kernel = LIBRARY.ragdot_plan_kernel(self.plan).decode()
        self.workspace = ctypes.create_string_buffer(LIBRARY.ragdot_plan_workspace_bytes(self.plan))
        self.run = getattr(LIBRARY, f"ragdot_run_{self.op}")
        self.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

    def __call__(self) -> None:
        """Computes into the arguments' out."""
        if self.copies:
            self.args.packed_rhs = self.copies[self.calls % len(self.copies)]
            self.calls += 1
        check(self.run(self.plan, ctypes.addressof(self.args), ctypes.addressof(self.workspace), len(self.workspace)))
