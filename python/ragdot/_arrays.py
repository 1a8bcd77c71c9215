"""Arrays of numpy and ml_dtypes, and whatever speaks DLPack, as the library's views: in place wherever it can read them there."""

import ctypes
import math
from typing import Any

import ml_dtypes
import numpy as np

from ragdot import _abi

DTYPES: dict[str, np.dtype] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f16": np.dtype(np.float16),
    "e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "i8": np.dtype(np.int8),
    "e8m0": np.dtype(ml_dtypes.float8_e8m0fnu),
}
FORMATS: dict[np.dtype, int] = {dtype: _abi.FORMATS[name] for name, dtype in DTYPES.items()}
# What arguments may be, for sentences; the library says which of them go together.
OPERANDS, VALUES = ("f32", "bf16", "e4m3", "e5m2", "i8"), ("e4m3", "e5m2", "i8")
SCALES, FLOATS = ("f32", "bf16", "e8m0"), ("f32", "bf16", "f16")
_ANY = tuple(DTYPES)
# Type code and bits of DLPack's DLDataType.
_DLPACK = {(2, 32): DTYPES["f32"], (4, 16): DTYPES["bf16"], (2, 16): DTYPES["f16"], (10, 8): DTYPES["e4m3"], (12, 8): DTYPES["e5m2"],
           (0, 8): DTYPES["i8"], (14, 8): DTYPES["e8m0"], (0, 32): np.dtype(np.int32), (0, 64): np.dtype(np.int64)}  # fmt: skip
_DLPACK_CPU, _DLPACK_PINNED = 1, 3

_capsule_pointer = ctypes.pythonapi["PyCapsule_GetPointer"]  # a function object of its own: as an attribute it is everybody's
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_at = ctypes.c_void_p.from_address


class _Tensor(ctypes.Structure):
    """DLTensor, as it lies at the beginning of a DLManagedTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Interface(ctypes.Structure):
    """PyArrayInterface of numpy's array protocol."""

    _fields_ = [
        ("two", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("typekind", ctypes.c_char),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("descr", ctypes.c_void_p),
    ]


_DATA = _Interface.data.offset


class _Lent:
    """Memory that numpy takes by its array interface; holds the capsule, which gives the memory back when it is collected."""

    def __init__(self, capsule: object, interface: dict[str, Any]):
        self.capsule, self.__array_interface__ = capsule, interface


def from_dlpack(what: str, x: Any, offered: tuple[str, ...] = _ANY) -> np.ndarray:
    """A read-only array on the memory of `x`. numpy's own from_dlpack refuses bf16 and FP8."""
    try:
        device = int(x.__dlpack_device__()[0])
    except (AttributeError, BufferError, NotImplementedError, RuntimeError, TypeError) as error:
        if callable(is_deleted := getattr(x, "is_deleted", None)) and is_deleted():
            raise ValueError(f"{what} is a {type(x).__name__} that was deleted or donated; give one that still has its memory") from error
        raise ValueError(f"{what} is a {type(x).__name__} without memory of its own ({error}); in traced code use ragdot.jax or "
                         "ragdot.torch") from error  # fmt: skip
    if device not in (_DLPACK_CPU, _DLPACK_PINNED):
        raise ValueError(f"{what} lies on DLPack device type {device}; copy it to the CPU")
    if callable(is_neg := getattr(x, "is_neg", None)) and is_neg():
        raise ValueError(f"{what} is a {type(x).__name__} that is yet to be negated, which DLPack does not tell; give x.resolve_neg()")
    try:
        capsule = x.__dlpack__()
    except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{what} is a {type(x).__name__} whose memory is not to be had ({error}); give a plain array of the CPU") from error
    tensor = _Tensor.from_address(_capsule_pointer(capsule, b"dltensor"))
    dtype = _DLPACK.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    if dtype is None:
        raise ValueError(f"{what} is {getattr(x, 'dtype', f'of DLPack type code {tensor.code} with {tensor.bits} bits')}; give {listed(offered)}")
    shape = tuple(tensor.shape[: tensor.ndim])
    # Strides may be left out where the array is dense in C order.
    strides = tuple(dtype.itemsize * stride for stride in tensor.strides[: tensor.ndim]) if tensor.strides else None
    interface = {"version": 3, "typestr": f"<i{dtype.itemsize}", "shape": shape, "strides": strides,
                 "data": ((tensor.data or 0) + tensor.byte_offset, True)}  # fmt: skip
    if 0 in shape:  # the data may be null then
        return np.empty(shape, dtype)
    return np.asarray(_Lent(capsule, interface)).view(dtype)


def new_array(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array for a result. A large one begins at a cache line, where the library writes past the caches; numpy's begin behind one."""
    line, large = 64, 4 << 20
    size = math.prod(shape) * dtype.itemsize
    if size <= large:
        return np.empty(shape, dtype)
    memory = np.empty(size + line, np.uint8)
    start = -address(memory) % line
    return memory[start : start + size].view(dtype).reshape(shape)


def listed(names: tuple[str, ...]) -> str:
    """The dtypes of these formats; another name stands for itself."""
    return ", ".join(str(DTYPES.get(name, name)) for name in names)


def as_array(what: str, x: Any, offered: tuple[str, ...] = _ANY) -> np.ndarray:
    """`x` as an array, on its memory where it has any."""
    if isinstance(x, np.ndarray):
        if isinstance(x, np.ma.MaskedArray):
            raise ValueError(f"{what} is a masked array, whose mask no product looks at; give x.filled(0), or what else stands for it")
        return x
    if hasattr(x, "__dlpack__"):
        return from_dlpack(what, x, offered)
    array = np.asarray(x)
    if array.dtype.kind in "OSU":
        raise ValueError(f"{what} is a {type(x).__name__}; give an array of {listed(offered)}")
    return array


def dtype_of(what: str, name: Any, offered: tuple[str, ...]) -> np.dtype:
    """The dtype of a format's name ("e4m3") or of anything that numpy takes for one. Where it is none, the sentence names `offered`."""
    try:
        dtype = DTYPES[name] if isinstance(name, str) and name in DTYPES else np.dtype(name)
    except TypeError:
        dtype = None
    if dtype not in FORMATS:
        raise ValueError(f"{what} is {name!r}; give {', '.join(offered)} or the dtype of one")
    return dtype


def address(array: np.ndarray) -> int:
    """Of the first element. By numpy's C-side array interface: a third of the time of __array_interface__ or .ctypes."""
    capsule = array.__array_struct__  # what it points to goes with it
    return _at(_capsule_pointer(capsule, None) + _DATA).value or 0


def in_place(array: np.ndarray) -> bool:
    """Whether the library's views can describe the array: ascending whole elements, each axis stepping over what lies within it."""
    if array.flags.c_contiguous:
        return True
    size = used = array.itemsize
    for stride, extent in sorted(zip(array.strides, array.shape)):
        if extent > 1:
            if stride < used or stride % size:
                return False
            used = stride * extent
    return True


def has_unit_stride(array: np.ndarray) -> bool:
    """Whether rows or columns are contiguous, as operands of products need it."""
    rows, cols = array.shape[-2:]
    return rows <= 1 or cols <= 1 or array.itemsize in array.strides[-2:]


def to_read(what: str, x: Any, ndim: int, shape: str, offered: tuple[str, ...]) -> np.ndarray:
    """An input of `ndim` axes that a view can describe: `x` itself, or a copy where its strides are negative, odd, or make elements overlap."""
    array = as_array(what, x, offered)
    if array.ndim != ndim:
        raise ValueError(f"{what} has shape {list(array.shape)}; it must be {shape}")
    if array.dtype not in FORMATS:
        raise ValueError(f"{what} is {array.dtype}; give {listed(offered)}")
    return array if in_place(array) else np.ascontiguousarray(array)


def to_write(what: str, x: Any, ndim: int, shape: str) -> np.ndarray:
    """An output that the caller gave. It is never copied: what a view cannot describe is refused."""
    if not isinstance(x, np.ndarray):
        raise ValueError(f"{what} is a {type(x).__name__}; give a numpy array")
    if not x.flags.writeable:
        raise ValueError(f"{what} is read-only; give a writable array")
    if to_read(what, x, ndim, shape, FLOATS) is not x:
        raise ValueError(f"{what} has strides {list(x.strides)} in bytes; give one with ascending strides of whole elements that do not overlap")
    return x


def dense_view(dtype: np.dtype, shape: tuple[int, ...]) -> _abi.View:
    """Of an array whose shape alone counts."""
    batch, rows, cols = (1,) * (3 - len(shape)) + shape
    return _abi.View(None, FORMATS[dtype], batch, rows, cols, rows * cols, cols, 1)


def view_of(array: np.ndarray) -> _abi.View:
    """A matrix, or a batch of them, by its strides."""
    if array.size == 0:  # numpy's strides are zero then
        return dense_view(array.dtype, array.shape)
    data, number, size = address(array), FORMATS[array.dtype], array.itemsize
    if array.ndim == 2:
        (rows, cols), (row_stride, col_stride) = array.shape, array.strides
        return _abi.View(data, number, 1, rows, cols, 0, row_stride // size, col_stride // size)
    (batch, rows, cols), (batch_stride, row_stride, col_stride) = array.shape, array.strides
    return _abi.View(data, number, batch, rows, cols, batch_stride // size, row_stride // size, col_stride // size)
