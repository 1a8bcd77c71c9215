"""What programs for CUDA devices are made of, without a GPU: their calls lowered, and computed by a fake of the handlers on the CPU.

The library's rules for the GPU are the real ones: they size each call's workspace, and refuse what no kernel takes.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data import bf16, same
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import ragdot.jax as rj
from ragdot._recipes import RECIPES
from ragdot._scaled import ScaledArray
from ragdot.jax import _cuda, _handlers, _ragged_dot
from ragdot.jax._operands import LOCAL, ORIGINS, CallGroups
from ragdot.jax._quantize import quantize_local

SIZES = np.array([70, 0, 129, 1, 40], np.int32)
ROWS, INNER, OUTER = 256, 208, 144  # sixteen rows behind the groups; inner and outer end within a block
POW2 = rj.Recipe(scaling="pow2", gradient_format="e5m2")
HANDLERS = {  # forward, then backward
    "bf16": ["gmm", "gmm", "tgmm"],
    "blockwise": ["quantize", "quantize", "gmm", "quantize", "quantize", "quantize", "gmm", "quantize", "tgmm"],
}


def problem(groups: int = len(SIZES), dtype=jnp.bfloat16) -> list[jax.Array]:
    return [jnp.asarray(x, dtype) for x in (bf16(ROWS, INNER), bf16(groups, INNER, OUTER, seed=1), bf16(ROWS, OUTER, seed=2))]


def step(recipe, lhs, rhs, dy, sizes, offset=None):
    """Result and gradients."""
    out, back = jax.vjp(lambda lhs, rhs: rj.ragged_dot(lhs, rhs, sizes, group_offset=offset, recipe=recipe), lhs, rhs)
    return out, *back(dy)


def lowered(function, *operands, platforms=("cuda",)) -> str:
    return jax.jit(function).trace(*operands).lower(lowering_platforms=platforms).as_text()


def calls(text: str) -> list[str]:
    return re.findall(r"custom_call @ragdot_(\w+)", text)


def scaled(values, scales, grid):
    """As a handler finds it; without scales these are empty."""
    return ScaledArray(values, scales, grid[:2], {number: name for name, number in ORIGINS.items()}[grid[2]]) if scales.ndim > 1 else values


def over_all_rows(spans) -> CallGroups:
    """The same groups by sizes from row 0 on: rows before the first are a group of no operand."""
    sizes = jnp.concatenate([spans[0, :1], spans[1]])
    return CallGroups(sizes, jnp.ones(1, jnp.int32), spans.shape[1])


class Gpu:
    """The handlers, by the CPU's calls. Arrays come and go as they do on the device: dense."""

    def __init__(self) -> None:
        self.calls = []

    def call(self, name, results, *arrays, **attributes):
        self.calls.append(name)
        found, workspace = getattr(self, name)(results, *arrays, **attributes), np.zeros(results[-1].shape, np.uint8)
        assert [(x.shape, x.dtype) for x in (*found, workspace)] == [(x.shape, x.dtype) for x in results]
        return *found, workspace

    def cuda_gmm(self, results, lhs, lhs_scales, rhs, rhs_scales, spans, *, lhs_grid, rhs_grid, transpose_rhs):
        assert transpose_rhs or rhs.dtype.itemsize > 1
        groups = over_all_rows(spans)
        return (rj.gmm(scaled(lhs, lhs_scales, lhs_grid), scaled(rhs, rhs_scales, rhs_grid), groups.sizes, out_dtype=results[0].dtype,
                       transpose_rhs=bool(transpose_rhs), group_offset=groups.offset),)  # fmt: skip

    def cuda_tgmm(self, results, lhs, lhs_scales, rhs, rhs_scales, spans, *, lhs_grid, rhs_grid, turned):
        assert turned == (lhs.dtype.itemsize == 1)
        groups = over_all_rows(spans)
        lhs, rhs = (x.T if turned else x for x in (lhs, rhs))
        return (rj.tgmm(scaled(lhs, lhs_scales, lhs_grid), scaled(rhs, rhs_scales, rhs_grid), groups.sizes, out_dtype=results[0].dtype,
                        group_offset=groups.offset, num_groups=groups.local),)  # fmt: skip

    def cuda_quantize(self, results, x, spans, *, grid, recipe, turned):
        words = results[0].dtype, {0: "absmax", 1: "pow2", 2: "mx"}[recipe], results[1].dtype
        if grid[2] == ORIGINS[LOCAL]:
            copy = quantize_local(x, (grid[:2],), *words, over_all_rows(spans))[0]
        else:
            assert not spans.size
            copy = rj.quantize(x, grid[:2], *words)
        return jnp.swapaxes(copy.values, -1, -2) if turned else copy.values, copy.scales


@pytest.fixture
def gpu(monkeypatch):
    """Until the test ends, ragged_dot takes what CUDA devices take."""
    fake = Gpu()
    monkeypatch.setattr(_cuda, "call", fake.call)
    monkeypatch.setattr(_ragged_dot, "by_platform", lambda cpu, cuda, choices, *operands: cuda(*choices, *operands))
    return fake


@pytest.fixture(params=[None, 0, 1, 3], ids=lambda offset: f"offset-{offset}")
def offset(request):
    return request.param


@pytest.fixture(params=["bf16", "blockwise", POW2], ids=["bf16", "blockwise", "pow2"])
def recipe(request):
    return request.param


@pytest.fixture(params=[jnp.bfloat16, jnp.float32], ids=["bf16-in", "f32-in"])
def operands(request, offset):
    return *problem(len(SIZES) if offset is None else 2, request.param), jnp.asarray(SIZES), offset


@pytest.fixture
def expected(recipe, operands):
    """What programs for CPU devices give; before `gpu`, which a test names behind it."""
    return step(recipe, *operands)


def test_results_and_gradients(recipe, operands, expected, gpu):
    """With the CPU's bits, as the same kernels compute."""
    for found, wanted in zip(step(recipe, *operands), expected):
        same(found, wanted)
    assert gpu.calls == [f"cuda_{name}" for name in HANDLERS["bf16" if recipe == "bf16" else "blockwise"]]


def test_operands_that_stay_as_they_come():
    """A gradient of another type becomes theirs; float32 ones are not for the GPU."""

    def loss(x, w):
        return rj.ragged_dot(x, w, jnp.asarray(SIZES), "highest", jnp.float32).sum()

    step = jax.value_and_grad(loss, (0, 1))
    assert calls(lowered(step, *problem()[:2])) == [f"cuda_{name}" for name in HANDLERS["bf16"]]
    with pytest.raises(NotImplementedError, match="gmm: lhs f32 with rhs f32 is not offered on the GPU"):
        lowered(step, *problem(dtype=jnp.float16)[:2])


@pytest.mark.parametrize("recipe", ["bf16", "blockwise"])
def test_lowered(recipe, monkeypatch):
    sized = []

    def workspace(name, args, kept=_cuda._workspace):
        shape = kept(name, args)
        sized.append(shape.shape[0])
        return shape

    monkeypatch.setattr(_cuda, "_workspace", workspace)
    jax.clear_caches()
    text = lowered(lambda *operands: step(recipe, *operands), *problem(), jnp.asarray(SIZES))
    assert calls(text) == [f"cuda_{name}" for name in HANDLERS[recipe]]
    given = [int(size) for size in re.findall(r"custom_call @ragdot_cuda.*, tensor<(\d+)xui8>\)", text)]
    assert len(given) == len(HANDLERS[recipe]) and min(given) > 0 and set(given) <= set(sized)


def test_one_program_for_both():
    names = calls(lowered(lambda x, w, sizes: rj.ragged_dot(x, w, sizes), *problem()[:2], jnp.asarray(SIZES), platforms=("cpu", "cuda")))
    assert sorted(names) == ["cuda_gmm", "gmm"]


def test_vmap():
    x, w, _ = problem()
    text = lowered(jax.vmap(lambda x, w, sizes: rj.ragged_dot(x, w, sizes, recipe="blockwise"), (0, None, None)), x[None], w, jnp.asarray(SIZES))
    assert calls(text) == ["cuda_quantize", "cuda_quantize", "cuda_gmm"]


@pytest.mark.parametrize("recipe", ["bf16", "blockwise", "mx"])
def test_in_shard_map(recipe):
    """Branches of both platforms have equal types there as well, refused or not."""
    mesh = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

    def parts(x, w, sizes):
        return jax.lax.psum(rj.ragged_dot(x, w, sizes, group_offset=jax.lax.axis_index("x") * 2, recipe=recipe), "x")

    product = jax.shard_map(parts, mesh=mesh, in_specs=(P(), P("x"), P()), out_specs=P())

    def function(x, w, dy, sizes):
        out, back = jax.vjp(lambda x, w: product(x, w, sizes), x, w)
        return out, *back(dy)

    operands = *problem(4), jnp.asarray(SIZES[:4])
    assert "gmm" in calls(lowered(function, *operands, platforms=("cpu",)))
    if recipe == "mx":
        with pytest.raises(NotImplementedError, match="on the GPU"):
            lowered(function, *operands)
    else:
        assert calls(lowered(function, *operands)) == [f"cuda_{name}" for name in HANDLERS[recipe]]


@pytest.mark.parametrize(
    ("recipe", "shape", "words", "sentence"),
    [
        ("channelwise", (ROWS, INNER, OUTER), {}, r"quantize: out scales have block \*x1; on the GPU it is 1x128, 128x1 or 128x128"),
        ("mx", (ROWS, INNER, OUTER), {}, "quantize: out scales are e8m0; on the GPU they are f32"),
        (rj.Recipe(weight_block=1), (ROWS, INNER, OUTER), {}, "gmm: rhs scales have block 128x1; on the GPU the block is 128x128"),
        ("bf16", (ROWS, 204, OUTER), {}, "gmm: lhs of bf16 has 204 contiguous elements and the next line of them 408 bytes on"),
        ("blockwise", (250, INNER, OUTER), {}, "quantize: out of e4m3 has 250 contiguous elements and the next line of them 250 bytes on"),
        ("bf16", (ROWS, INNER, OUTER), {"preferred_element_type": jnp.float16}, "gmm: out is f16; on the GPU it is f32 or bf16"),
    ],
)
def test_refused_when_lowered(recipe, shape, words, sentence):
    """Programs for CPU devices are none the wiser."""
    rows, inner, outer = shape
    x, w = jnp.ones((rows, inner), jnp.bfloat16), jnp.ones((len(SIZES), inner, outer), jnp.bfloat16)

    def loss(x, w):
        return rj.ragged_dot(x, w, jnp.asarray(SIZES), recipe=recipe, **words).astype(jnp.float32).sum()

    gradients = jax.value_and_grad(loss, (0, 1))
    lowered(gradients, x, w, platforms=("cpu",))
    with pytest.raises(NotImplementedError, match=sentence):
        lowered(gradients, x, w)


def test_local_groups_are_picked_on_the_device():
    groups = CallGroups(jnp.array([3, 0, 2], jnp.int32), jnp.array([1], jnp.int32), 2)
    np.testing.assert_array_equal(_cuda.local_groups(groups), [[3, 3], [0, 2]])
    assert _cuda.local_groups(CallGroups(groups.sizes, jnp.array([7], jnp.int32), 2)).shape == (2, 2)


def test_handlers_take_what_they_are_given():
    """On a CPU device they fail for one thing, that it has no stream."""
    _handlers._register({"cpu": ("cuda_gmm", "cuda_tgmm", "cuda_quantize")})
    x, w, dy = problem()
    spans = _cuda.local_groups(CallGroups(jnp.asarray(SIZES), jnp.zeros(1, jnp.int32), len(SIZES)))
    out_dtype = np.dtype(jnp.bfloat16)
    for call in (
        lambda: _cuda.gmm(x, w, spans, out_dtype, False),
        lambda: _cuda.tgmm(x, dy, spans, out_dtype),
        lambda: _cuda.quantize(x, (128, 1), RECIPES["blockwise"], spans, True),
        lambda: _cuda.quantize(w, (128, 128), RECIPES["blockwise"]),
    ):
        with pytest.raises(jax.errors.JaxRuntimeError, match=r"bad operands at: 0\)"):
            jax.block_until_ready(call())
