"""The main job's own tools: its quantiser, its bound, its balanced clusters, its case files."""

import numpy as np
import pytest

import ragdot
from case_files import read_safetensors, write_safetensors
from real_layer.cases import spec
from real_layer.experts import balanced_clusters, split
from real_layer.model import FeedForward, gelu, gelu_slope
from real_layer.oracle import check
from real_layer.quantizer import WHOLE, Quantized, as_bf16, quantize

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("block", [(1, 128), (128, 128), (WHOLE, 1), (3, 5)])
def test_absmax_scales_hold_the_largest_element(block):
    x = RNG.standard_normal((150, 200)).astype(np.float32)
    q = quantize(x, block)
    back = q.values.astype(np.float64) * q.scale_of_elements()
    assert np.abs(back - x).max() <= np.abs(x).max() / 16
    assert np.abs(q.values.astype(np.float32)).max() == 448


def test_powers_of_two_are_the_smallest_that_fit():
    x = np.array([[448.0, 1.0], [449.0, 1.0], [0.0, 0.0], [0.5, 0.25]], np.float32)
    q = quantize(x, (1, WHOLE), power_of_two=True)
    np.testing.assert_array_equal(q.scales.astype(np.float32).ravel(), [1, 2, 1, 2.0**-9])
    assert q.folds() and spec(q) == "e4m3:1x*"


def test_the_library_quantises_alike():
    x = RNG.standard_normal((150, 200)).astype(np.float32)
    for block in [(1, 128), (128, 128), (3, 5)]:
        q = quantize(x, block)
        library = ragdot.quantize(x, block)
        np.testing.assert_array_equal(library.scales, q.scales)
        np.testing.assert_array_equal(library.values.view(np.uint8), q.values.view(np.uint8))


def test_check_takes_exact_products_and_sees_a_wrong_one():
    sizes = np.array([3, 0, 4])
    lhs, rhs = RNG.integers(-4, 5, (7, 20)), RNG.integers(-4, 5, (3, 20, 5))
    out = np.concatenate([lhs[:3] @ rhs[0], lhs[3:] @ rhs[2]]).astype(np.float32)
    operands = as_bf16(lhs.astype(np.float32)), as_bf16(rhs.astype(np.float32))
    worst, exact = check("gmm", *operands, sizes, out)
    assert worst == 0 and np.array_equal(exact, out)
    out[5, 2] += 0.25
    assert check("gmm", *operands, sizes, out)[0] > 1


def test_tgmm_segments_are_those_of_the_global_grid():
    x = RNG.standard_normal((300, 6)).astype(np.float32)
    q = quantize(x, (128, 1))
    exact = np.stack([(q.values * q.scale_of_elements())[:100].T @ (q.values * q.scale_of_elements())[:100],
                      (q.values * q.scale_of_elements())[100:].T @ (q.values * q.scale_of_elements())[100:]])  # fmt: skip
    assert check("tgmm", q, q, np.array([100, 200]), exact.astype(np.float32))[0] < 1


def test_clusters_are_balanced_and_all_experts_are_the_layer():
    layer = FeedForward(*(RNG.standard_normal(s).astype(np.float32) for s in [(48, 16), (48,), (16, 48), (16,)]))
    clusters = balanced_clusters(layer.up, 4)
    assert clusters.shape == (4, 12) and sorted(clusters.ravel()) == list(range(48))
    x = RNG.standard_normal((20, 16)).astype(np.float32)
    e = split(layer, x, 4, 4)
    assert list(e.sizes) == [20] * 4
    rows = x[e.tokens]
    y = e.combine(e.grouped(gelu(e.grouped(rows, e.up) + e.bias_rows()), e.down), 20) + layer.down_bias
    np.testing.assert_allclose(y, layer(x), rtol=1e-4, atol=1e-4)


def test_gelu_slope_is_its_derivative():
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(gelu_slope(x), (gelu(x + 1e-4) - gelu(x - 1e-4)) / 2e-4, atol=1e-5)


def test_case_files_are_safetensors(tmp_path):
    from safetensors.numpy import load_file

    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_safetensors(tmp_path / "a", {"x": x}, {"problem": "gmm"})
    np.testing.assert_array_equal(load_file(tmp_path / "a")["x"], x)
    tensors, metadata = read_safetensors(tmp_path / "a")
    np.testing.assert_array_equal(tensors["x"], x)
    assert metadata == {"problem": "gmm"}


def test_unscaled_operands_have_scale_one():
    assert (Quantized(np.zeros((2, 3))).scale_of_elements() == 1).all()
