"""ragged_dot: what it multiplies, bit for bit; its gradients against float64 autodiff of the dequantised problem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from data import GROUPS, INNER, OUTER, RECIPES, ROWS, SIZES, bf16, normal, same
from oracle import assert_right, real

import ragdot
from ragdot._arrays import DTYPES
from ragdot._recipes import recipe_of
from ragdot.jax import Recipe, ScaledArray, gmm, quantize, ragged_dot
from ragdot.jax._ragged_dot import CHECKPOINT_NAME

USED = int(SIZES.sum())
RECIPE_OBJECTS = {name: recipe_of("test", name) for name in RECIPES} | {
    "e5m2_gradients": Recipe(gradient_format="e5m2"),
    "mx_e5m2_gradients": Recipe(block=32, weight_block=1, scaling="mx", scale_format="e8m0", gradient_format="e5m2"),
    "bf16_scales": Recipe(scale_format="bf16"),
    "blocks_of_64": Recipe(block=64, weight_block=32),
    "a_scale_for_all_columns": Recipe(weight_block=None),
}


def quantized(x, block, recipe: Recipe, groups=None):
    """An operand as ragged_dot sees it, by the package for numpy."""
    if not recipe.quantizes:
        return np.asarray(x).astype(bf16(1).dtype)
    return ragdot.quantize(x, block, recipe.format, recipe.scaling, recipe.scale_format, groups)


def float64_gradients(rows, columns, weights, turned, grad_rows, grad_columns):
    """Autodiff of the forward product in float64: of lhs where weights and gradient are those that it takes, of rhs likewise."""
    group = np.repeat(np.arange(GROUPS), SIZES)
    arrays = [real(rows, SIZES), real(columns, SIZES), real(weights), real(turned), real(grad_rows, SIZES), real(grad_columns, SIZES)]

    def product(lhs, rhs):
        return jnp.zeros((ROWS, OUTER), jnp.float64).at[:USED].set(jnp.einsum("mk,mkn->mn", lhs[:USED], rhs[group]))

    with jax.enable_x64(True):
        x, x_columns, w, w_turned, dy, dy_columns = map(jnp.asarray, arrays)
        (dlhs,) = jax.vjp(lambda lhs: product(lhs, w_turned), x)[1](dy)
        (drhs,) = jax.vjp(lambda rhs: product(x_columns, rhs), w)[1](dy_columns)
        return np.asarray(dlhs), np.asarray(drhs)


@pytest.mark.parametrize("name", RECIPE_OBJECTS)
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_forward_and_gradients(name, dtype):
    recipe = RECIPE_OBJECTS[name]
    make = normal if dtype == "f32" else bf16
    x, w, dy = make(ROWS, INNER), make(GROUPS, INNER, OUTER, seed=1), make(ROWS, OUTER, seed=2)
    y, vjp = jax.vjp(jax.jit(lambda x, w: ragged_dot(x, w, SIZES, recipe=recipe)), x, w)
    dx, dw = jax.jit(vjp)(jnp.asarray(dy))
    assert (y.dtype, dx.dtype, dw.dtype) == (x.dtype, x.dtype, w.dtype)

    backward = recipe.for_gradients()
    rows, columns = (quantized(x, block, recipe, SIZES) for block in (recipe.rows, recipe.columns))
    weights, turned = (quantized(w, block, recipe) for block in (recipe.weights, recipe.turned_weights))
    grad_rows, grad_columns = (quantized(dy, block, backward, SIZES) for block in (recipe.rows, recipe.columns))
    same(y, ragdot.gmm(rows, weights, SIZES, out_dtype=dtype))
    same(dx, ragdot.dlhs(grad_rows, turned, SIZES, out_dtype=dtype))
    same(dw, ragdot.tgmm(columns, grad_columns, SIZES, out_dtype=dtype))

    assert_right("dlhs", np.asarray(dx), grad_rows, turned, SIZES)
    assert_right("tgmm", np.asarray(dw), columns, grad_columns, SIZES)
    dlhs, drhs = float64_gradients(rows, columns, weights, turned, grad_rows, grad_columns)
    np.testing.assert_allclose(dlhs, ragdot.error_bound("dlhs", grad_rows, turned, SIZES).exact, rtol=0, atol=1e-10)
    np.testing.assert_allclose(drhs, ragdot.error_bound("tgmm", columns, grad_columns, SIZES).exact, rtol=0, atol=1e-10)
    assert not np.asarray(dw)[1].any()  # the group without rows
    assert not np.asarray(y)[USED:].any() and not np.asarray(dx)[USED:].any()


@pytest.mark.parametrize("name", RECIPES)
def test_close_to_what_it_stands_for(name):
    """Against float32 autodiff of jax.lax.ragged_dot: no axis or scale is taken for another."""
    x, w = normal(ROWS, INNER), normal(GROUPS, INNER, OUTER, seed=1)

    def loss(product, x, w):
        return jnp.mean(product(x, w, SIZES) ** 2)

    want = jax.value_and_grad(lambda x, w: loss(jax.lax.ragged_dot, x, w), (0, 1))(x, w)
    got = jax.value_and_grad(lambda x, w: loss(lambda *a: ragged_dot(*a, recipe=name), x, w), (0, 1))(x, w)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        assert np.linalg.norm(np.asarray(a - b)) <= (0.01 if name == "bf16" else 0.08) * np.linalg.norm(np.asarray(b))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_group_offset_forward_and_backward(name, offset):
    """Two local groups of five are those two alone; the other rows are zero, and so are their gradients."""
    x, w, dy = bf16(ROWS, INNER), bf16(2, INNER, OUTER, seed=1), bf16(ROWS, OUTER, seed=2)
    begin, end = int(SIZES[:offset].sum()), int(SIZES[: offset + 2].sum())
    inside = slice(begin, end)

    def step(x, w, dy, sizes, offset=None):
        y, vjp = jax.vjp(lambda x, w: ragged_dot(x, w, sizes, None, None, offset, recipe=name), x, w)
        return (y, *vjp(dy))

    y, dx, dw = jax.jit(step)(x, w, dy, SIZES, jnp.array([offset], jnp.int32))
    want_y, want_dx, want_dw = jax.jit(step)(x[inside], w, dy[inside], SIZES[offset : offset + 2])
    same(y[inside], want_y)
    same(dx[inside], want_dx)
    same(dw, want_dw)
    for rows in (y, dx):
        assert not np.delete(np.asarray(rows), np.arange(begin, end), axis=0).any()


@pytest.mark.parametrize("name", RECIPES)
def test_rows_outside_cannot_poison(name):
    x, w, dy = bf16(ROWS, INNER), bf16(GROUPS, INNER, OUTER, seed=1), bf16(ROWS, OUTER, seed=2)

    def step(x, dy):
        y, vjp = jax.vjp(lambda x, w: ragged_dot(x, w, SIZES, recipe=name), x, w)
        return (y, *vjp(dy))

    want = jax.jit(step)(x, dy)
    x[USED:], dy[USED:] = np.nan, np.inf
    for a, b in zip(jax.jit(step)(x, dy), want):
        same(a, b)


def test_takes_the_arguments_of_jax_lax():
    x, w = normal(ROWS, INNER), normal(GROUPS, INNER, OUTER, seed=1)
    arguments = (x, w, SIZES, jax.lax.Precision.HIGHEST, jnp.float32)
    np.testing.assert_allclose(ragged_dot(*arguments), jax.lax.ragged_dot(*arguments), rtol=1e-5, atol=1e-4)
    same(ragged_dot(*arguments), ragdot.gmm(x, w, SIZES))
    for precision in (None, "default", jax.lax.Precision.DEFAULT, (None, "default")):
        same(ragged_dot(x, w, SIZES, precision), ragged_dot(x, w, SIZES))
    for precision in ("highest", "high", ("default", "highest"), "float32", jax.lax.DotAlgorithmPreset.F32_F32_F32):
        same(ragged_dot(x, w, SIZES, precision), ragged_dot(*arguments))
    rounded, quantised = ragged_dot(x, w, SIZES), ragged_dot(x, w, SIZES, recipe="blockwise")
    same(ragged_dot(x, w, SIZES, jax.lax.DotAlgorithmPreset.BF16_BF16_F32), rounded)
    with jax.default_matmul_precision("highest"):
        same(ragged_dot(x, w, SIZES), ragged_dot(*arguments))
        same(ragged_dot(x, w, SIZES, "default"), rounded)
        same(ragged_dot(x, w, SIZES, recipe="blockwise"), quantised)
    with pytest.raises(ValueError, match="ragged_dot: precision is 'int9'; give one of DEFAULT, "):
        ragged_dot(x, w, SIZES, "int9")
    with pytest.raises(ValueError, match="ragged_dot: preferred_element_type is float64; it must be bfloat16, float32 or float16"):
        ragged_dot(x, w, SIZES, preferred_element_type=np.float64)
    with pytest.raises(ValueError, match="ragged_dot: precision is highest and the recipe quantises to e4m3"):
        ragged_dot(x, w, SIZES, "highest", recipe="blockwise")


@pytest.mark.parametrize("out_dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_preferred_element_type(out_dtype):
    x, w = bf16(ROWS, INNER), bf16(GROUPS, INNER, OUTER, seed=1)
    y = ragged_dot(x, w, SIZES, None, out_dtype)
    same(y, ragdot.gmm(x, w, SIZES, out_dtype=out_dtype))


def test_mixed_types_promote():
    weak = jnp.full((ROWS, INNER), 1.0)
    assert weak.weak_type and ragged_dot(weak, jnp.asarray(bf16(GROUPS, INNER, OUTER)), SIZES).dtype == jnp.float32
    x, w = bf16(ROWS, INNER), normal(GROUPS, INNER, OUTER, seed=1)
    y, vjp = jax.vjp(lambda x, w: ragged_dot(x, w, SIZES, recipe="blockwise"), x, w)
    dx, dw = vjp(jnp.ones_like(y))
    assert (y.dtype, dx.dtype, dw.dtype) == (jnp.float32, jnp.bfloat16, jnp.float32)
    same(ragged_dot(x, w, SIZES, "highest"), ragdot.gmm(x.astype(np.float32), w, SIZES))


@pytest.mark.parametrize("types", [("bf16", "bf16"), ("f32", "f32"), ("bf16", "f32"), ("f16", "f16")], ids="-".join)
@pytest.mark.parametrize("out_dtype", [None, jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("words", [{"precision": "highest"}, {"recipe": Recipe(format=None)}], ids=["highest", "format-None"])
def test_operands_that_stay_as_they_come(types, out_dtype, words):
    """The gradient of the result becomes what they are, float32 where they are float16."""
    given = normal(ROWS, INNER), normal(GROUPS, INNER, OUTER, seed=1)
    x, w = (jnp.asarray(array, DTYPES[name]) for array, name in zip(given, types))
    kept = DTYPES["bf16" if types == ("bf16", "bf16") else "f32"]
    y, vjp = jax.vjp(jax.jit(lambda x, w: ragged_dot(x, w, SIZES, preferred_element_type=out_dtype, **words)), x, w)
    dy = jnp.asarray(normal(ROWS, OUTER, seed=2), y.dtype)
    dx, dw = jax.jit(vjp)(dy)
    rows, weights, grad = (np.asarray(array).astype(kept) for array in (x, w, dy))
    same(y, ragdot.gmm(rows, weights, SIZES, out_dtype=out_dtype or jnp.result_type(x, w)))
    same(dx, ragdot.dlhs(grad, weights, SIZES, out_dtype=kept).astype(x.dtype))
    same(dw, ragdot.tgmm(rows, grad, SIZES, out_dtype=kept).astype(w.dtype))


def test_has_no_second_derivative():
    x, w, sizes = jnp.ones((4, 8)), jnp.ones((2, 8, 4)), np.array([1, 3], np.int32)

    def loss(x, recipe):
        return (ragged_dot(x, w, sizes, recipe=recipe) ** 2).sum()

    for recipe in ("bf16", "blockwise"):
        for second in (jax.hessian(loss), jax.grad(lambda *a: jax.grad(loss)(*a).sum())):
            with pytest.raises(NotImplementedError, match="^ragged_dot has no second derivative; use jax.lax.ragged_dot where"):
                second(x, recipe)


@pytest.mark.parametrize("name", ["bf16", "blockwise"])
def test_transformations(name):
    """vmap, scan and rematerialisation give what single calls give."""
    x, w = bf16(3, ROWS, INNER), bf16(3, GROUPS, INNER, OUTER, seed=1)
    sizes = np.stack([SIZES, SIZES[::-1], np.array([0, 0, ROWS, 0, 0], np.int32)])

    def loss(x, w, sizes):
        return ragged_dot(x, w, sizes, None, jnp.float32, recipe=name).sum()

    one = jax.jit(jax.value_and_grad(loss, (0, 1)))
    want = [one(x[i], w[i], sizes[i]) for i in range(3)]
    mapped = jax.jit(jax.vmap(jax.value_and_grad(loss, (0, 1))))(x, w, sizes)
    shared = jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0, 0)))(x[0], w, sizes)
    scanned = jax.jit(lambda *all: jax.lax.scan(lambda _, each: (None, one(*each)), None, all)[1])(x, w, sizes)
    saved = jax.jit(jax.value_and_grad(jax.checkpoint(loss), (0, 1)))(x[0], w[0], sizes[0])
    for i in range(3):
        for got in (mapped, scanned):
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want[i])):
                same(a[i], b)
    same(shared[1][0], want[0][1][0])
    for a, b in zip(jax.tree.leaves(saved), jax.tree.leaves(want[0])):
        same(a, b)


def test_runs_in_many_programs_at_once():
    """Devices share one pool of threads; a call whose helpers come late finishes by itself."""
    x, w = bf16(ROWS, INNER), bf16(GROUPS, INNER, OUTER, seed=1)
    want = ragged_dot(x, w, SIZES, recipe="blockwise")
    call = jax.jit(lambda x, w: ragged_dot(x, w, SIZES, recipe="blockwise"))
    placed = [jax.device_put((x, w), device) for device in jax.devices()]
    for got in [call(*operands) for _ in range(50) for operands in placed]:
        same(got, want)


@pytest.mark.parametrize("shape", [(0, INNER, OUTER), (ROWS, 0, OUTER), (ROWS, INNER, 0)])
@pytest.mark.parametrize("name", RECIPES)
def test_empty_extents(shape, name):
    rows, inner, outer = shape
    sizes = SIZES if rows else np.zeros(GROUPS, np.int32)
    y, vjp = jax.vjp(lambda x, w: ragged_dot(x, w, sizes, recipe=name), bf16(rows, inner), bf16(GROUPS, inner, outer))
    dx, dw = vjp(jnp.ones_like(y))
    assert (y.shape, dx.shape, dw.shape) == ((rows, outer), (rows, inner), (GROUPS, inner, outer))
    assert not any(np.asarray(array).any() for array in (y, dx, dw))


X, W = bf16(ROWS, INNER), bf16(GROUPS, INNER, OUTER)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: ragged_dot(X, W, SIZES, recipe="fp8"), "ragged_dot: recipe is 'fp8'; give a Recipe or one of bf16, channelwise"),
        (lambda: ragged_dot(X, W, None), "ragged_dot: group_sizes is None; give integers"),
        (lambda: ragged_dot(X, W, SIZES, group_offset="a"), "ragged_dot: group_offset is 'a'; give integers"),
        (lambda: ragged_dot(X, W, SIZES, None, "f99"), "ragged_dot: preferred_element_type is f99; it must be bfloat16, float32 or float16"),
        (lambda: ragged_dot(ScaledArray(X, X, (1, 1)), W, SIZES), "ragged_dot: lhs is a ScaledArray; give bfloat16, float32 or float16, or use gmm"),
        (lambda: ragged_dot(X, W[0], SIZES),
         r"ragged_dot: rhs is bfloat16\[200, 136\]; it must be bfloat16, float32 or float16 or a ScaledArray \[groups"),
        (lambda: ragged_dot(X, W, SIZES, group_offset=2**31),
         "ragged_dot: group_offset holds numbers from 2147483648 to 2147483648; jax keeps int32"),
        (lambda: ragged_dot(X, W, SIZES.astype(np.int64) << 32),
         "ragged_dot: group_sizes holds numbers from 0 to 554050781184; jax keeps int32 here"),
        (lambda: ragged_dot(X.astype(np.int8), W, SIZES), r"ragged_dot: lhs is int8\[250, 200\]"),
        (lambda: ragged_dot(X, W, SIZES[:4]), "ragged_dot: 5 local groups and 4 group sizes; they must be equal, or give group_offset"),
        (lambda: ragged_dot(X, W, SIZES[None]), r"ragged_dot: group_sizes is int32\[1, 5\]"),
        (lambda: ragged_dot(X[:, :9], W, SIZES, recipe="mx"), "gmm: inner sizes differ"),
        (lambda: Recipe(format="e3m4"), "Recipe: format is 'e3m4'; it must be one of None, bf16, e4m3, e5m2"),
        (lambda: Recipe(block=0), "Recipe: block is 0; it must be 1 or more"),
        (lambda: Recipe(block=1.5), "Recipe: block is 1.5; give a whole number"),
        (lambda: Recipe(block="a"), "Recipe: block is 'a'; give a whole number"),
        (lambda: Recipe(weight_block=True), "Recipe: weight_block is True; give a whole number"),
        (lambda: Recipe(format="bf16", gradient_format="e5m2"), "Recipe: gradient_format is 'e5m2' and format bf16 quantises nothing"),
        (lambda: Recipe(format=None, gradient_format="bf16"), "Recipe: gradient_format is 'bf16' and format None quantises nothing"),
        (lambda: Recipe(scale_format="e8m0"), "Recipe: scale_format is 'e8m0' and scaling is 'absmax'; e8m0 takes scaling pow2 or mx"),
        (lambda: Recipe(scaling="max"), "Recipe: scaling is 'max'"),
        (lambda: Recipe(scale_format="e4m3"), "Recipe: scale_format is 'e4m3'"),
    ],
)
def test_refusals_while_tracing(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        jax.eval_shape(call)


# Of a run: jax gives errors of a program that it runs within the call another type.
REFUSALS = (jax.errors.JaxRuntimeError, ValueError)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("sizes", "offset"), [([70, -1, 1, 1, 1], 0), ([250, 1, 0, 0, 0], 0), ([1, 2, 3, 4, 5], 4), ([1, 2, 3, 4, 5], -1)])
def test_refusals_at_run_time(name, sizes, offset):
    call = jax.jit(lambda sizes, offset: ragged_dot(X, W[:2], sizes, None, None, offset, recipe=name))
    with pytest.raises(REFUSALS, match=r": group_(sizes\[1\]|offset) is "):
        call(jnp.array(sizes, jnp.int32), jnp.int32(offset)).block_until_ready()
    call(jnp.zeros(5, jnp.int32), jnp.int32(0)).block_until_ready()
    with pytest.raises(REFUSALS, match=r": group_(sizes\[1\]|offset) is "):
        call(jnp.array(sizes, jnp.int32), jnp.int32(offset)).block_until_ready()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.int64, np.uint64])
def test_group_numbers_of_every_integer_type(dtype):
    sizes = np.array([70, 0, 120, 1, 40])
    expected = ragged_dot(X, W[1:3], sizes.astype(np.int32), group_offset=1)
    same(ragged_dot(X, W[1:3], sizes.astype(dtype), group_offset=dtype(1)), expected)
    with jax.enable_x64(True):
        call = jax.jit(lambda sizes, offset: ragged_dot(X, W[1:3], sizes, group_offset=offset))
        same(call(jnp.asarray(sizes, dtype), jnp.asarray(1, dtype)), expected)
    if np.dtype(dtype).itemsize < 8:
        same(call(jnp.asarray(sizes, dtype), jnp.asarray(1, dtype)), expected)


def test_numbers_beyond_int32_do_not_wrap():
    with jax.enable_x64(True):
        with pytest.raises(REFUSALS, match=r"group_offset is 2147483647; with 5 groups"):
            ragged_dot(X, W[:2], SIZES, group_offset=jnp.asarray(2**32)).block_until_ready()
    with pytest.raises(REFUSALS, match=r"group_sizes\[0\] is 2147483647"):
        ragged_dot(X, W, jnp.full(5, 2**32 - 1, jnp.uint32)).block_until_ready()


def test_group_numbers_in_lists_and_in_what_makes_arrays():
    class Numbers:
        def __jax_array__(self):
            return jnp.asarray(SIZES)

    expected = ragged_dot(X, W, SIZES)
    same(jax.jit(lambda *sizes: ragged_dot(X, W, list(sizes)))(*SIZES.tolist()), expected)
    same(ragged_dot(X, W, Numbers()), expected)
    same(jax.jit(lambda offset: ragged_dot(X, W[2:], SIZES, group_offset=[offset]))(2), ragged_dot(X, W[2:], SIZES, group_offset=2))
    with pytest.raises(ValueError, match="ragged_dot: group_offset holds numbers that no integer of 64 bits holds"):
        ragged_dot(X, W, SIZES, group_offset=2**70)


def test_no_group_at_all():
    assert not np.asarray(ragged_dot(X, W[:0], [])).any()


def test_strict_promotion_and_transfer_guards():
    x, w, sizes = map(jnp.asarray, (X.astype(np.float32), W, SIZES))
    with jax.numpy_dtype_promotion("strict"), jax.transfer_guard("disallow"):
        for name in RECIPES:
            assert ragged_dot(x, w, sizes, recipe=name).dtype == jnp.float32
            ragged_dot(x, w, sizes, preferred_element_type=jnp.bfloat16, recipe=name)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "bf16"])
def test_quantised_weights_that_stay(name):
    """The result of weights that are quantised inside, and the gradient of lhs through the weights that there are."""
    recipe, dy = recipe_of("test", name), jnp.asarray(bf16(ROWS, OUTER, seed=2))
    weights = quantize(W, recipe.weights, recipe.format, recipe.scaling, recipe.scale_format)
    y, vjp = jax.vjp(jax.jit(lambda x: ragged_dot(x, weights, SIZES, recipe=name)), X)
    same(y, ragged_dot(X, W, SIZES, recipe=name))
    (dx,) = vjp(dy)
    same(dx, gmm(quantize(dy, recipe.rows, recipe.format, recipe.scaling, recipe.scale_format, SIZES), weights.transposed(), SIZES))
    same(dx, jax.jit(jax.grad(lambda x, w: jnp.vdot(ragged_dot(x, w, SIZES, recipe=name), dy).astype(jnp.float32)))(X, weights))
    if recipe.one_copy:
        same(dx, jax.vjp(lambda x: ragged_dot(x, W, SIZES, recipe=name), X)[1](dy)[0])
    # Local groups, bfloat16 beside FP8, other results.
    part = jax.tree.map(lambda leaf: leaf[2:4], weights)
    same(ragged_dot(X, part, SIZES, None, jnp.float32, 2), gmm(X, part, SIZES, out_dtype=jnp.float32, group_offset=2))
    with pytest.raises(NotImplementedError, match="gmm: lhs f32 with rhs e4m3 is not offered"):
        ragged_dot(X.astype(np.float32), weights, SIZES, "highest")
    with pytest.raises(NotImplementedError, match="ragged_dot: rhs is a ScaledArray, which is not offered on CUDA devices"):
        jax.jit(lambda x: ragged_dot(x, weights, SIZES)).trace(X).lower(lowering_platforms=("cuda",))


def test_quantised_weights_have_no_gradient():
    """Neither as they are nor by way of their scales: it would be lost without a word."""

    def loss(w, scale):
        weights = ScaledArray((w / scale).astype(jnp.float8_e4m3fn), scale, (None, None))
        return ragged_dot(X, weights, SIZES, recipe="blockwise").astype(jnp.float32).sum()

    scale = jnp.ones((len(SIZES), 1, 1))
    for argument in (0, 1):
        for gradient in (jax.grad(loss, argument), jax.jit(jax.grad(loss, argument))):
            with pytest.raises(NotImplementedError, match="^ragged_dot: rhs is a ScaledArray, which has no gradient; put jax.lax.stop_gradient"):
                gradient(W.astype(jnp.float32), scale)
    weights = jax.lax.stop_gradient(quantize(W, (128, 128)))
    layer = jax.checkpoint(lambda x, _: (ragged_dot(x, weights, SIZES) @ jnp.ones((OUTER, INNER), x.dtype), None))
    gradient = jax.jit(jax.grad(lambda x: jax.lax.scan(layer, x, length=2)[0].astype(jnp.float32).sum()))(X)
    assert np.asarray(gradient, np.float32).any()


@pytest.mark.parametrize("policy", [None, jax.checkpoint_policies.save_only_these_names(CHECKPOINT_NAME)])
@pytest.mark.parametrize("name", ["bf16", "mx", "blockwise", "blockwise_e8m0"])
def test_what_scanned_layers_keep(name, policy):
    """Operands as they are, which cost no memory, and no FP8 numbers, which XLA stacks by way of float16 on a CPU."""
    x, weights = normal(ROWS, INNER), normal(3, GROUPS, INNER, INNER, seed=1)

    def layer(x, w):
        return jnp.tanh(ragged_dot(x, w, SIZES, recipe=name)), None

    layer = layer if policy is None else jax.checkpoint(layer, policy=policy)
    program = jax.make_jaxpr(jax.grad(lambda w: jax.lax.scan(layer, x, w)[0].sum()))(weights)
    forward = next(eqn for eqn in program.eqns if eqn.primitive.name == "scan")
    kept = [out.aval for out in forward.outvars]  # and what is carried
    assert len(kept) > 1 and not [aval for aval in kept if aval.dtype.itemsize == 1 and aval.dtype != jnp.uint8]
    copies = [aval for aval in kept if aval.shape == weights.shape]
    assert [aval.dtype for aval in copies] == ([jnp.uint8] if name.startswith("blockwise") else [])


def test_checkpoint_policies_may_save_what_is_quantised():
    names = jax.checkpoint_policies.save_only_these_names(CHECKPOINT_NAME)

    def quantisations(policy) -> int:
        layer = jax.checkpoint(lambda x, w: ragged_dot(x, w, SIZES, recipe="blockwise").astype(jnp.float32).sum(), policy=policy)
        step = jax.jit(jax.grad(lambda x, w: layer(x, w) ** 2, (0, 1)))
        return step.trace(X, W).lower().as_text().count("@ragdot_quantize")

    assert (quantisations(None), quantisations(names)) == (5, 3)


def test_programs_for_other_devices_are_refused():
    with pytest.raises(NotImplementedError, match="ragdot.jax is offered on CPU and CUDA devices; place operands and program there"):
        jax.jit(lambda x, w: ragged_dot(x, w, SIZES)).trace(X, W).lower(lowering_platforms=("tpu",))
