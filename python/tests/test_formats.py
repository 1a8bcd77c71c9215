"""The library's codecs against ml_dtypes: every code, every bf16, and random f32."""

import ml_dtypes
import numpy as np
import pytest
from c_library import WHOLE_AXIS, dequantize, quantize

WHOLE = (WHOLE_AXIS, WHOLE_AXIS)
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
    np.testing.assert_array_equal(dequantize(codes, ONE, WHOLE), expected)


@pytest.mark.parametrize("dtype", FP8)
@pytest.mark.parametrize("source", [np.float32, ml_dtypes.bfloat16])
def test_every_bf16_encodes_alike(dtype, source):
    x = every_bf16().astype(source)
    values, _ = quantize(x, dtype, WHOLE, "fixed", scales=ONE.copy())
    np.testing.assert_array_equal(values.view(np.uint8), saturated(x.astype(np.float32), dtype).view(np.uint8))


@pytest.mark.parametrize("dtype", FP8)
def test_every_f16_encodes_alike(dtype):
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    x = np.where(np.isfinite(x), x, np.float16(0))
    values, _ = quantize(x, dtype, WHOLE, "fixed", scales=ONE.copy())
    np.testing.assert_array_equal(values.view(np.uint8), saturated(x.astype(np.float32), dtype).view(np.uint8))


@pytest.mark.parametrize("dtype", FP8)
def test_random_f32_encode_alike(dtype):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((512, 512)) * np.exp2(rng.integers(-24, 24, (512, 512)))).astype(np.float32)
    values, _ = quantize(x, dtype, WHOLE, "fixed", scales=ONE.copy())
    np.testing.assert_array_equal(values.view(np.uint8), saturated(x, dtype).view(np.uint8))


def test_every_e8m0_code_is_its_power_of_two():
    codes = np.arange(255, dtype=np.uint8).reshape(1, 255).view(ml_dtypes.float8_e8m0fnu)
    values = np.ones((1, 255), ml_dtypes.float8_e4m3fn)
    np.testing.assert_array_equal(dequantize(values, codes, (1, 1)), np.exp2(np.arange(255) - 127.0).astype(np.float32).reshape(1, 255))


@pytest.mark.parametrize("out", [ml_dtypes.bfloat16, np.float16])
def test_halves_round_alike(out):
    rng = np.random.default_rng(2)
    scales = (rng.standard_normal((256, 256)) * np.exp2(rng.integers(-20, 14, (256, 256)))).astype(np.float32)
    values = np.ones((256, 256), ml_dtypes.float8_e4m3fn)
    expected = scales.astype(out)
    np.testing.assert_array_equal(dequantize(values, scales, (1, 1), out).view(np.uint16), expected.view(np.uint16))


def test_blockwise_scales_are_amax_over_fmax():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 260)).astype(np.float32)
    values, scales = quantize(x, ml_dtypes.float8_e4m3fn, (128, 128))
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
    values, scales = quantize(x, dtype, (1, 32), recipe, ml_dtypes.float8_e8m0fnu)
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
    values, scales = quantize(x, dtype, (1, 4))
    assert scales[0, 0] == np.float32(2) / np.float32(FP8[dtype])
    back = values.astype(np.float32)[0]
    assert np.isnan(back[0])
    assert back[1:].tolist() == [FP8[dtype], -FP8[dtype], FP8[dtype]]


def test_refusals_arrive_as_sentences():
    x = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="out scales are .*; out .* needs"):
        quantize(x, ml_dtypes.float8_e4m3fn, (1, 1), scales=np.ones((1, 1), np.float32))
