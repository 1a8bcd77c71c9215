"""gmm, tgmm and the quantisers in traced code: the bits of ragdot's own, refusals while tracing and at run time."""

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from data import GROUPS, INNER, OUTER, ROWS, SIZES, bf16, normal, on_device, same
from jax import export

import ragdot
import ragdot.jax as rj
from ragdot import ScaledArray

# Blocks of lhs and rhs, and how they are quantised.
OPERANDS = {
    "bf16": (None, None, {}),
    "channelwise": ((1, None), (None, 1), {}),
    "blockwise": ((1, 128), (128, 128), {}),
    "bf16_scales": ((1, 128), (128, 128), {"scale_format": "bf16"}),
    "e8m0": ((1, 128), (128, 128), {"scaling": "pow2", "scale_format": "e8m0"}),
    "mx": ((1, 32), (32, 1), {"scaling": "mx", "scale_format": "e8m0"}),
    "e5m2": ((1, 128), (128, 128), {"format": "e5m2"}),
    "i8": ((1, 128), (128, 128), {"format": "i8"}),
    "per_tensor": ((None, None), (None, None), {}),
}


def operands(name: str, op: str = "gmm"):
    lhs_block, rhs_block, words = OPERANDS[name]
    lhs, rhs = bf16(ROWS, INNER), bf16(ROWS, OUTER, seed=1) if op == "tgmm" else bf16(GROUPS, INNER, OUTER, seed=1)
    if lhs_block is None:
        return lhs, rhs
    if op == "tgmm":
        return tuple(ragdot.quantize(x, lhs_block[::-1], **words) for x in (lhs, rhs))
    return ragdot.quantize(lhs, lhs_block, **words), ragdot.quantize(rhs, rhs_block, **words)


@pytest.mark.parametrize("name", OPERANDS)
@pytest.mark.parametrize("out_dtype", ["f32", "bf16", "f16"])
def test_gmm_has_the_bits_of_numpy(name, out_dtype):
    lhs, rhs = operands(name)
    got = jax.jit(lambda a, b, sizes: rj.gmm(a, b, sizes, out_dtype=out_dtype))(on_device(lhs), on_device(rhs), SIZES)
    same(got, ragdot.gmm(lhs, rhs, SIZES, out_dtype=out_dtype))


@pytest.mark.parametrize("name", OPERANDS)
@pytest.mark.parametrize("out_dtype", [None, "bf16"])
def test_tgmm_has_the_bits_of_numpy(name, out_dtype):
    lhs, rhs = operands(name, "tgmm")
    got = jax.jit(lambda a, b, sizes: rj.tgmm(a, b, sizes, out_dtype=out_dtype))(on_device(lhs), on_device(rhs), SIZES)
    same(got, ragdot.tgmm(lhs, rhs, SIZES, out_dtype=out_dtype))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_no_bit(threads):
    lhs, rhs = operands("blockwise")
    same(rj.gmm(on_device(lhs), on_device(rhs), SIZES, threads=threads), ragdot.gmm(lhs, rhs, SIZES))
    lhs, rhs = operands("blockwise", "tgmm")
    same(rj.tgmm(on_device(lhs), on_device(rhs), SIZES, threads=threads), ragdot.tgmm(lhs, rhs, SIZES))


@pytest.mark.parametrize("name", ["bf16", "blockwise", "channelwise"])
def test_weights_stored_transposed(name):
    lhs, rhs = operands(name)
    turned = rhs.transposed() if isinstance(rhs, ScaledArray) else rhs.swapaxes(1, 2)
    same(rj.gmm(on_device(lhs), on_device(turned), SIZES, transpose_rhs=True), ragdot.gmm(lhs, rhs, SIZES))


def test_bias_and_activation():
    lhs, rhs = operands("blockwise")
    bias = normal(GROUPS, OUTER, seed=2)
    got = rj.gmm(on_device(lhs), on_device(rhs), SIZES, bias=bias, activation="silu")
    same(got, ragdot.gmm(lhs, rhs, SIZES, bias=bias, activation="silu"))


def test_results_of_float32_operands_are_float32():
    lhs, rhs = normal(ROWS, INNER), normal(GROUPS, INNER, OUTER)
    same(rj.gmm(lhs, rhs, SIZES), ragdot.gmm(lhs, rhs, SIZES))


@pytest.mark.parametrize("offset", [0, 2, 3])
def test_local_groups(offset):
    lhs, rhs = operands("blockwise")
    local = jax.tree.map(lambda x: jnp.asarray(x)[offset : offset + 2], rhs)
    got = jax.jit(lambda off: rj.gmm(on_device(lhs), local, SIZES, group_offset=off))(jnp.int32(offset))
    same(got, ragdot.gmm(lhs, ScaledArray(np.asarray(local.values), np.asarray(local.scales), rhs.block), SIZES, first_group=offset))
    a, b = operands("blockwise", "tgmm")
    got = jax.jit(lambda off: rj.tgmm(on_device(a), on_device(b), SIZES, group_offset=off, num_groups=2))(jnp.array([offset], jnp.int32))
    same(got, ragdot.tgmm(a, b, SIZES, first_group=offset, num_groups=2))


@pytest.mark.parametrize("block", [(128, 1), (None, 1), (32, 5), (1, 128), (7, None)])
@pytest.mark.parametrize("words", [{}, {"scale_format": "bf16"}, {"scaling": "pow2", "scale_format": "e8m0", "format": "e5m2"}])
def test_quantize_over_groups(block, words):
    x = normal(ROWS, INNER)
    want = ragdot.quantize(x, block, groups=SIZES, **words)
    got = jax.jit(lambda x, sizes: rj.quantize(x, block, group_sizes=sizes, **words))(x, SIZES)
    needed = len(want.scales)
    same(ScaledArray(got.values, got.scales[:needed], got.block, got.origin), want)
    assert np.all(np.asarray(got.scales[needed:]).astype(np.float32) == 1)
    # Scales that are longer than these sizes need are legal operands.
    other = rj.quantize(bf16(ROWS, OUTER), block, group_sizes=SIZES)
    got_product = jax.jit(rj.tgmm)(got, other, SIZES)
    same(got_product, ragdot.tgmm(want, ragdot.quantize(bf16(ROWS, OUTER), block, groups=SIZES), SIZES))


def test_scales_of_the_worst_sizes_fit():
    """As many blocks as rows and groups allow."""
    for sizes in ([1, 1, 1, 1, 246], [129, 1, 1, 1, 1], [0, 0, 0, 0, 250], [65, 65, 65, 33, 22]):
        x = normal(ROWS, 3)
        got = rj.quantize(x, (32, 1), group_sizes=np.array(sizes, np.int32))
        want = ragdot.quantize(x, (32, 1), groups=sizes)
        same(got.scales[: len(want.scales)], want.scales)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16])
def test_quantize_without_groups(dtype):
    x = normal(3, 70, INNER).astype(dtype)
    x[0, 0, :64] = 0
    x[0, 1, :64] = np.float32(1e-40)  # XLA's threads flush subnormal numbers; the quantisers do not
    same(jax.jit(lambda x: rj.quantize(x, (32, 64)))(x), ragdot.quantize(x, (32, 64)))
    for got, want in zip(jax.jit(rj.quantize_both)(x[0]), ragdot.quantize_both(x[0])):
        same(got, want)


def test_int64_sizes():
    lhs, rhs = operands("bf16")
    with jax.enable_x64(True):
        sizes = jnp.asarray(SIZES, jnp.int64)
        assert sizes.dtype == jnp.int64
        same(jax.jit(rj.gmm)(lhs, rhs, sizes), ragdot.gmm(lhs, rhs, SIZES))
        with pytest.raises(jax.errors.JaxRuntimeError, match=r"gmm: group_sizes\[1\] is 4294967296"):
            rj.gmm(lhs, rhs, sizes.at[1].set(2**32)).block_until_ready()


def test_scaled_arrays_are_pytrees():
    lhs, _ = operands("blockwise")
    leaves, tree = jax.tree.flatten(lhs)
    assert [leaf.dtype for leaf in leaves] == [ml_dtypes.float8_e4m3fn, np.float32]
    again = jax.tree.unflatten(tree, leaves)
    assert (again.block, again.origin) == ((1, 128), "global")
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(lhs)]
    assert paths == [".values", ".scales"]


def test_scaled_arrays_of_other_leaves_have_a_text():
    lhs, _ = operands("blockwise")
    assert repr(jax.tree.map(jnp.shape, lhs)) == "ScaledArray((250, 200), scales (250, 2), block 1x128, global)"
    specs = ScaledArray(jax.sharding.PartitionSpec("x"), None, (1, None))
    assert repr(specs) == f"ScaledArray({specs.values!r}, scales None, block 1x*, global)"
    assert repr(jax.eval_shape(lambda: on_device(lhs))) == repr(lhs)


def test_transposed_arrays_stay_those_of_jax():
    lhs, _ = operands("blockwise")
    for got in (on_device(lhs).transposed(), jax.jit(ScaledArray.transposed)(on_device(lhs))):
        assert isinstance(got.values, jax.Array) and isinstance(got.scales, jax.Array)
        same(got, lhs.transposed())


def test_maps_one_call_after_another():
    lhs, rhs = on_device(rj.quantize(bf16(2, ROWS, INNER), (1, 128))), on_device(operands("blockwise")[1])
    sizes = np.stack([SIZES, SIZES[::-1]])
    got = jax.jit(jax.vmap(rj.gmm, in_axes=(0, None, 0)))(lhs, rhs, sizes)
    for i in range(2):
        same(got[i], rj.gmm(jax.tree.map(lambda x, i=i: x[i], lhs), rhs, sizes[i]))


def test_maps_stack_bytes():
    """XLA stacks FP8 numbers by way of float16 on a CPU."""
    x = jnp.asarray(bf16(3, ROWS, INNER))
    mapped = jax.vmap(lambda x: rj.quantize(x, (1, 128), scaling="pow2", scale_format="e8m0"))
    stacks = [line for line in jax.jit(mapped).lower(x).as_text().splitlines() if "dynamic_update_slice" in line]
    assert stacks and not [line for line in stacks if "f8" in line]
    same(mapped(x), rj.quantize(x, (1, 128), scaling="pow2", scale_format="e8m0"))


def test_products_have_no_gradient():
    lhs, rhs = bf16(ROWS, INNER), bf16(GROUPS, INNER, OUTER)
    with pytest.raises(NotImplementedError, match="ragdot.jax.gmm has no gradient; use ragdot.jax.ragged_dot"):
        jax.grad(lambda x: rj.gmm(x, rhs, SIZES).sum())(jnp.asarray(lhs))
    scaled = on_device(operands("blockwise")[0])
    with pytest.raises(NotImplementedError, match="tgmm has no gradient"):
        jax.grad(lambda s: rj.tgmm(ScaledArray(scaled.values, s, scaled.block), lhs, SIZES).sum())(scaled.scales)


LHS, RHS = bf16(ROWS, INNER), bf16(GROUPS, INNER, OUTER)
BLOCKS = ScaledArray(np.zeros((ROWS, INNER), ml_dtypes.float8_e4m3fn), np.ones((ROWS, 1), np.float32), (1, 128))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: rj.gmm(LHS[:, :9], RHS, SIZES), r"gmm: inner sizes differ: lhs \[250, 9\] has K = 9, rhs \[5, 200, 136\] has K = 200"),
        (lambda: rj.gmm(LHS[0], RHS, SIZES), r"gmm: lhs has shape \[200\]; it must be \[rows, columns\]"),
        (lambda: rj.gmm(LHS, RHS, SIZES[:3]), "gmm: 5 local groups and 3 group sizes"),
        (lambda: rj.gmm(LHS, RHS, SIZES[:3], group_offset=0), "gmm: 5 local groups and 3 group sizes; there must be a size for each group"),
        (lambda: rj.gmm(LHS, RHS, SIZES.astype(np.float32)), r"gmm: group_sizes is float32\[5\]; it must be integers"),
        (lambda: rj.gmm(LHS, RHS, SIZES, group_offset=SIZES), r"gmm: group_offset is int32\[5\]; it must be one integer"),
        (lambda: rj.gmm(LHS, RHS, SIZES, bias=np.ones((5, 1), np.float32)), r"gmm: bias .*136"),
        (lambda: rj.gmm(LHS, RHS, SIZES, bias=np.ones(5, np.float32)), r"gmm: bias is float32\[5\]; it must be float32 \[groups, columns\]"),
        (lambda: rj.gmm(LHS, RHS, SIZES, activation="sin"), "gmm: activation is 'sin'"),
        (lambda: rj.gmm(LHS, RHS, SIZES, out_dtype="i4"), "gmm: out_dtype is 'i4'; give f32, bf16, f16 or the dtype of one"),
        (lambda: rj.gmm(LHS, RHS, SIZES, threads=2**32 + 1), "gmm: threads is 4294967297; give a whole number of 32 bits"),
        (lambda: rj.tgmm(LHS, LHS, SIZES, num_groups=-1, group_offset=0), "tgmm: num_groups is -1; it must be 0 or more"),
        (lambda: rj.tgmm(LHS, LHS, SIZES, num_groups=1.5, group_offset=0), "tgmm: num_groups is 1.5; give a whole number"),
        (lambda: rj.gmm(LHS.astype(np.float64).astype(np.complex64), RHS, SIZES),
         "gmm: lhs is complex64; give float32, bfloat16, float8_e4m3fn, float8_e5m2, int8\n"),
        (lambda: rj.gmm(BLOCKS, RHS, SIZES), r"gmm: lhs scales are \[250, 1\]; lhs \[250, 200\] with block 1x128 needs \[250, 2\]"),
        (lambda: rj.gmm(ScaledArray(BLOCKS.values, BLOCKS.scales[0], (1, 128)), RHS, SIZES), r"gmm: lhs scales are float32\[1\]"),
        (lambda: rj.tgmm(LHS, LHS[:9], SIZES), "tgmm: row counts differ"),
        (lambda: rj.quantize(LHS, (0, 1)), r"quantize: block is \(0, 1\)"),
        (lambda: rj.quantize(LHS, 128), "quantize: block is 128"),
        (lambda: rj.quantize(LHS, (1.5, 128)), r"quantize: block is \(1.5, 128\); give \(rows, columns\)"),
        (lambda: rj.quantize(LHS, (1, 128), "bf16"), "quantize: out is bf16; quantised values are e4m3, e5m2 or i8"),
        (lambda: rj.quantize(LHS, (1, 128), "f64"), "quantize: format is 'f64'; give e4m3, e5m2, i8 or the dtype of one"),
        (lambda: rj.quantize(RHS, (1, 128), scale_format="f16"), "quantize: out scales are f16; they must be f32, bf16 or e8m0"),
        (lambda: rj.quantize_both(LHS, format="f32"), "quantize_both: row_wise is f32; quantised values are e4m3, e5m2 or i8"),
        (lambda: rj.quantize(SIZES, (1, 1)), r"quantize: x has shape \[5\]"),
        (lambda: rj.quantize(SIZES[None], (1, 1)), "quantize: x is int32"),
        (lambda: rj.quantize(LHS, (1, 1), scaling="fixed"), "quantize: scaling is 'fixed'"),
        (lambda: rj.quantize(RHS, (1, 1), group_sizes=SIZES), "quantize: x has shape .* and groups are given"),
    ],
)
def test_refusals_while_tracing(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        jax.eval_shape(call)


def test_quantisations_that_are_not_offered():
    with pytest.raises(NotImplementedError, match="quantize: recipe absmax gives scales that are no powers of two and out scales are e8m0"):
        jax.eval_shape(lambda: rj.quantize(LHS, (1, 128), scale_format="e8m0"))
    with pytest.raises(NotImplementedError, match="quantize_both: recipe mx is for e4m3 and e5m2 and row_wise is i8"):
        jax.eval_shape(lambda: rj.quantize_both(LHS, format="i8", scaling="mx"))


def test_pairs_that_are_not_offered():
    with pytest.raises(NotImplementedError, match="gmm: lhs bf16 with rhs f32 is not offered"):
        jax.eval_shape(lambda: rj.gmm(LHS, RHS.astype(np.float32), SIZES))


@pytest.mark.parametrize(
    ("sizes", "offset", "sentence"),
    [
        ([-1, 1, 1, 1, 1], 0, r"gmm: group_sizes\[0\] is -1"),
        ([100, 100, 100, 0, 0], 0, r"gmm: group_sizes\[2\] is 100; 50 of 250 rows are left for it"),
        ([1, 1, 1, 1, 1, 1], 2, "gmm: group_offset is 2; with 6 groups in group_sizes and 5 local ones it must be from 0 to 1"),
        ([1, 1, 1, 1, 1, 1], -1, "gmm: group_offset is -1"),
    ],
)
def test_refusals_at_run_time(sizes, offset, sentence):
    with pytest.raises(jax.errors.JaxRuntimeError, match=sentence):
        rj.gmm(LHS, RHS, np.array(sizes, np.int32), group_offset=offset).block_until_ready()


def raw(name: str, sizes: jax.Array, **grids: tuple[int, ...]) -> None:
    """A call of a handler without the checks of ragdot.jax: LHS, and RHS or, for tgmm, LHS again, without scales."""
    none, offset = jnp.zeros(0, jnp.float32), jnp.zeros(1, jnp.int32)
    operands = (LHS, none, RHS, none, sizes, offset, none) if name == "gmm" else (LHS, none, LHS, none, sizes, offset)
    out = jax.ShapeDtypeStruct((ROWS, OUTER) if name == "gmm" else (GROUPS, INNER, INNER), jnp.float32)
    numbers = {key: np.array(grids.get(key, (0, 0, 0)), np.int64) for key in ("lhs_grid", "rhs_grid")}
    for key in ("threads", "transpose_rhs", "activation") if name == "gmm" else ("threads",):
        numbers[key] = np.int64(0)
    call = jax.ffi.ffi_call(f"ragdot_{name}", (out, jax.ShapeDtypeStruct((0,), jnp.uint8)))
    jax.block_until_ready(call(*operands, **numbers))


@pytest.mark.parametrize("name", ["gmm", "tgmm"])
def test_handlers_check_the_type_of_group_sizes(name):
    raw(name, jnp.zeros(GROUPS, jnp.int32))
    with jax.enable_x64(True):
        raw(name, jnp.zeros(GROUPS, jnp.int64))
    for sizes in (jnp.zeros(GROUPS, jnp.float32), jnp.zeros(GROUPS, jnp.uint32), jnp.zeros((1, GROUPS), jnp.int32), jnp.zeros((), jnp.int32)):
        with pytest.raises(jax.errors.JaxRuntimeError, match=f"{name}: group_sizes is no int32 or int64 vector; convert it"):
            raw(name, sizes)


@pytest.mark.parametrize("name", ["gmm", "tgmm"])
@pytest.mark.parametrize("which", ["lhs_grid", "rhs_grid"])
@pytest.mark.parametrize("grid", [(), (0, 0), (0, 0, 0, 0), (0, 0, -1), (0, 0, 3)], ids=str)
def test_handlers_check_grids(name, which, grid):
    sentence = r"a scale grid is \(rows, columns, origin 0 to 2\); use ragdot.jax of this library's version"
    with pytest.raises(jax.errors.JaxRuntimeError, match=sentence):
        raw(name, jnp.zeros(GROUPS, jnp.int32), **{which: grid})


def test_scales_of_different_groups_do_not_mix():
    x = rj.quantize(bf16(ROWS, INNER), (128, 1), group_sizes=SIZES)
    other = ScaledArray(x.values, x.scales, x.block, "per_local_group")
    with pytest.raises(jax.errors.JaxRuntimeError, match="scales of one operand cover all groups and those of the other the local ones"):
        rj.tgmm(x, other, SIZES).block_until_ready()


def test_a_kernel_forced_after_tracing_brings_its_own_workspace():
    lhs, rhs = operands("blockwise")
    call = jax.jit(rj.gmm)
    want = np.asarray(call(on_device(lhs), on_device(rhs), SIZES))
    from ragdot._library import LIBRARY, check

    for kernel in ragdot.info()["kernels"]:
        if kernel["usable"]:
            check(LIBRARY.ragdot_force_kernel(kernel["name"].encode()))
            same(call(on_device(lhs), on_device(rhs), SIZES), want)
    check(LIBRARY.ragdot_force_kernel(None))


def test_export():
    """With the calls into this library allowed; symbolic sizes are refused."""
    x, w, sizes = jnp.ones((16, 64), jnp.bfloat16), jnp.ones((4, 64, 32), jnp.bfloat16), jnp.full(4, 4, jnp.int32)
    allowed = [export.DisabledSafetyCheck.custom_call(f"ragdot_{name}") for name in ("gmm", "quantize")]
    (rows,) = export.symbolic_shape("m")
    for recipe in ("bf16", "blockwise"):
        function = jax.jit(functools.partial(rj.ragged_dot, recipe=recipe))
        exported = export.export(function, disabled_checks=allowed)(x, w, sizes)
        assert (exported.call(x, w, sizes) == function(x, w, sizes)).all()
        symbolic = jax.ShapeDtypeStruct((rows, 64), x.dtype)
        for arguments, what in (((symbolic, w, sizes), r"\[m, 64\]"), ((x, w, jax.ShapeDtypeStruct((rows,), jnp.int32)), r"\[m\]")):
            with pytest.raises(NotImplementedError, match=f"has shape {what}; symbolic dimensions are not offered, export one program for each size"):
                export.export(function)(*arguments)
    weights = on_device(rj.quantize(w, (128, 128)))
    kept = export.deserialize(export.export(jax.jit(rj.gmm), disabled_checks=allowed)(x, weights, sizes).serialize())
    same(kept.call(x, weights, sizes), rj.gmm(x, weights, sizes))
    bias = jax.ShapeDtypeStruct((rows, 32), jnp.float32)
    with pytest.raises(NotImplementedError, match=r"gmm: bias has shape \[m, 32\]; symbolic"):
        export.export(jax.jit(lambda b: rj.gmm(x, w, sizes, bias=b)))(bias)
