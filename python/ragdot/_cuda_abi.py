"""The structs and the functions of include/ragdot/cuda.h for ctypes; tests/test_abi.py compares them with the header."""

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int32, c_size_t, c_void_p

from ragdot import _abi


class GroupPlaces(ctypes.Structure):
    """ragdot_cuda_group_places."""

    _fields_ = [("starts", c_void_p), ("sizes", c_void_p)]


class Options(ctypes.Structure):
    """ragdot_cuda_options."""

    _fields_ = [
        ("struct_size", c_size_t),
        ("stream", c_void_p),
        ("multiprocessors", c_int32),
        ("starts_aligned", c_int32),
        ("col_wise_groups", POINTER(GroupPlaces)),
    ]


def aligned_rows(rows: int, groups: int) -> int:
    """ragdot_cuda_aligned_rows."""
    return rows + 15 * groups


_ARGS = {"gmm": _abi.GmmArgs, "tgmm": _abi.TgmmArgs, "quantize": _abi.QuantizeArgs, "quantize_both": _abi.QuantizeBothArgs}
# Result, then arguments.
FUNCTIONS = {
    "ragdot_cuda_refusal": (c_char_p,),
    **{f"ragdot_cuda_{name}_workspace_bytes": (c_int, POINTER(args), POINTER(Options), POINTER(c_size_t)) for name, args in _ARGS.items()},
    **{f"ragdot_cuda_{name}": (c_int, POINTER(args), POINTER(Options), c_void_p, c_size_t) for name, args in _ARGS.items()},
}
