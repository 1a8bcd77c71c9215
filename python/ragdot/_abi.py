"""The structs, numbers and functions of include/ragdot/ragdot.h for ctypes; tests/test_abi.py compares them with the header."""

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_void_p

WHOLE_AXIS = 2**63 - 1
OK, INVALID_ARGUMENT, UNSUPPORTED, OUT_OF_MEMORY, FAILED = range(5)

FORMATS = {"f32": 1, "bf16": 2, "f16": 3, "e4m3": 4, "e5m2": 5, "i8": 6, "e8m0": 7}
ACTIVATIONS = {"none": 0, "relu": 1, "tanh": 2, "silu": 3, "gelu_tanh": 4, "gelu_erf": 5}
ROWS_OUTSIDE = {"zero": 0, "leave": 1}
ORIGINS = {"global": 0, "per_group": 1}
RHS_LAYOUTS = {"strided": 0, "packed": 1}
RECIPES = {"absmax": 0, "pow2": 1, "mx": 2, "fixed": 3}
GROUP_KINDS = {"sizes": 0, "ends": 1, "offsets": 2, "starts_and_sizes": 3}
INDEX_I32, INDEX_I64 = 0, 1


class View(ctypes.Structure):
    """ragdot_view and ragdot_const_view."""

    _fields_ = [
        ("data", c_void_p),
        ("format", c_int32),
        ("batch", c_int64),
        ("rows", c_int64),
        ("cols", c_int64),
        ("batch_stride", c_int64),
        ("row_stride", c_int64),
        ("col_stride", c_int64),
    ]


class Scales(ctypes.Structure):
    """ragdot_scales."""

    _fields_ = [("view", View), ("block_rows", c_int64), ("block_cols", c_int64), ("origin", c_int32)]


class Operand(ctypes.Structure):
    """ragdot_operand."""

    _fields_ = [("values", View), ("scales", Scales)]


class Groups(ctypes.Structure):
    """ragdot_groups."""

    _fields_ = [("kind", c_int32), ("index", c_int32), ("data", c_void_p), ("sizes", c_void_p), ("count", c_int64)]


class Tiling(ctypes.Structure):
    """ragdot_tiling."""

    _fields_ = [("tm", c_int64), ("tk", c_int64), ("tn", c_int64)]


class Options(ctypes.Structure):
    """ragdot_options."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("tiling", POINTER(Tiling)),
        ("kernel", c_char_p),
        ("threads", c_int32),
        ("strictness", c_int32),
        ("run", c_void_p),
        ("concurrency", c_void_p),
        ("executor_context", c_void_p),
    ]


class Openmp(ctypes.Structure):
    """ragdot_openmp."""

    _fields_ = [("parallel", c_void_p), ("max_threads", c_void_p)]


class GmmArgs(ctypes.Structure):
    """ragdot_gmm_args."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("lhs", Operand),
        ("rhs", Operand),
        ("packed_rhs", c_void_p),
        ("groups", Groups),
        ("out", View),
        ("bias", View),
        ("activation", c_int32),
        ("rows_outside", c_int32),
        ("out_mode", c_int32),
        ("rhs_layout", c_int32),
        ("first_group", c_int64),
    ]


class TgmmArgs(ctypes.Structure):
    """ragdot_tgmm_args."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("lhs", Operand),
        ("rhs", Operand),
        ("groups", Groups),
        ("out", View),
        ("out_mode", c_int32),
        ("first_group", c_int64),
    ]


class ScalesOut(ctypes.Structure):
    """ragdot_scales_out."""

    _fields_ = [("view", View), ("block_rows", c_int64), ("block_cols", c_int64)]


class QuantizedOut(ctypes.Structure):
    """ragdot_quantized_out."""

    _fields_ = [("values", View), ("scales", ScalesOut), ("recipe", c_int32)]


class QuantizeArgs(ctypes.Structure):
    """ragdot_quantize_args."""

    _fields_ = [("struct_size", c_size_t), ("input", View), ("groups", POINTER(Groups)), ("out", QuantizedOut)]


class QuantizeBothArgs(ctypes.Structure):
    """ragdot_quantize_both_args."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("input", View),
        ("groups", POINTER(Groups)),
        ("row_wise", QuantizedOut),
        ("col_wise", QuantizedOut),
    ]


class RequantizeArgs(ctypes.Structure):
    """ragdot_requantize_args."""

    _fields_ = [("struct_size", c_size_t), ("input", Operand), ("groups", POINTER(Groups)), ("out", QuantizedOut)]


class DequantizeArgs(ctypes.Structure):
    """ragdot_dequantize_args."""

    _fields_ = [("struct_size", c_size_t), ("input", Operand), ("groups", POINTER(Groups)), ("out", View)]


class KernelInfo(ctypes.Structure):
    """ragdot_kernel_info."""

    _fields_ = [("struct_size", c_size_t), ("name", c_char_p), ("reason", c_char_p), ("usable", c_int32)]


# Result, then arguments. Pointers that calls prepare as numbers are c_void_p.
_OPTIONS = POINTER(Options)
FUNCTIONS = {
    "ragdot_last_error": (c_char_p,),
    "ragdot_version": (c_char_p,),
    "ragdot_openmp_run": (None, c_void_p, c_int32, c_void_p, c_void_p),
    "ragdot_openmp_concurrency": (c_int32, c_void_p),
    "ragdot_pack_rhs": (c_int, POINTER(Operand), _OPTIONS, POINTER(c_void_p)),
    "ragdot_pack_values": (c_int, POINTER(View), _OPTIONS, c_void_p, c_size_t),
    "ragdot_packed_free": (None, c_void_p),
    "ragdot_packed_size_bytes": (c_size_t, c_void_p),
    "ragdot_packed_describe": (c_char_p, c_void_p),
    "ragdot_gmm": (c_int, POINTER(GmmArgs), _OPTIONS),
    "ragdot_tgmm": (c_int, POINTER(TgmmArgs), _OPTIONS),
    "ragdot_plan_gmm": (c_int, POINTER(GmmArgs), _OPTIONS, POINTER(c_void_p)),
    "ragdot_plan_tgmm": (c_int, POINTER(TgmmArgs), _OPTIONS, POINTER(c_void_p)),
    "ragdot_plan_free": (None, c_void_p),
    "ragdot_plan_workspace_bytes": (c_size_t, c_void_p),
    "ragdot_plan_describe": (c_char_p, c_void_p),
    "ragdot_plan_kernel": (c_char_p, c_void_p),
    "ragdot_plan_tiling": (Tiling, c_void_p),
    "ragdot_run_gmm": (c_int, c_void_p, c_void_p, c_void_p, c_size_t),
    "ragdot_run_tgmm": (c_int, c_void_p, c_void_p, c_void_p, c_size_t),
    "ragdot_quantize": (c_int, POINTER(QuantizeArgs), _OPTIONS),
    "ragdot_quantize_both": (c_int, POINTER(QuantizeBothArgs), _OPTIONS),
    "ragdot_requantize": (c_int, POINTER(RequantizeArgs), _OPTIONS),
    "ragdot_dequantize": (c_int, POINTER(DequantizeArgs), _OPTIONS),
    "ragdot_to_e8m0": (c_int, POINTER(View), POINTER(View)),
    "ragdot_kernel_count": (c_int32,),
    "ragdot_kernel": (c_int, c_int32, POINTER(KernelInfo)),
    "ragdot_force_kernel": (c_int, c_char_p),
    "ragdot_error_bound": (c_double, c_double, c_int64, c_int64, c_double),
    "ragdot_gmm_exact_and_bound": (c_int, POINTER(GmmArgs), c_void_p, c_void_p, c_int64),
    "ragdot_tgmm_exact_and_bound": (c_int, POINTER(TgmmArgs), c_void_p, c_void_p, c_int64),
}


def declare(library: ctypes.CDLL, functions: dict[str, tuple] = FUNCTIONS) -> ctypes.CDLL:
    """The library with the types of these functions set."""
    for name, (result, *arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
