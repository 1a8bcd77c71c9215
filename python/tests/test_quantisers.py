"""The quantisers against ml_dtypes: every code, every bf16, random f32, every recipe, grids, groups and copies."""

import ml_dtypes
import numpy as np
import pytest
from oracle import bits, real

import ragdot
from ragdot import Groups, ScaledArray

WHOLE = (None, None)
FP8 = {ml_dtypes.float8_e4m3fn: 448.0, ml_dtypes.float8_e5m2: 57344.0}
ONE = np.ones((1, 1), np.float32)


def saturated(x, dtype):
    """x as dtype by ml_dtypes, beyond the largest value saturated."""
    limit = FP8[dtype]
    return np.clip(x, -limit, limit).astype(dtype)


def every_bf16():
    """All finite bf16 as f32 [256, 256]; NaN and Inf replaced by 0."""
    x = np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    return np.where(np.isfinite(x), x, 0).reshape(256, 256)


@pytest.mark.parametrize("dtype", FP8)
def test_every_code_decodes_alike(dtype):
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16).view(dtype)
    expected = codes.astype(np.float32)
    np.testing.assert_array_equal(ragdot.dequantize(ScaledArray(codes, ONE, WHOLE)), expected)


@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize("source", [np.float32, ml_dtypes.bfloat16])
def test_every_bf16_encodes_alike(dtype, source):
    x = every_bf16().astype(source)
    values = ragdot.quantize(x, WHOLE, dtype, "fixed", scales=ONE).values
    np.testing.assert_array_equal(values.view(np.uint8), saturated(x.astype(np.float32), dtype).view(np.uint8))


@pytest.mark.parametrize("dtype", FP8)
def test_every_f16_encodes_alike(dtype):
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    x = np.where(np.isfinite(x), x, np.float16(0))
    values = ragdot.quantize(x, WHOLE, dtype, "fixed", scales=ONE).values
    np.testing.assert_array_equal(values.view(np.uint8), saturated(x.astype(np.float32), dtype).view(np.uint8))


@pytest.mark.parametrize("dtype", FP8)
def test_random_f32_encode_alike(dtype):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((512, 512)) * np.exp2(rng.integers(-24, 24, (512, 512)))).astype(np.float32)
    values = ragdot.quantize(x, WHOLE, dtype, "fixed", scales=ONE).values
    np.testing.assert_array_equal(values.view(np.uint8), saturated(x, dtype).view(np.uint8))


def test_every_e8m0_code_is_its_power_of_two():
    codes = np.arange(255, dtype=np.uint8).reshape(1, 255).view(ml_dtypes.float8_e8m0fnu)
    values = np.ones((1, 255), ml_dtypes.float8_e4m3fn)
    exact = np.exp2(np.arange(255) - 127.0).astype(np.float32).reshape(1, 255)
    np.testing.assert_array_equal(ragdot.dequantize(ScaledArray(values, codes, (1, 1))), exact)


@pytest.mark.parametrize("out", [ml_dtypes.bfloat16, np.float16])
def test_halves_round_alike(out):
    rng = np.random.default_rng(2)
    scales = (rng.standard_normal((256, 256)) * np.exp2(rng.integers(-20, 14, (256, 256)))).astype(np.float32)
    values = np.ones((256, 256), ml_dtypes.float8_e4m3fn)
    expected = scales.astype(out)
    np.testing.assert_array_equal(ragdot.dequantize(ScaledArray(values, scales, (1, 1)), out).view(np.uint16), expected.view(np.uint16))


def test_blockwise_scales_are_amax_over_fmax():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 260)).astype(np.float32)
    q = ragdot.quantize(x, (128, 128))
    values, scales = q.values, q.scales
    assert values.dtype == ml_dtypes.float8_e4m3fn and q.block == (128, 128) and q.origin == "global"
    for i in range(3):
        for j in range(3):
            block = x[128 * i : 128 * (i + 1), 128 * j : 128 * (j + 1)]
            assert scales[i, j] == np.abs(block).max() / np.float32(448)
            expected = (block / scales[i, j]).astype(ml_dtypes.float8_e4m3fn)
            got = values[128 * i : 128 * (i + 1), 128 * j : 128 * (j + 1)]
            np.testing.assert_array_equal(got.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize("recipe", ["pow2", "mx"])
def test_powers_of_two_are_those_of_the_recipe(dtype, recipe):
    rng = np.random.default_rng(4)
    x = (rng.standard_normal((64, 96)) * np.exp2(rng.integers(-60, 60, (64, 1)))).astype(ml_dtypes.bfloat16)
    q = ragdot.quantize(x, (1, 32), dtype, recipe, "e8m0")
    values, scales = q.values, q.scales
    blocks = x.astype(np.float64).reshape(64, 3, 32)
    amax = np.abs(blocks).max(axis=2)
    mantissa, exponent = np.frexp(amax / FP8[dtype] if recipe == "pow2" else amax)
    emax = {448.0: 8, 57344.0: 15}[FP8[dtype]]
    e = exponent - (mantissa == 0.5) if recipe == "pow2" else exponent - 1 - emax
    np.testing.assert_array_equal(scales.astype(np.float64), np.exp2(e))
    expected = saturated((blocks / np.exp2(e)[:, :, None]).astype(np.float32).reshape(64, 96), dtype)
    np.testing.assert_array_equal(values.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize("dtype", FP8)
def test_nan_and_inf_by_element(dtype):
    x = np.array([[np.nan, np.inf, -np.inf, 2.0]], np.float32)
    q = ragdot.quantize(x, (1, 4), dtype)
    assert q.scales[0, 0] == np.float32(2) / np.float32(FP8[dtype])
    back = q.values.astype(np.float32)[0]
    assert np.isnan(back[0])
    assert back[1:].tolist() == [FP8[dtype], -FP8[dtype], FP8[dtype]]


@pytest.mark.parametrize("groups", [[60, 0, 139], Groups.from_offsets([3, 100, 101, 200]), Groups.from_starts_and_sizes([0, 70], [64, 65])])
@pytest.mark.parametrize("block", [(128, 1), (1, 128), (None, 1), (7, None)])
def test_groups_are_quantised_each_alone(groups, block):
    x = np.random.default_rng(5).standard_normal((210, 70)).astype(np.float32)
    q = ragdot.quantize(x, block, groups=groups)
    assert q.origin == "per_group"
    sizes, at = (groups if isinstance(groups, Groups) else Groups.from_sizes(groups)).sizes(), 0
    starts = {"sizes": [0, 60, 60], "offsets": [3, 100, 101], "starts_and_sizes": [0, 70]}[getattr(groups, "kind", "sizes")]
    inside = np.zeros(210, bool)
    for start, size in zip(starts, sizes):
        inside[start : start + size] = True
        alone = ragdot.quantize(x[start : start + size], block)
        np.testing.assert_array_equal(bits(q.values[start : start + size]), bits(alone.values))
        count = len(alone.scales)
        np.testing.assert_array_equal(q.scales[at : at + count], alone.scales)
        at += count
    assert at == len(q.scales) and not bits(q.values[~inside]).any()
    np.testing.assert_array_equal(ragdot.dequantize(q, groups=groups), real(q, groups).astype(np.float32))


@pytest.mark.parametrize("groups", [None, [100, 0, 92]])
def test_both_copies_are_what_quantize_gives(groups):
    x = np.random.default_rng(6).standard_normal((200, 150)).astype(ml_dtypes.bfloat16)
    row_wise, col_wise = ragdot.quantize_both(x, format="e5m2", groups=groups, col_order="F")
    for both, block in ((row_wise, (1, 128)), (col_wise, (128, 1))):
        alone = ragdot.quantize(x, block, "e5m2", groups=groups)
        np.testing.assert_array_equal(bits(both.values), bits(alone.values))
        np.testing.assert_array_equal(both.scales, alone.scales)
        assert (both.block, both.origin) == (alone.block, alone.origin)
    assert row_wise.values.flags.c_contiguous and col_wise.values.flags.f_contiguous


def test_order_f_stores_the_transposed_copy():
    x = np.random.default_rng(7).standard_normal((3, 20, 30)).astype(np.float32)
    q, stored = ragdot.quantize(x, (4, 8)), ragdot.quantize(x, (4, 8), order="F")
    np.testing.assert_array_equal(bits(stored.values), bits(q.values))
    assert stored.values.strides == (600, 1, 20)


def test_requantize_is_dequantize_and_quantize():
    x = np.random.default_rng(8).standard_normal((300, 260)).astype(np.float32)
    for groups in (None, [100, 130]):
        q = ragdot.quantize(x, (1, 128), groups=groups)
        turned = ragdot.requantize(q, (128, 1), scaling="pow2", scale_format="e8m0", groups=groups)
        expected = ragdot.quantize(ragdot.dequantize(q, groups=groups), (128, 1), "e4m3", "pow2", "e8m0", groups=groups)
        np.testing.assert_array_equal(bits(turned.values), bits(expected.values))
        np.testing.assert_array_equal(bits(turned.scales), bits(expected.scales))
        assert turned.origin == expected.origin
    assert ragdot.requantize(q, (1, 128), "i8", groups=groups).values.dtype == np.int8


def test_scales_of_powers_of_two_become_codes():
    x = np.random.default_rng(9).standard_normal((64, 96)).astype(np.float32)
    q = ragdot.quantize(x, (1, 32), scaling="pow2")
    codes = ragdot.to_e8m0(q)
    assert codes.values is q.values and codes.scales.dtype == ml_dtypes.float8_e8m0fnu
    np.testing.assert_array_equal(codes.scales.astype(np.float32), q.scales)
    np.testing.assert_array_equal(bits(codes.scales), bits(ragdot.to_e8m0(q.scales)))


def test_a_batch_has_a_grid_for_each_matrix():
    x = np.random.default_rng(10).standard_normal((3, 50, 40)).astype(np.float32) * np.array([1, 10, 100], np.float32)[:, None, None]
    q = ragdot.quantize(x, (16, 16))
    assert q.scales.shape == (3, 4, 3)
    for matrix, values, scales in zip(x, q.values, q.scales):
        alone = ragdot.quantize(matrix, (16, 16))
        np.testing.assert_array_equal(bits(values), bits(alone.values))
        np.testing.assert_array_equal(scales, alone.scales)


def test_fixed_scales_are_kept_and_dequantize_writes_out():
    x = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    scales = np.array([[0.5], [2.0]], np.float32)
    q = ragdot.quantize(x, (1, None), scaling="fixed", scales=scales)
    assert q.scales is scales and q.values.astype(np.float32).tolist() == [[2, 4], [1.5, 2]]
    out = np.zeros((2, 4), np.float16)
    assert ragdot.dequantize(q, out=out[:, ::2]).tolist() == x.tolist()
    assert out[:, ::2].tolist() == x.tolist() and not out[:, 1::2].any()


def test_what_the_library_refuses():
    x = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="quantize: out scales are .*; out .* needs"):
        ragdot.quantize(x, (1, 1), scaling="fixed", scales=np.ones((1, 1), np.float32))
    x[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"input \[0, 1, 0\] is NaN; i8 has none"):
        ragdot.quantize(x, (1, 1), "i8")
    x[1, 0] = np.inf
    with pytest.raises(ValueError, match=r"input \[0, 1, 0\] is Inf"):
        ragdot.quantize(x, (1, 1), strict=True)
