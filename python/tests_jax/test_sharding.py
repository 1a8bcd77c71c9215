"""shard_map over two and four devices, and meshes without it: the bits of one device wherever rows are whole."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data import INNER, OUTER, RECIPES, bf16, same
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import ragdot
from ragdot.jax import ScaledArray, gmm, quantize, ragged_dot

GROUPS, ROWS = 4, 256
SIZES = np.array([70, 0, 129, 41], np.int32)
KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}

DEVICES = pytest.mark.parametrize("devices", [2, 4])
MESHES = pytest.mark.parametrize("kind", KINDS)
CHECKS = pytest.mark.parametrize("check_vma", [True, False])


def mesh_of(devices: int, kind: str):
    return jax.make_mesh((devices,), ("x",), axis_types=(KINDS[kind],), devices=jax.devices()[:devices])


def data():
    return bf16(ROWS, INNER), bf16(GROUPS, INNER, OUTER, seed=1), bf16(ROWS, OUTER, seed=2)


def step(product, x, w, dy, *rest):
    """Result and gradients."""
    y, vjp = jax.vjp(lambda x, w: product(x, w, *rest), x, w)
    return (y, *vjp(dy))


def placed(mesh, *arrays_and_specs):
    return [jax.device_put(array, NamedSharding(mesh, spec)) for array, spec in arrays_and_specs]


@pytest.mark.parametrize("name", RECIPES)
@DEVICES
@MESHES
@CHECKS
def test_sharded_experts(name, devices, kind, check_vma):
    """Rows on every device, experts on one each: results and gradients are those of one device."""
    mesh = mesh_of(devices, kind)

    @partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("x"), P()), out_specs=P(), check_vma=check_vma)
    def product(x, w, sizes):
        first = jax.lax.axis_index("x") * (GROUPS // devices)
        return jax.lax.psum(ragged_dot(x, w, sizes, group_offset=first, recipe=name), "x")

    x, w, dy = data()
    want = jax.jit(partial(step, lambda *a: ragged_dot(*a, recipe=name)))(x, w, dy, SIZES)
    with jax.set_mesh(mesh):
        x, w, dy, sizes = placed(mesh, (x, P()), (w, P("x")), (dy, P()), (SIZES, P()))
        got = jax.jit(partial(step, product))(x, w, dy, sizes)
    for a, b in zip(got, want):
        # psum adds zeros to -0, so numbers are compared, not bits.
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert got[2].sharding.spec[0] == "x"


@pytest.mark.parametrize("name", RECIPES)
@DEVICES
@MESHES
@CHECKS
def test_sharded_tokens(name, devices, kind, check_vma):
    """Experts on every device, rows on one each: rows are those of one device, dW is a sum within the bound."""
    mesh = mesh_of(devices, kind)
    each = ROWS // devices
    ends = np.cumsum(SIZES)
    # Each device's share of the groups: rows [d each, (d + 1) each).
    spans = np.arange(devices)[:, None] * each
    sizes = np.diff(np.clip(ends[None], spans, spans + each), axis=1, prepend=spans).astype(np.int32)

    @partial(jax.shard_map, mesh=mesh, in_specs=(P("x"), P(), P("x")), out_specs=P("x"), check_vma=check_vma)
    def product(x, w, sizes):
        return ragged_dot(x, w, sizes[0], None, jnp.float32, recipe=name)

    x, w, dy = data()
    w = w.astype(np.float32)  # so that dW is not rounded before it is summed
    dy = dy.astype(np.float32)
    want = jax.jit(partial(step, lambda *a: ragged_dot(*a, None, jnp.float32, recipe=name)))(x, w, dy, SIZES)
    with jax.set_mesh(mesh):
        placed_data = placed(mesh, (x, P("x")), (w, P()), (dy, P("x")), (sizes, P("x")))
        y, dx, dw = jax.jit(partial(step, product))(*placed_data)
    same(y, want[0])
    same(dx, want[1])
    parts = [step(lambda *a: ragged_dot(*a, None, jnp.float32, recipe=name), x[d * each : (d + 1) * each], w,
                  dy[d * each : (d + 1) * each], sizes[d])[2] for d in range(devices)]  # fmt: skip
    total = sum(np.asarray(part, np.float64) for part in parts)
    np.testing.assert_allclose(np.asarray(dw), total, rtol=0, atol=devices * 2.0**-24 * sum(np.abs(np.asarray(part)) for part in parts).max())
    if name == "bf16":  # the other recipes' scales go by what a device has
        exact, bound = ragdot.error_bound("tgmm", x, dy.astype(x.dtype), SIZES)
        assert np.all(np.abs(np.asarray(dw) - exact) <= 2 * bound)
    assert not np.asarray(dw)[1].any()


@MESHES
@pytest.mark.parametrize("spec", [P("x"), P(None, "x")])
def test_operands_sharded_without_shard_map(kind, spec):
    """XLA gathers them: every device computes all, and gradients lie as their operands do."""
    mesh = mesh_of(4, kind)
    x, w, dy = data()
    run = jax.jit(partial(step, lambda *a: ragged_dot(*a, recipe="blockwise")))
    want = run(x, w, dy, SIZES)
    with jax.set_mesh(mesh):
        got = run(*placed(mesh, (x, spec), (w, spec), (dy, P())), SIZES)
    for a, b in zip(got, want):
        same(a, b)
    if kind == "explicit":
        for gradient in got[1:]:
            assert tuple(gradient.sharding.spec)[: len(spec)] == tuple(spec)


@CHECKS
def test_scaled_arrays_in_shard_map(check_vma):
    """A ScaledArray's specs are a ScaledArray of specs."""
    mesh = mesh_of(4, "auto")
    x, w, _ = data()
    lhs, rhs = quantize(x, (1, 128)), quantize(w, (128, 128))
    specs = ScaledArray(P("x"), P("x"), rhs.block)

    @partial(jax.shard_map, mesh=mesh, in_specs=(P(), specs, P()), out_specs=P(), check_vma=check_vma)
    def product(lhs, rhs, sizes):
        return jax.lax.psum(gmm(lhs, rhs, sizes, out_dtype="f32", group_offset=jax.lax.axis_index("x")), "x")

    np.testing.assert_array_equal(jax.jit(product)(lhs, rhs, SIZES), gmm(lhs, rhs, SIZES, out_dtype="f32"))


def test_refusals_inside_shard_map():
    """Without a collective: XLA ends the process where one device waits for another that has failed."""
    mesh = mesh_of(2, "auto")
    x, w, _ = data()

    @partial(jax.shard_map, mesh=mesh, in_specs=(P(), P("x"), P()), out_specs=P("x"))
    def product(x, w, sizes):
        return ragged_dot(x, w, sizes, group_offset=jax.lax.axis_index("x") * 3)

    with pytest.raises(jax.errors.JaxRuntimeError, match="gmm: group_offset is 3; with 4 groups in group_sizes and 2 local ones"):
        jax.jit(product)(x, w, SIZES).block_until_ready()


@pytest.mark.parametrize("name", ["bf16", "blockwise", "mx"])
@MESHES
def test_operands_of_no_mesh(name, kind):
    """numpy's arrays and those of one device, in a program on a mesh."""
    x, w, dy = data()
    want = jax.jit(partial(step, lambda *a: ragged_dot(*a, recipe=name)))(x, w, dy, SIZES)
    with jax.set_mesh(mesh_of(2, kind)):
        got = jax.jit(partial(step, lambda *a: ragged_dot(*a, recipe=name)))(x, w, dy, SIZES)
        for a, b in zip(got, want):
            same(a, b)


@CHECKS
def test_constants_in_shard_map(check_vma):
    """Weights that the body closes over: on no mesh, and the same on every device."""
    x, w, dy = map(jnp.asarray, data())
    each, sizes = ROWS // 2, np.array([64, 0, 30, 34], np.int32)
    body = partial(jax.shard_map, mesh=mesh_of(2, "auto"), in_specs=P("x"), out_specs=P("x"), check_vma=check_vma)
    y, dx = jax.vjp(jax.jit(body(lambda x: ragged_dot(x, w, sizes, recipe="blockwise"))), x)
    parts = [jax.vjp(lambda x: ragged_dot(x, w, sizes, recipe="blockwise"), part) for part in (x[:each], x[each:])]
    same(y, jnp.concatenate([part for part, _ in parts]))
    same(dx(dy)[0], jnp.concatenate([vjp(part)[0] for (_, vjp), part in zip(parts, (dy[:each], dy[each:]))]))


@pytest.mark.parametrize("name", ["bf16", "blockwise"])
def test_sharded_group_sizes(name):
    """On a mesh with explicit axes, where each device has some of the numbers."""
    x, w, dy = data()
    want = jax.jit(partial(step, lambda *a: ragged_dot(*a, recipe=name)))(x, w, dy, SIZES)
    with jax.set_mesh(mesh := mesh_of(4, "explicit")):
        got = jax.jit(partial(step, lambda *a: ragged_dot(*a, recipe=name)))(*placed(mesh, (x, P()), (w, P()), (dy, P()), (SIZES, P("x"))))
        for a, b in zip(got, want):
            same(a, b)
