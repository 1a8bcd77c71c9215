"""Arrays that come by DLPack: every dtype on its own memory, given back in the end; what is no such array is refused."""

import ctypes
import gc

import ml_dtypes
import numpy as np
import pytest
from oracle import bits
from programs import printed_by

import ragdot
from ragdot._arrays import as_array, from_dlpack

CODES = {
    np.dtype(np.float32): (2, 32),
    np.dtype(np.float16): (2, 16),
    np.dtype(ml_dtypes.bfloat16): (4, 16),
    np.dtype(ml_dtypes.float8_e4m3fn): (10, 8),
    np.dtype(ml_dtypes.float8_e5m2): (12, 8),
    np.dtype(ml_dtypes.float8_e8m0fnu): (14, 8),
    np.dtype(np.int8): (0, 8),
    np.dtype(np.int32): (0, 32),
    np.dtype(np.int64): (0, 64),
}


class Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.c_void_p),
                ("strides", ctypes.c_void_p), ("byte_offset", ctypes.c_uint64), ("context", ctypes.c_void_p),
                ("deleter", ctypes.c_void_p)]  # fmt: skip


class Lender:
    """A framework's tensor on the memory of a numpy array: nothing but DLPack, with what a provider may leave out or set."""

    def __init__(self, array: np.ndarray, device: int = 1, code=None, offset: int = 0, dense: bool = False):
        self.array, self.device, self.lent, self.given_back = array, device, 0, 0
        self.shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self.strides = (ctypes.c_int64 * array.ndim)(*(s // array.itemsize for s in array.strides))
        kind, width = code or CODES[array.dtype]
        self.tensor = Managed(array.ctypes.data - offset, device, 0, array.ndim, kind, width, 1, ctypes.addressof(self.shape),
                              None if dense else ctypes.addressof(self.strides), offset)  # fmt: skip
        self.destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.destroy)

    def destroy(self, capsule) -> None:
        """Of a capsule that nobody renamed: the provider calls its own deleter."""
        self.given_back += 1

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self):
        self.lent += 1
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.tensor), b"dltensor", ctypes.cast(self.destructor, ctypes.c_void_p))


class Keeper(Lender):
    """A tensor that does not lend its memory."""

    def __dlpack__(self):
        raise BufferError("it requires a gradient")


@pytest.mark.parametrize("dtype", CODES, ids=str)
def test_every_dtype_lies_on_its_own_memory(dtype):
    array = np.arange(24, dtype=np.float32).reshape(4, 6).astype(dtype)[:, ::2]
    lender = Lender(array, offset=16)
    taken = from_dlpack("x", lender)
    assert taken.dtype == dtype and taken.strides == array.strides and not taken.flags.writeable
    np.testing.assert_array_equal(bits(taken), bits(array))
    array[1, 1] = 100
    assert float(taken[1, 1]) == float(array[1, 1])
    view = taken[1:]
    del taken
    gc.collect()
    assert (lender.lent, lender.given_back) == (1, 0)
    del view
    gc.collect()
    assert lender.given_back == 1


def test_strides_may_be_left_out_and_arrays_may_be_empty():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(from_dlpack("x", Lender(array, dense=True)), array)
    assert from_dlpack("x", Lender(np.empty((0, 3), np.float32))).shape == (0, 3)


def test_products_take_tensors_and_numpy_arrays_alike():
    generator = np.random.default_rng(1)
    x, w = generator.standard_normal((30, 64)).astype(np.float32), generator.standard_normal((3, 64, 20)).astype(np.float32)
    qx, qw, sizes = ragdot.quantize(x, (1, 32)), ragdot.quantize(w, (32, 32)), np.array([10, 0, 15], np.int32)
    lent = [ragdot.ScaledArray(Lender(q.values), Lender(q.scales), q.block) for q in (qx, qw)]
    expected = ragdot.gmm(qx, qw, sizes)
    np.testing.assert_array_equal(bits(ragdot.gmm(*lent, Lender(sizes))), bits(expected))
    plan = ragdot.plan("gmm", qx, qw, sizes)
    for operands in ((qx, qw, sizes), (*lent, Lender(sizes)), (qx, qw, sizes)):
        np.testing.assert_array_equal(bits(plan(*operands)), bits(expected))
    np.testing.assert_array_equal(bits(ragdot.quantize(Lender(x), (1, 32)).values), bits(qx.values))


def test_large_results_begin_at_a_cache_line():
    x, w, sizes = np.ones((2, 8), np.float32), np.ones((1, 8, 600_000), np.float32), np.array([2])
    for out in (ragdot.gmm(x, w, sizes), ragdot.plan("gmm", x, w, sizes)(x, w, sizes)):
        assert out.ctypes.data % 64 == 0
        assert (out == 8).all()


@pytest.mark.parametrize("lender, sentence", [
    (Lender(np.ones((2, 2), np.float32), device=2), "x lies on DLPack device type 2; copy it to the CPU"),
    (Lender(np.ones((2, 2), np.float32), code=(5, 64)), "x is of DLPack type code 5 with 64 bits; give float32, "),
    (Keeper(np.ones((2, 2), np.float32)), "x is a Keeper whose memory is not to be had (it requires a gradient); give a plain array of the CPU"),
])  # fmt: skip
def test_what_cannot_be_taken_is_refused(lender, sentence):
    with pytest.raises(ValueError) as refused:
        as_array("x", lender)
    assert str(refused.value).startswith(sentence)


def test_a_refusal_offers_what_the_argument_may_be():
    float64, ones = Lender(np.ones((2, 2)), code=(2, 64)), np.ones((2, 2), np.float32)
    for call, offered in (
        (lambda: ragdot.quantize(float64, (1, 1)), "quantize: x .* give float32, bfloat16, float16"),
        (lambda: ragdot.tgmm(ones, float64, [2]), "tgmm: rhs .* give float32, bfloat16, float8_e4m3fn, float8_e5m2, int8"),
        (lambda: ragdot.tgmm(ones, ones, float64), "groups: sizes .* give int32, int64"),
    ):
        with pytest.raises(ValueError, match=f"^{offered}$"):
            call()


def test_transposed_reads_what_speaks_dlpack_in_place():
    values, scales = np.ones((3, 4), ml_dtypes.float8_e4m3fn), np.ones((3, 1), np.float32)
    turned = ragdot.ScaledArray(Lender(values), Lender(scales), (1, None)).transposed()
    assert turned.block == (None, 1) and turned.values.shape == (4, 3) and turned.scales.shape == (1, 3)
    assert np.may_share_memory(turned.values, values) and np.may_share_memory(turned.scales, scales)


def test_no_freed_memory_is_read():
    """An address is read from memory that a capsule holds; Python's debug allocator overwrites what has been freed."""
    program = "import numpy as np, ragdot; print(ragdot.gmm(np.ones((8, 256), np.float32), np.ones((2, 256, 128), np.float32), [4, 4]).sum())"
    assert float(printed_by(program, PYTHONMALLOC="debug")) == 8 * 128 * 256


def test_what_others_make_of_pythons_functions_changes_nothing():
    """The attributes of ctypes.pythonapi are one object for all packages of a process."""
    program = """
import ctypes
import numpy as np, ragdot
ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_char_p
ctypes.pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object]
print(ragdot.gmm(np.ones((4, 4), np.float32), np.ones((1, 4, 4), np.float32), [4]).sum())
"""
    assert float(printed_by(program)) == 64
