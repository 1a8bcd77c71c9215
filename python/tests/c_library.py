"""The quantisers of the C interface through ctypes, with arrays of numpy and ml_dtypes."""

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


def load() -> ctypes.CDLL:
    """The library that RAGDOT_LIBRARY names."""
    path = os.environ.get("RAGDOT_LIBRARY")
    if not path:
        raise RuntimeError("RAGDOT_LIBRARY is not set; name the built libragdot.so, or run ./dev test")
    library = ctypes.CDLL(path)
    library.ragdot_last_error.restype = ctypes.c_char_p
    return library


LIBRARY = load()


def view(array: np.ndarray) -> View:
    """A matrix as a dense view."""
    rows, cols = array.shape
    return View(array.ctypes.data, FORMATS[array.dtype], 1, rows, cols, rows * cols, cols, 1)


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
    operand = Operand(view(values), Scales(view(scales), *block, 0))
    check(LIBRARY.ragdot_dequantize(ctypes.byref(DequantizeArgs(ctypes.sizeof(DequantizeArgs), operand, None, view(out))), None))
    return out
