"""gmm, dlhs and tgmm: every recipe, form of groups and option, within the error bound of float64."""

import copy
import math
import pickle

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import assert_right, bf16, bits, product, row_ranges

import ragdot
from ragdot import Groups, ScaledArray

SIZES = [70, 0, 129, 1, 40]
ROWS, INNER, OUTER = 250, 200, 136  # ten rows behind the groups; inner and outer end within a block
BLOCKWISE = ((1, 128), (128, 128))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def quantized(x: np.ndarray, block, **words):
    return x if block is None else ragdot.quantize(x, block, **words)


# Operands of gmm by recipe: blocks of lhs and rhs, and how they are quantised.
RECIPES = {
    "bf16": (None, None, {}),
    "channelwise": ((1, None), (None, 1), {}),
    "blockwise": (*BLOCKWISE, {}),
    "blockwise_bf16_scales": (*BLOCKWISE, {"scale_format": "bf16"}),
    "blockwise_e8m0": (*BLOCKWISE, {"scaling": "pow2", "scale_format": "e8m0"}),
    "mx": ((1, 32), (32, 1), {"scaling": "mx", "scale_format": "e8m0"}),
    "e5m2": (*BLOCKWISE, {"format": "e5m2"}),
    "i8": (*BLOCKWISE, {"format": "i8"}),
    "per_tensor": ((None, None), (None, None), {}),
    "weights_only": (None, (128, 128), {}),
    "odd_grids": ((3, 7), (50, 11), {}),
}


def operands(recipe: str, op: str):
    """lhs and rhs of an op."""
    lhs_block, rhs_block, words = RECIPES[recipe]
    lhs = bf16(normal(ROWS, OUTER if op == "dlhs" else INNER))
    if op == "tgmm":  # grids of gmm turned to the rows
        turned = None if lhs_block is None else lhs_block[::-1]
        return quantized(lhs, turned, **words), quantized(bf16(normal(ROWS, OUTER, seed=1)), turned, **words)
    return quantized(lhs, lhs_block, **words), quantized(bf16(normal(len(SIZES), INNER, OUTER, seed=1)), rhs_block, **words)


def call(op: str):
    return getattr(ragdot, op)


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("out_dtype", ["f32", "bf16", "f16"])
def test_recipes(op, recipe, out_dtype):
    lhs, rhs = operands(recipe, op)
    result = call(op)(lhs, rhs, SIZES, out_dtype=out_dtype)
    assert result.dtype == {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16}[out_dtype]
    assert_right(op, result, lhs, rhs, SIZES)


def test_formats_of_results():
    x, w = normal(ROWS, INNER), normal(len(SIZES), INNER, OUTER)
    assert ragdot.gmm(x, w, SIZES).dtype == np.float32
    assert ragdot.gmm(bf16(x), bf16(w), SIZES).dtype == ml_dtypes.bfloat16
    assert ragdot.gmm(x, w, SIZES, out_dtype=np.float16).dtype == np.float16
    assert ragdot.tgmm(bf16(x), bf16(x), SIZES).dtype == np.float32
    assert_right("gmm", ragdot.gmm(x, w, SIZES), x, w, SIZES)


FORMS = {
    "sizes": lambda dtype: np.array(SIZES, dtype),
    "ends": lambda dtype: Groups.from_ends(np.cumsum(SIZES).astype(dtype)),
    "offsets": lambda dtype: Groups.from_offsets(np.array([0, *np.cumsum(SIZES)], dtype)),
    "starts_and_sizes": lambda dtype: Groups.from_starts_and_sizes(np.cumsum([0, *SIZES[:-1]]).astype(dtype), np.array(SIZES, dtype)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_forms_of_groups_are_the_same_groups(form, dtype):
    lhs, rhs = operands("blockwise", "gmm")
    groups = FORMS[form](dtype)
    np.testing.assert_array_equal(bits(ragdot.gmm(lhs, rhs, groups)), bits(ragdot.gmm(lhs, rhs, SIZES)))
    np.testing.assert_array_equal(Groups.from_sizes(groups).sizes() if form == "sizes" else groups.sizes(), SIZES)


@pytest.mark.parametrize("groups", [Groups.from_offsets([5, 80, 80, 240]),
                                    Groups.from_starts_and_sizes(np.array([0, 100, 200], np.int32), [50, 90, 50])])  # fmt: skip
@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_gaps_belong_to_no_group(op, groups):
    lhs, rhs = operands("bf16", op)
    if op != "tgmm":
        rhs = rhs[:3]
    result = call(op)(lhs, rhs, groups)
    assert_right(op, result, lhs, rhs, groups)
    if op != "tgmm":
        inside = np.zeros(ROWS, bool)
        for rows in row_ranges(groups):
            inside[rows] = True
        assert not result[~inside].any() and result[inside].any(axis=1).all()


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
@pytest.mark.parametrize("first, count", [(0, 2), (1, 3), (4, 1), (2, 0)])
def test_local_groups(op, first, count):
    lhs, rhs = operands("blockwise", op)
    local = {"first_group": first}
    if op == "tgmm":
        local["num_groups"] = count
    else:
        rhs = ScaledArray(rhs.values[first : first + count], rhs.scales[first : first + count], rhs.block)
    assert_right(op, call(op)(lhs, rhs, SIZES, **local), lhs, rhs, SIZES, **local)


def test_all_groups_that_follow_are_local_to_tgmm():
    lhs, rhs = operands("blockwise", "tgmm")
    result = ragdot.tgmm(lhs, rhs, SIZES, first_group=2)
    np.testing.assert_array_equal(bits(result), bits(ragdot.tgmm(lhs, rhs, SIZES)[2:]))
    out = np.empty((2, INNER, OUTER), np.float32)
    np.testing.assert_array_equal(bits(ragdot.tgmm(lhs, rhs, SIZES, first_group=2, out=out)), bits(result[:2]))


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_per_group_scales(op):
    x, dy = bf16(normal(ROWS, INNER if op != "dlhs" else OUTER)), bf16(normal(ROWS, OUTER, seed=2))
    lhs = ragdot.quantize(x, (1, 128) if op != "tgmm" else (128, 1), groups=SIZES)
    assert lhs.origin == "per_group" and lhs.scales.shape[0] == (240 if op != "tgmm" else 5)
    rhs = ragdot.quantize(dy, (128, 1), groups=SIZES) if op == "tgmm" else operands("blockwise", op)[1]
    assert_right(op, call(op)(lhs, rhs, SIZES, out_dtype="f32"), lhs, rhs, SIZES)


def strided(x: np.ndarray, how: str) -> np.ndarray:
    """The same numbers in other memory."""
    if how == "padded":
        return np.concatenate([x, np.full_like(x, 7)], axis=-1)[..., : x.shape[-1]]
    if how == "columns":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if how == "every_other_row":
        return np.repeat(x, 2, axis=-2)[..., ::2, :]
    if how == "experts_inside":
        return np.ascontiguousarray(np.moveaxis(x, 0, -2)).swapaxes(0, 1) if x.ndim == 3 else x
    if how == "reversed":
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    return np.repeat(np.repeat(x, 2, axis=-1), 2, axis=-2)[..., ::2, ::2]  # no unit stride


@pytest.mark.parametrize("how", ["padded", "columns", "every_other_row", "experts_inside", "reversed", "no_unit_stride"])
@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_strides_change_no_bit(op, how):
    lhs, rhs = operands("blockwise", op)
    moved = [ScaledArray(strided(x.values, how), strided(x.scales, how), x.block) for x in (lhs, rhs)]
    for x, y in zip(moved, (lhs, rhs)):
        np.testing.assert_array_equal(bits(x.values), bits(y.values))
    np.testing.assert_array_equal(bits(call(op)(*moved, SIZES)), bits(call(op)(lhs, rhs, SIZES)))


@pytest.mark.parametrize("how, copied", [("padded", 0), ("columns", 0), ("every_other_row", 0), ("reversed", 4), ("no_unit_stride", 2)])
def test_copies_are_made_only_where_no_stride_is_one(monkeypatch, how, copied):
    lhs, rhs = (ScaledArray(strided(x.values, how), strided(x.scales, how), x.block) for x in operands("blockwise", "gmm"))
    copies, original = [], np.ascontiguousarray

    def counting(x):
        copies.append(not x.flags.c_contiguous)
        return original(x)

    monkeypatch.setattr(np, "ascontiguousarray", counting)
    ragdot.gmm(lhs, rhs, SIZES)
    assert sum(copies) == copied


def test_rows_that_share_memory_are_copied():
    windows = np.lib.stride_tricks.sliding_window_view(normal(ROWS + INNER - 1), INNER)
    weights = np.broadcast_to(normal(INNER, OUTER), (len(SIZES), INNER, OUTER))
    np.testing.assert_array_equal(bits(ragdot.gmm(windows, weights, SIZES)), bits(ragdot.gmm(windows.copy(), weights.copy(), SIZES)))


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_out_is_written_where_it_lies(op):
    lhs, rhs = operands("blockwise", op)
    expected = call(op)(lhs, rhs, SIZES, out_dtype="f32")
    buffer = np.full((*expected.shape[:-1], expected.shape[-1] + 3), 9, np.float32)
    out = buffer[..., :-3]
    assert call(op)(lhs, rhs, SIZES, out=out) is out
    np.testing.assert_array_equal(bits(out), bits(expected))
    assert (buffer[..., -3:] == 9).all()
    columns = np.empty(expected.swapaxes(-1, -2).shape, np.float32).swapaxes(-1, -2)
    np.testing.assert_array_equal(bits(call(op)(lhs, rhs, SIZES, out=columns)), bits(expected))


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_accumulate_adds_one_f32(op):
    lhs, rhs = operands("blockwise", op)
    result = call(op)(lhs, rhs, SIZES, out_dtype="f32")
    out = normal(*result.shape, seed=3)
    expected = out + result
    if op == "tgmm":
        expected[1] = out[1]  # the empty group
    assert call(op)(lhs, rhs, SIZES, out=out, accumulate=True) is out
    np.testing.assert_array_equal(bits(out), bits(expected))


def test_rows_outside_are_zero_or_left():
    lhs, rhs = operands("blockwise", "gmm")
    out = np.full((ROWS, OUTER), 5, np.float32)
    ragdot.gmm(lhs, rhs, SIZES, out=out, rows_outside="leave")
    assert (out[240:] == 5).all() and not (out[:240] == 5).any()
    ragdot.gmm(lhs, rhs, SIZES, out=out)
    assert not out[240:].any()


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2))),
}


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_bias_and_activation(activation):
    lhs, rhs = operands("channelwise", "gmm")
    bias = normal(len(SIZES), OUTER, seed=4)
    result = ragdot.gmm(lhs, rhs, SIZES, bias=bias, activation=activation, out_dtype="f32")
    exact = product("gmm", lhs, rhs, SIZES)
    for rows, b in zip(row_ranges(SIZES), bias):
        exact[rows] += b
    if activation is not None:
        exact = ACTIVATIONS[activation](exact)
    np.testing.assert_allclose(result, exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("words", [{"threads": 1}, {"threads": 3}, {"tiling": (16, 32, 48)}, {"kernel": "portable"}])
@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_how_a_call_runs_changes_no_bit(op, words):
    lhs, rhs = operands("blockwise", op)
    np.testing.assert_array_equal(bits(call(op)(lhs, rhs, SIZES, **words)), bits(call(op)(lhs, rhs, SIZES)))


def test_strict_names_a_bad_scale():
    lhs, rhs = operands("blockwise", "gmm")
    lhs.scales[3, 1] = np.nan
    assert np.isnan(ragdot.gmm(lhs, rhs, SIZES, out_dtype="f32")[3]).all()
    with pytest.raises(ValueError, match=r"gmm: lhs scales \[3, 1\] is nan"):
        ragdot.gmm(lhs, rhs, SIZES, strict=True)


@pytest.mark.parametrize("op", ["gmm", "dlhs"])
def test_packed_weights_give_the_same_bits(op):
    lhs, rhs = operands("blockwise", op)
    packed = ragdot.pack(rhs, op=op)
    assert packed.shape == (5, INNER, OUTER) and packed.nbytes >= rhs.values.nbytes and "e4m3" in packed.describe()
    expected = call(op)(lhs, rhs, SIZES)
    assert copy.deepcopy(packed) is packed is copy.copy(packed)
    with pytest.raises(TypeError, match="PackedWeights are memory of one process; pickle the array and pack it where it is used"):
        pickle.dumps(packed)
    rhs.values[:] = 0  # the packed copy is its own
    np.testing.assert_array_equal(bits(call(op)(lhs, packed, SIZES)), bits(expected))


@pytest.mark.parametrize("m, k, n, g", [(0, 3, 4, 2), (5, 0, 4, 2), (5, 3, 0, 2), (0, 0, 0, 0), (5, 3, 4, 0), (1, 1, 1, 1)])
def test_every_size_may_be_zero(m, k, n, g):
    sizes = [m] * min(g, 1) + [0] * (g - 1)
    x, w, dy = normal(m, k), normal(g, k, n), normal(m, n)
    assert_right("gmm", ragdot.gmm(x, w, sizes), x, w, sizes)
    assert_right("dlhs", ragdot.dlhs(dy, w, sizes), dy, w, sizes)
    result = ragdot.tgmm(x, dy, sizes)
    assert result.shape == (g, k, n)
    if g:
        assert_right("tgmm", result, x, dy, sizes)


@st.composite
def problems(draw):
    """Any small problem: sizes, grids, formats, form of groups."""
    op = draw(st.sampled_from(["gmm", "dlhs", "tgmm"]))
    sizes = draw(st.lists(st.integers(0, 40), min_size=1, max_size=5))
    m, k, n = sum(sizes) + draw(st.integers(0, 5)), draw(st.integers(1, 140)), draw(st.integers(1, 70))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = {"gmm": ((m, k), (len(sizes), k, n)), "dlhs": ((m, n), (len(sizes), k, n)), "tgmm": ((m, k), (m, n))}[op]
    extent = st.one_of(st.none(), st.integers(1, 150))
    found = []
    for shape in shapes:
        x = bf16(generator.standard_normal(shape) * np.exp2(generator.integers(-6, 6, shape)))
        if draw(st.booleans()):
            scaling = draw(st.sampled_from(["absmax", "pow2"]))
            scale_format = draw(st.sampled_from(["f32", "bf16"] + ["e8m0"] * (scaling == "pow2")))
            block, form = (draw(extent), draw(extent)), draw(st.sampled_from(["e4m3", "e5m2"]))
            groups = sizes if len(shape) == 2 and draw(st.booleans()) else None
            x = ragdot.quantize(x, block, form, scaling, scale_format, groups)
        found.append(x)
    return op, *found, np.array(sizes), draw(st.sampled_from(["f32", "bf16"]))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problems())
def test_any_problem(problem):
    op, lhs, rhs, sizes, out_dtype = problem
    assert_right(op, call(op)(lhs, rhs, sizes, out_dtype=out_dtype), lhs, rhs, sizes)


def test_what_bounds_a_kernel_with_an_order_of_its_own():
    """As docs/numerics.md has it, for one float32 chain over all of K, which this library's bound is too tight for."""
    depth = 4096
    lhs, rhs = np.full((1, depth), 2.0**-13, np.float32), np.full((1, depth, 1), 2.0**-12, np.float32)
    lhs[0, 0] = rhs[0, 0, 0] = 1
    lhs, rhs = lhs.astype(ml_dtypes.bfloat16), -rhs.astype(ml_dtypes.bfloat16)
    chain = np.float32(0)
    for a, b in zip(lhs[0].astype(np.float32), rhs[0, :, 0].astype(np.float32)):
        chain = np.float32(chain + a * b)
    exact, bound = ragdot.error_bound("gmm", lhs, rhs, [1])
    absolute = ragdot.error_bound("gmm", abs(lhs), abs(rhs), [1]).exact
    assert absolute == -exact == 1 + (depth - 1) * 2.0**-25
    off = abs(chain - exact)
    assert bound < off <= depth * 2**-24 / (1 - depth * 2**-24) * absolute
    assert abs(ragdot.gmm(lhs, rhs, [1], out_dtype="f32") - exact) <= bound


def test_groups_of_a_strided_array_are_its_own():
    x, w, every_second = bf16(np.ones((5, 8))), bf16(np.arange(3 * 8 * 4).reshape(3, 8, 4)), np.array([3, 1, 0, 1, 2, 9])[::2]
    np.testing.assert_array_equal(bits(ragdot.gmm(x, w, ragdot.Groups("sizes", every_second))), bits(ragdot.gmm(x, w, [3, 0, 2])))
