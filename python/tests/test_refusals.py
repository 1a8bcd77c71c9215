"""What bad input gets: the exception of its kind with the sentence of the library or of the package, and nothing written."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from oracle import bf16

import ragdot
from ragdot import Groups, ScaledArray
from ragdot._library import check

X, W, DY, SIZES = bf16(np.ones((6, 8))), bf16(np.ones((3, 8, 4))), bf16(np.ones((6, 4))), np.array([1, 2, 3], np.int32)
QX, QW = ragdot.quantize(X, (1, 4)), ragdot.quantize(W, (4, 2))
F32 = np.float32


class Negated:
    """As torch's imaginary part of a conjugate, whose memory has the other sign."""

    def __dlpack__(self) -> None: ...

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def is_neg(self) -> bool:
        return True


class Traced:
    """Speaks DLPack as arrays of jax do while they are traced."""

    def __dlpack__(self) -> None: ...

    def __dlpack_device__(self) -> None:
        raise AttributeError("no memory yet")


PRODUCTS = [
    # the library's sentences
    (lambda: ragdot.gmm(X, W[:, :7], SIZES), "gmm: inner sizes differ: lhs [6, 8] has K = 8, rhs [3, 7, 4] has K = 7; give rhs as [L, K, N]"),
    (lambda: ragdot.gmm(X, W, [1, 2, 4]), "gmm: group sizes sum to 7; there are 6 rows"),
    (lambda: ragdot.gmm(X, W, [1, -2, 3]), "gmm: group size 1 is -2"),
    (lambda: ragdot.gmm(X, W, Groups.from_ends([1, 4, 3])), "gmm: group end"),
    (lambda: ragdot.gmm(X, W, SIZES, first_group=1), "gmm: rhs has 3 matrices for groups from first_group 1 on"),
    (lambda: ragdot.gmm(X, W, SIZES, bias=np.ones((3, 5), F32)), "gmm: bias is [3, 5]"),
    (lambda: ragdot.gmm(X, W, SIZES, out=np.ones((6, 5), F32)), "gmm: out is [6, 5]"),
    (lambda: ragdot.gmm(X, W, SIZES, out=np.ones((6, 4), bf16(0).dtype), accumulate=True),
     "gmm: out is bf16 and out_mode is accumulate; accumulate needs an f32 out"),
    (lambda: ragdot.gmm(X, W, SIZES, threads=-1), "gmm: threads is -1; it must be 1 or more, or 0 for all"),
    (lambda: ragdot.gmm(X, W, SIZES, tiling=(0, 1, 1)), "gmm: tiling"),
    (lambda: ragdot.gmm(ScaledArray(QX.values, QX.scales[:, :1], (1, 4)), W, SIZES),
     "gmm: lhs scales are [6, 1]; lhs [6, 8] with block 1x4 needs [6, 2]"),
    (lambda: ragdot.gmm(X[:, :4], X.reshape(3, 4, 4), SIZES, out=X[:, :4]), "gmm: out"),
    (lambda: ragdot.tgmm(X, DY[:5], SIZES), "tgmm: row counts differ: lhs [6, 8] has M = 6, rhs [5, 4] has M = 5"),
    (lambda: ragdot.tgmm(X, DY, SIZES, num_groups=4, first_group=0), "tgmm: out has 4 matrices"),
    (lambda: ragdot.quantize(X, (1, 4), groups=[4, 4]), "quantize: group sizes sum to 8"),
    (lambda: ragdot.quantize(X, (1, 4), groups=[2**62, 4]), "quantize: group sizes sum to"),
    (lambda: ragdot.quantize(X, (1, 4), groups=[-(2**62), 4]), "quantize: group size 0 is -4611686018427387904"),
    (lambda: ragdot.dequantize(ScaledArray(QX.values, QX.scales, (1, 4), "per_group")), "dequantize: input"),
    (lambda: ragdot.to_e8m0(np.array([[1, 3]], F32)), "to_e8m0: scales [0, 0, 1] is 3"),
]  # fmt: skip
PACKAGE = [
    # the package's own, before the library is asked
    (lambda: ragdot.gmm(X, W, [2, 2]), "gmm: 2 groups and 3 matrices; give as many, or say by first_group which groups are local"),
    (lambda: ragdot.gmm(X, ragdot.pack(W), [2, 2]), "gmm: 2 groups and 3 matrices; give as many"),
    (lambda: ragdot.plan("dlhs", DY, W, [1, 1, 1, 1]), "dlhs: 4 groups and 3 matrices; give as many"),
    (lambda: ragdot.tgmm(X, DY, SIZES, num_groups=2), "tgmm: 3 groups and 2 matrices; give as many"),
    (lambda: ragdot.gmm(X, W, None), "groups: sizes are None; give int32 or int64 numbers, one for each group"),
    (lambda: ragdot.gmm(X, W, SIZES, rows_outside="leave"), "gmm: rows_outside leave needs out; give the array whose other rows are kept"),
    (lambda: ragdot.plan("gmm", X, W, SIZES, rows_outside="leave")(X, W, SIZES), "gmm: this plan leaves rows outside as they are; give out"),
    (lambda: ragdot.gmm(Traced(), W, SIZES), "gmm: lhs is a Traced without memory of its own (no memory yet); in traced code use ragdot.jax"),
    (lambda: ragdot.gmm(Negated(), W, SIZES), "gmm: lhs is a Negated that is yet to be negated, which DLPack does not tell; give x.resolve_neg()"),
    (lambda: ragdot.gmm(np.ma.masked_array(np.ones((6, 8), F32), False), W, SIZES), "gmm: lhs is a masked array, whose mask no product looks at"),
    (lambda: ragdot.gmm(X[0], W, SIZES), "gmm: lhs has shape [8]; it must be [rows, columns]"),
    (lambda: ragdot.gmm(X, W[0], SIZES), "gmm: rhs has shape [8, 4]; it must be [groups, rows, columns]"),
    (lambda: ragdot.gmm(np.ones((6, 8)), W, SIZES), "gmm: lhs is float64; give float32, bfloat16, float8_e4m3fn, float8_e5m2, int8"),
    (lambda: ragdot.gmm(X, W, SIZES, bias=np.ones((3, 4))), "gmm: bias is float64; give float32"),
    (lambda: ragdot.gmm(X, W, SIZES, out=np.ones((6, 4))), "gmm: out is float64; give float32, bfloat16, float16"),
    (lambda: ragdot.gmm(ScaledArray(X.astype(float), QX.scales, (1, 4)), W, SIZES), "gmm: lhs is float64; give float8_e4m3fn, float8_e5m2, int8"),
    (lambda: ragdot.gmm(ScaledArray(QX.values, QX.scales.astype(float), (1, 4)), W, SIZES),
     "gmm: lhs scales is float64; give float32, bfloat16, float8_e8m0fnu"),
    (lambda: ragdot.gmm(X.astype(">f4"), W, SIZES), "gmm: lhs is >f4; give"),
    (lambda: ragdot.gmm(X, W, SIZES, activation="gelu"), "gmm: activation is 'gelu'; it must be one of none, relu, tanh, silu, gelu_tanh, gelu_erf"),
    (lambda: ragdot.gmm(X, W, SIZES, rows_outside=None), "gmm: rows_outside is None; it must be one of zero, leave"),
    (lambda: ragdot.gmm(X, W, SIZES, out_dtype="float17"), "gmm: out_dtype is 'float17'; give f32, bf16, f16 or the dtype of one"),
    (lambda: ragdot.gmm(X, W, SIZES, out_dtype="int32"), "gmm: out_dtype is 'int32'; give f32, "),
    (lambda: ragdot.gmm(X, W, SIZES, accumulate=True), "gmm: accumulate needs out; give the float32 array to add to"),
    (lambda: ragdot.gmm(X, W, SIZES, out=np.ones((6, 4), F32), out_dtype="bf16"),
     "gmm: out is float32 and out_dtype asks for bf16; leave one of them out"),
    (lambda: ragdot.gmm(X, W, SIZES, out=[[1.0]]), "gmm: out is a list; give a numpy array"),
    (lambda: ragdot.gmm(X, W, SIZES, out=np.broadcast_to(F32(0), (6, 4))), "gmm: out is read-only; give a writable array"),
    (lambda: ragdot.gmm(X, W, SIZES, out=np.ones((6, 4), F32)[::-1]), "gmm: out has strides [-16, 4] in bytes; give one with ascending strides"),
    (lambda: ragdot.gmm(X, W, SIZES, tiling=5), "gmm: tiling is 5; give (rows, depth, columns) of a work item"),
    (lambda: ragdot.gmm(X, W, SIZES, tiling=(16, 64)), "gmm: tiling is (16, 64); give (rows, depth, columns) of a work item"),
    (lambda: ragdot.gmm(X, W, SIZES, threads=2**32 + 1), "gmm: threads is 4294967297; give a whole number of 32 bits"),
    (lambda: ragdot.gmm(X, W, SIZES, threads=1.5), "gmm: threads is 1.5; give a whole number of 32 bits"),
    (lambda: ragdot.gmm(X, W, SIZES, first_group=2**64), "gmm: first_group is 18446744073709551616; give a whole number of 64 bits"),
    (lambda: ragdot.tgmm(X, DY, SIZES, first_group="a"), "tgmm: first_group is 'a'; give a whole number of 64 bits"),
    (lambda: ragdot.tgmm(X, DY, SIZES, num_groups=2, out=np.ones((3, 8, 4), F32)),
     "tgmm: num_groups is 2 and out has 3 matrices; leave num_groups out"),
    (lambda: ragdot.tgmm(X, DY, SIZES, num_groups=-1), "tgmm: num_groups is -1; it must be 0 or more"),
    (lambda: ragdot.tgmm(X, DY, SIZES, num_groups=1.5), "tgmm: num_groups is 1.5; give a whole number of 64 bits"),
    (lambda: ragdot.tgmm(X, DY, SIZES, out=np.ones((8, 4), F32)), "tgmm: out has shape [8, 4]; it must be [3, 8, 4]"),
    (lambda: ragdot.tgmm(X, DY, SIZES, out=np.ones((), F32)), "tgmm: out has shape []; it must be [3, 8, 4]"),
    (lambda: ragdot.gmm(X, W, Groups("lengths", SIZES)), "groups: kind is 'lengths'; it must be one of sizes, ends, offsets, starts_and_sizes"),
    (lambda: ragdot.gmm(X, W, SIZES.astype(np.int16)), "groups: sizes are int16; give int32 or int64"),
    (lambda: ragdot.gmm(X, W, SIZES[None]), "groups: sizes has shape [1, 3]; it must have one axis"),
    (lambda: ragdot.gmm(X, W, [1.0, 2.0]), "groups: sizes are float64; give int32 or int64"),
    (lambda: Groups("sizes", np.ones(3)), "groups: sizes are float64; give int32 or int64"),
    (lambda: Groups("starts_and_sizes", [1]), "groups: sizes are None; give int32 or int64 numbers"),
    (lambda: Groups("ends", [1], [1]), "groups: ends have no lengths; those of starts are given by from_starts_and_sizes"),
    (lambda: Groups.from_offsets([]), "groups: offsets are empty; G groups need G + 1 of them"),
    (lambda: Groups.from_starts_and_sizes([1], [1, 2]), "groups: 1 starts and 2 sizes; give one of each for every group"),
    (lambda: ragdot.gmm(ScaledArray(QX.values, QX.scales, 4), W, SIZES),
     "gmm: lhs: block is 4; give (rows, columns) that share a scale, None for a whole axis"),
    (lambda: ragdot.gmm(ScaledArray(QX.values, QX.scales, np.ones((2, 2), int)), W, SIZES), "gmm: lhs: block is array("),
    (lambda: ragdot.gmm(X, ScaledArray(QW.values, QW.scales, (0, 2)), SIZES),
     "gmm: rhs: block is (0, 2); its extents must be 1 or more, or None for a whole axis"),
    (lambda: ragdot.quantize(X, (0, 1)), "quantize: block is (0, 1); its extents must be 1 or more, or None for a whole axis"),
    (lambda: ragdot.quantize(X, (1.5, 4)), "quantize: block is (1.5, 4); give (rows, columns) that share a scale"),
    (lambda: ragdot.gmm(ScaledArray(QX.values, QX.scales, (1, 4), "local"), W, SIZES),
     "gmm: origin of lhs is 'local'; it must be one of global, per_group"),
    (lambda: ragdot.quantize(X, (1, 4), groups=SIZES).transposed(),
     "ScaledArray: origin is per_group; only scales of origin global can be transposed"),
    (lambda: ragdot.dlhs(DY, ragdot.pack(W), SIZES), "dlhs: rhs was packed for gmm; use pack(rhs, op='dlhs')"),
    (lambda: ragdot.pack(W, op="tgmm"), "pack: op is 'tgmm'; it must be gmm or dlhs"),
    (lambda: ragdot.plan("mm", X, W, SIZES), "op is 'mm'; it must be gmm, dlhs or tgmm"),
    (lambda: ragdot.plan("tgmm", X, DY, SIZES, activation="relu"), "tgmm: bias, activation and rows_outside belong to gmm; leave them out"),
    (lambda: ragdot.error_bound("gmm", X, ragdot.pack(W), SIZES), "error_bound: rhs is packed; give the array or ScaledArray that was packed"),
    (lambda: ragdot.error_bound("gmm", X, W, SIZES, num_groups=3), "gmm: num_groups belongs to tgmm; here rhs says how many groups are local"),
    (lambda: ragdot.quantize(X, (1, 4), scaling="fixed"), "quantize: scaling is 'fixed'; give its scales"),
    (lambda: ragdot.quantize(X, (1, 4), scales=QX.scales), "quantize: scaling is 'absmax'; only fixed takes scales"),
    (lambda: ragdot.quantize(X, (1, 4), scaling="max"), "quantize: scaling is 'max'; it must be one of absmax, pow2, mx, fixed"),
    (lambda: ragdot.quantize(X, (1, 4), "e3m4"), "quantize: format is 'e3m4'; give e4m3, e5m2, i8 or the dtype of one"),
    (lambda: ragdot.quantize(X, (1, 4), np.int32), "quantize: format is <class 'numpy.int32'>; give e4m3, "),
    (lambda: ragdot.quantize(X, (1, 4), scale_format="f64"), "quantize: scale_format is 'f64'; give f32, bf16, e8m0 or the dtype of one"),
    (lambda: ragdot.quantize(X.astype(float), (1, 4)), "quantize: x is float64; give float32, bfloat16, float16"),
    (lambda: ragdot.quantize(X, (1, 4), scaling="fixed", scales=np.ones((6, 2))),
     "quantize: scales is float64; give float32, bfloat16, float8_e8m0fnu"),
    (lambda: ragdot.dequantize(QX, "f64"), "dequantize: dtype is 'f64'; give f32, bf16, f16 or the dtype of one"),
    (lambda: ragdot.to_e8m0(np.ones((1, 2))), "to_e8m0: scales is float64; give float32"),
    (lambda: ragdot.quantize(X, (1, 4), order="A"), "quantize: order is 'A'; it must be C or F"),
    (lambda: ragdot.quantize(X[0], (1, 4)), "quantize: x has shape [8]; it must be [rows, columns] or [batch, rows, columns]"),
    (lambda: ragdot.requantize(X, (1, 4)), "requantize: x is a ndarray; give a ScaledArray"),
    (lambda: ragdot.tgmm(X, ragdot.pack(W), SIZES), "tgmm: rhs is a PackedWeights; give an array of float32, bfloat16, float8_e4m3fn"),
    (lambda: ragdot.gmm(ragdot.pack(W), W, SIZES), "gmm: lhs is a PackedWeights; give an array of"),
    (lambda: ragdot.pack(ragdot.pack(W)), "pack: rhs is a PackedWeights; give an array of"),
    (lambda: ragdot.gmm("x", W, SIZES), "gmm: lhs is a str; give an array of"),
    (lambda: ragdot.gmm(X, None, SIZES), "gmm: rhs is a NoneType; give an array of"),
    (lambda: ragdot.quantize(X, (1, 4), "e4m3", "fixed", "e8m0", scales=QX.scales),
     "quantize: scale_format is 'e8m0' and the scales that are given are float32; leave scale_format out"),
]  # fmt: skip


@pytest.mark.parametrize("call, sentence", PRODUCTS + PACKAGE, ids=lambda x: x[:40] if isinstance(x, str) else "")
def test_sentences(call, sentence):
    with pytest.raises(ValueError) as refused:
        call()
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("call, offered", [
    (lambda: ragdot.gmm(np.ones((6, 8)), W, SIZES), "float32, bfloat16, float8_e4m3fn, float8_e5m2, int8"),
    (lambda: ragdot.quantize(np.ones((6, 8)), (1, 4)), "float32, bfloat16, float16"),
    (lambda: ragdot.gmm(X, W, SIZES, bias=np.ones((3, 4))), "float32"),
    (lambda: ragdot.to_e8m0(np.ones((1, 2))), "float32"),
])  # fmt: skip
def test_what_is_offered_is_what_is_taken(call, offered):
    with pytest.raises(ValueError, match=f" is float64; give {offered}$"):
        call()


@pytest.mark.parametrize("call, sentence", [
    (lambda: ragdot.gmm(X.astype(F32), W, SIZES), "gmm: lhs f32 with rhs bf16 is not offered; pairs are"),
    (lambda: ragdot.gmm(X, W, SIZES, kernel="sse2"), 'gmm: kernel "sse2", which the call asks for, is unknown; take one of '),
    (lambda: ragdot.quantize(X, (1, 4), "i8", "mx"), "quantize: recipe mx is for e4m3 and e5m2 and out is i8; use recipe pow2"),
])  # fmt: skip
def test_what_is_not_offered_is_not_implemented(call, sentence):
    with pytest.raises(NotImplementedError) as refused:
        call()
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("status, kind", [(1, ValueError), (2, NotImplementedError), (3, MemoryError), (4, RuntimeError)])
def test_codes_are_kinds_of_exceptions(status, kind):
    with pytest.raises(ValueError, match="threads"):
        ragdot.gmm(X, W, SIZES, threads=-1)
    with pytest.raises(kind, match="^gmm: threads is -1; it must be 1 or more, or 0 for all$"):
        check(status)


def test_a_refused_call_has_written_nothing():
    out = np.full((6, 4), 7, F32)
    with pytest.raises(ValueError):
        ragdot.gmm(X, W, [1, 2, 4], out=out)
    assert (out == 7).all()


def test_sentences_belong_to_the_thread_that_was_refused():
    def sentence(total):
        with pytest.raises(ValueError) as refused:
            ragdot.gmm(X, W, [total, 0, 0])
        return str(refused.value)

    totals = [7, 8] * 200
    with ThreadPoolExecutor(4) as pool:
        assert [f"sum to {total};" in said for total, said in zip(totals, pool.map(sentence, totals))] == [True] * len(totals)


def test_arrays_whose_memory_is_gone():
    class Donated:
        def __dlpack_device__(self):
            raise TypeError("object of type 'NoneType' has no len()")

        def __dlpack__(self):
            raise AssertionError("never asked")

        def is_deleted(self):
            return True

    with pytest.raises(ValueError, match="gmm: lhs is a Donated that was deleted or donated; give one that still has its memory"):
        ragdot.gmm(Donated(), W, SIZES)
