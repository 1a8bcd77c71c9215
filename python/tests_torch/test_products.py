"""grouped_mm: every form, recipe and stride against float64 autodiff of the dequantised problem; groups, tails, bias, autocast."""

import pytest
import torch
from problems import ENDS, INNER, OUTER, RECIPES, ROWS, assert_close, dequantised, multiplied, normal, offs, ranges, real, summed

import ragdot.torch as rt
from ragdot._recipes import recipe_of
from ragdot.torch._products import weight_operands

GROUPS = len(ENDS)
DTYPES = [torch.float32, torch.bfloat16]


def operands(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, w and the gradient of the result; x and w want gradients."""
    x, w = normal(ROWS, INNER, dtype=dtype), normal(GROUPS, INNER, OUTER, seed=1, dtype=dtype)
    return x.requires_grad_(), w.requires_grad_(), normal(ROWS, OUTER, seed=2, dtype=dtype)


def exact_gradients(x, w, dy, recipe):
    """Results of float64 autodiff, each with the product of magnitudes: y, dx, dw. Every product has operands of its own grids."""
    back = recipe_of("test", recipe).for_gradients()
    cases = (
        (dequantised(x, "rows", recipe), dequantised(w, "weights", recipe), None, None),
        (x.double(), dequantised(w, "turned_weights", recipe), dequantised(dy, "rows", back), 0),
        (dequantised(x, "columns", recipe), w.double(), dequantised(dy, "columns", back), 1),
    )
    for a, b, cotangent, wanted in cases:
        found = []
        for of in (lambda z: z, torch.abs):
            leaves = [of(z.detach()).clone().requires_grad_() for z in (a, b)]
            y = multiplied(*leaves)
            found.append(y.detach() if wanted is None else torch.autograd.grad(y, leaves[wanted], of(cotangent))[0])
        yield found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
def test_product_and_gradients(recipe, dtype):
    x, w, dy = operands(dtype)
    y = rt.grouped_mm(x, w, offs(), recipe=recipe)
    y.backward(dy)
    for result, (exact, magnitude) in zip((y, x.grad, w.grad), exact_gradients(x, w, dy, recipe)):
        assert result.dtype == dtype
        assert_close(result, exact, magnitude)
    with torch.no_grad():
        assert torch.equal(rt.grouped_mm(x, w, offs(), recipe=recipe), y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
def test_two_matrices(recipe, dtype):
    """[K, M] by [M, N]; in its gradients the roles turn: the gradient [G, K, N] is the weight."""
    back = recipe_of("test", recipe).for_gradients()
    x, y, dout = normal(INNER, ROWS, dtype=dtype), normal(ROWS, OUTER, seed=1, dtype=dtype), normal(GROUPS, INNER, OUTER, seed=2, dtype=dtype)
    x.requires_grad_(), y.requires_grad_()
    out = rt.grouped_mm(x, y, offs(), recipe=recipe)
    out.backward(dout)
    columns = [dequantised(z, "columns", recipe) for z in (x.T, y)]
    assert_close(out, summed(*columns), summed(*map(torch.abs, columns)))
    rows, along_k = dequantised(x.T, "rows", recipe), dequantised(dout, "weights", back)
    assert_close(y.grad, multiplied(rows, along_k), multiplied(rows.abs(), along_k.abs()))
    rows, along_n = dequantised(y, "rows", recipe), dequantised(dout, "turned_weights", back).mT
    assert_close(x.grad, multiplied(rows, along_n).T, multiplied(rows.abs(), along_n.abs()).T)
    assert out.dtype == x.grad.dtype == y.grad.dtype == dtype


@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
def test_ragged_columns_are_the_turned_product(recipe):
    """[G, M, K] by [K, N]."""
    x, w, dy = operands()
    y = rt.grouped_mm(x, w, offs(), recipe=recipe)
    y.backward(dy)
    left, right = w.detach().mT.clone().requires_grad_(), x.detach().T.clone().requires_grad_()
    turned = rt.grouped_mm(left, right, offs(), recipe=recipe)
    turned.backward(dy.T)
    assert torch.equal(turned, y.T) and torch.equal(left.grad, w.grad.mT) and torch.equal(right.grad, x.grad.T)


def test_as_torch_computes_it():
    """bfloat16, where torch._grouped_mm takes the sizes: multiples of eight, no tail."""
    ends = torch.tensor([64, 64, 128, 192], dtype=torch.int32)
    x, w, y = normal(192, 64, dtype=torch.bfloat16), normal(4, 64, 32, seed=1, dtype=torch.bfloat16), normal(192, 32, seed=2, dtype=torch.bfloat16)
    for a, b, given in ((x, w, ends), (x.T, y, ends), (w.mT, x.T, ends), (x.view(4, 48, 64), w, None)):
        torch.testing.assert_close(rt.grouped_mm(a, b, given), torch._grouped_mm(a, b, offs=given), atol=0.25, rtol=0.02)


@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_without_offs_each_matrix_has_its_own(recipe, turned):
    """[G, M, K] by [G, K, N] is the first form with M rows in each group."""
    x, w, bias, dy = normal(GROUPS, 34, INNER), normal(GROUPS, INNER, OUTER, seed=1), normal(GROUPS, OUTER, seed=2), normal(GROUPS, 34, OUTER, seed=3)
    x = (x.mT.contiguous().mT if turned else x).requires_grad_()
    leaves = x, w.requires_grad_(), bias.requires_grad_()
    y = rt.grouped_mm(x, w, None, bias, torch.float32, recipe=recipe)
    rows = rt.grouped_mm(x.flatten(0, 1), w, torch.arange(34, 171, 34), bias, torch.float32, recipe=recipe)
    assert y.shape == dy.shape and torch.equal(y.flatten(0, 1), rows)
    found, expected = torch.autograd.grad(y, leaves, dy), torch.autograd.grad(rows, leaves, dy.flatten(0, 1))
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize("block", [(1, 128), (32, 32), (None, 128), (128, None)])
def test_scaled_operands_without_offs(block):
    """Blocks begin at each matrix's first row."""
    x, w = rt.quantize(normal(GROUPS, 34, INNER), block), rt.quantize(normal(GROUPS, INNER, OUTER, seed=1), (128, 128))
    y = rt.grouped_mm(x, w)
    for g in range(GROUPS):
        of = rt.ScaledTensor(x.values[g], x.scales[g], block)
        assert torch.equal(y[g], rt.grouped_mm(of, rt.ScaledTensor(w.values[g : g + 1], w.scales[g : g + 1], (128, 128)), torch.tensor([34])))
    turned = rt.quantize(normal(GROUPS, INNER, 34), block[::-1]).mT
    dense = rt.ScaledTensor(turned.values.contiguous(), turned.scales.contiguous(), block)
    assert torch.equal(rt.grouped_mm(turned, w), rt.grouped_mm(dense, w))


@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
def test_empty_groups_and_tails_are_exact_zeros(recipe):
    x, w, dy = operands()
    with torch.no_grad():
        x[ENDS[-1] :], dy[ENDS[-1] :] = torch.nan, torch.inf
    y = rt.grouped_mm(x, w, offs(), recipe=recipe)
    y.backward(dy)
    assert not y[ENDS[-1] :].any() and not x.grad[ENDS[-1] :].any() and not w.grad[1].any()
    for result in (y, x.grad, w.grad):
        assert result.isfinite().all()


@pytest.mark.parametrize("recipe", RECIPES[1:], ids=str)
def test_quantised_gradients_show_nan_and_no_inf(recipe):
    for bad, finite in ((torch.inf, True), (torch.nan, False)):
        x, w, dy = operands()
        dy[60, 3] = bad
        rt.grouped_mm(x, w, offs(), recipe=recipe).backward(dy)
        assert x.grad.isfinite().all() == w.grad.isfinite().all() == finite


def test_vmap_without_gradients():
    x, w = normal(3, ROWS, INNER), operands()[1].detach()
    expected = torch.stack([rt.grouped_mm(matrix, w, offs(), recipe="blockwise") for matrix in x])
    assert torch.equal(torch.vmap(lambda matrix: rt.grouped_mm(matrix, w, offs(), recipe="blockwise"))(x), expected)


def test_offs_are_int32_or_int64_in_any_memory():
    x, w, _ = operands()
    expected = rt.grouped_mm(x, w, offs())
    assert torch.equal(rt.grouped_mm(x, w, offs(torch.int64)), expected)
    assert torch.equal(rt.grouped_mm(x, w, offs(torch.int64).repeat_interleave(2)[::2]), expected)


def with_strides(x: torch.Tensor, how: str) -> torch.Tensor:
    """The same numbers in other memory."""
    if how == "columns":
        return x.mT.contiguous().mT
    if how == "padded":
        return torch.cat([x, torch.full_like(x, 7)], -1)[..., : x.shape[-1]]
    if how == "experts_inside":
        return x.movedim(0, -2).contiguous().movedim(-2, 0)
    if how == "expanded":
        return x[..., :1].expand(x.shape)
    return x.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., ::2, ::2]


@pytest.mark.parametrize("how", ["columns", "padded", "experts_inside", "expanded", "no_unit_stride"])
@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_strides_change_no_bit(recipe, how):
    tensors = [with_strides(z.detach(), how) for z in operands()]
    results = []
    for x, w, dy in (tensors, [z.contiguous() for z in tensors]):
        leaves = x.detach().requires_grad_(), w.detach().requires_grad_()
        y = rt.grouped_mm(*leaves, offs(), recipe=recipe)
        y.backward(dy)
        results.append((y, *(leaf.grad for leaf in leaves)))
    for moved, dense in zip(*results):
        assert torch.equal(moved, dense)


@pytest.mark.parametrize("recipe", ["channelwise", "blockwise"])
def test_weights_stored_turned_are_quantised_along_their_memory(recipe):
    w = operands()[1].detach().mT.contiguous().mT
    for found, expected in zip(weight_operands(w, recipe_of("test", recipe), True), weight_operands(w.contiguous(), recipe_of("test", recipe), True)):
        if expected is not None:
            (values, scales, grid), (expected_values, expected_scales, expected_grid) = found, expected
            assert values.stride() == w.stride() and grid == expected_grid
            assert torch.equal(values.float(), expected_values.float()) and torch.equal(scales, expected_scales)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_gradient_has_the_layout_of_the_weight(axes, dtype):
    x, w, dy = operands(dtype)
    w = w.detach().permute(axes).contiguous().permute([axes.index(i) for i in range(3)]).requires_grad_()
    seen = []
    w.register_hook(lambda grad: seen.append((grad.dtype, grad.stride())))
    rt.grouped_mm(x, w, offs(), recipe="blockwise").backward(dy)
    assert seen == [(dtype, w.stride())]


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_bias(dtype):
    x, w, dy = operands()
    bias = normal(GROUPS, OUTER, seed=3).to(dtype).requires_grad_()
    y = rt.grouped_mm(x, w, offs(), bias)
    y.backward(dy)
    y64 = multiplied(x.double(), w.double(), bias.double())
    assert_close(y, y64, multiplied(x.double().abs(), w.double().abs(), bias.double().abs()))
    exact = torch.stack([dy[rows].double().sum(0) for rows in ranges(ENDS)])
    assert bias.grad.dtype == dtype and not bias.grad[1].any()
    rtol = {torch.float32: 1e-6, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}[dtype]
    torch.testing.assert_close(bias.grad.double(), exact, atol=1e-5, rtol=rtol)


@pytest.mark.parametrize("out_dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_out_dtype(out_dtype, recipe):
    x, w, dy = operands(torch.bfloat16)
    y = rt.grouped_mm(x, w, offs(), out_dtype=out_dtype, recipe=recipe)
    assert y.dtype == out_dtype
    assert torch.equal(y, rt.grouped_mm(x, w, offs(), out_dtype=torch.float32, recipe=recipe).to(out_dtype))
    y.backward(dy.to(out_dtype))
    expected = torch.autograd.grad(rt.grouped_mm(x, w, offs(), recipe=recipe), (x, w), dy.to(out_dtype).bfloat16())
    for grad, other in zip((x.grad, w.grad), expected):
        assert grad.dtype == torch.bfloat16
        torch.testing.assert_close(grad, other, atol=0, rtol=0 if out_dtype == torch.bfloat16 or recipe is None else 1)


def test_scaled_operands_are_taken_as_they_are():
    x, w, dy = operands(torch.bfloat16)
    expected = rt.grouped_mm(x, w, offs(), recipe="blockwise")
    scaled_x, scaled_w = rt.quantize(x, (1, 128)), rt.quantize(w, (128, 128))
    assert torch.equal(rt.grouped_mm(scaled_x, scaled_w, offs()), expected)
    assert torch.equal(rt.grouped_mm(x, scaled_w, offs(), recipe="blockwise"), expected)
    assert torch.equal(rt.grouped_mm(rt.quantize(x, (1, 128), offs=offs()), w, offs(), recipe="blockwise"), expected)
    columns = [rt.quantize(z, (128, 1), offs=offs()) for z in (x, dy)]
    dw = rt.grouped_mm(x.T, dy, offs(), recipe="blockwise")
    assert torch.equal(rt.grouped_mm(x.detach().T, columns[1], offs(), recipe="blockwise"), dw)


def test_gradient_through_a_scaled_weight():
    x, w, dy = operands(torch.bfloat16)
    (expected,) = torch.autograd.grad(rt.grouped_mm(x, w, offs(), recipe="blockwise"), x, dy)
    (found,) = torch.autograd.grad(rt.grouped_mm(x, rt.quantize(w, (128, 128)), offs(), recipe="blockwise"), x, dy)
    assert torch.equal(found, expected)


def test_weight_gradient_of_scaled_activations():
    """They are quantised again, for sums along the rows."""
    x, w, dy = operands(torch.bfloat16)
    rows = rt.quantize(x, (1, 128))
    rt.grouped_mm(rows, w, offs(), recipe="blockwise").backward(dy)
    columns = [dequantised(z, "columns", "blockwise") for z in (rows.dequantize(), dy)]
    assert_close(w.grad, summed(*columns), summed(*map(torch.abs, columns)))


@pytest.mark.parametrize("block", [(128, 128), (1, 128), (128, 1), (None, 1), (32, None)])
def test_quantize_follows_the_memory_of_x(block):
    for x in (torch.randn(200, 150), torch.randn(2, 200, 150).bfloat16()):
        for turned in (x.mT, x.repeat_interleave(2, -1).mT[..., ::2, :]):
            found, expected = rt.quantize(turned, block), rt.quantize(turned.contiguous(), block)
            assert torch.equal(real(found), real(expected)) and torch.equal(found.scales, expected.scales)
            assert found.block == expected.block == block
        assert rt.quantize(x.mT, block).values.stride(-2) == 1 != rt.quantize(x.mT.contiguous(), block).values.stride(-2)


def test_dequantize():
    x = normal(ROWS, INNER)
    for scaled in (rt.quantize(x, (128, 1), offs=offs()), rt.quantize(x, (1, None), "e5m2"), rt.quantize(x, (1, 32), "e4m3", "mx", "e8m0")):
        ends = offs() if scaled.origin == "per_group" else None
        assert torch.equal(scaled.dequantize(offs=ends), real(scaled).float())
    assert torch.equal(real(rt.quantize(x, (1, 128)).transpose(0, 1)), real(rt.quantize(x, (1, 128))).T)


def test_a_saved_scaled_tensor_is_loaded_by_default(tmp_path):
    scaled = rt.quantize(normal(ROWS, INNER), (1, 32), "e4m3", "mx", "e8m0", offs())
    torch.save({"w": scaled}, tmp_path / "scaled.pt")
    loaded = torch.load(tmp_path / "scaled.pt")["w"]
    assert (loaded.block, loaded.origin, loaded.grid) == (scaled.block, scaled.origin, scaled.grid)
    assert torch.equal(loaded.dequantize(offs=offs()), scaled.dequantize(offs=offs()))


def test_autocast_casts_the_operands_alone():
    x, w, dy = operands()
    bias = normal(GROUPS, OUTER, seed=3).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = rt.grouped_mm(x, w, offs(), bias)
        scaled = rt.grouped_mm(rt.quantize(x, (1, 128)), rt.quantize(w, (128, 128)), offs())
    expected = rt.grouped_mm(x.bfloat16(), w.bfloat16(), offs(), bias)
    assert y.dtype == torch.bfloat16 and torch.equal(y, expected)
    assert torch.equal(scaled, rt.grouped_mm(rt.quantize(x, (1, 128)), rt.quantize(w, (128, 128)), offs()))
    y.backward(dy.bfloat16())
    assert x.grad.dtype == w.grad.dtype == bias.grad.dtype == torch.float32


@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
def test_sharded_experts_give_equal_gradients(recipe):
    """Every shard has all rows and some experts; each row has one owner, so sums over shards add zeros."""
    x, w, dy = operands()
    y = rt.grouped_mm(x, w, offs(), recipe=recipe)
    dx, dw = torch.autograd.grad(y, (x, w), dy)
    shards = []
    for first, last in ((0, 2), (2, 5)):
        local = w.detach()[first:last].clone().requires_grad_()
        part = rt.grouped_mm(x, local, offs(), recipe=recipe, first_group=first)
        shards.append((part.detach(), *torch.autograd.grad(part, (x, local), dy)))
    assert torch.equal(shards[0][0] + shards[1][0], y)
    assert torch.equal(shards[0][1] + shards[1][1], dx)
    assert torch.equal(torch.cat([shards[0][2], shards[1][2]]), dw)


@pytest.mark.parametrize("recipe", [None, "channelwise", "mx"])
def test_sharded_tokens_add_up_to_the_weight_gradient(recipe):
    """Two halves of the tokens, sorted by expert each: their exact gradients' sum, within both bounds."""
    _, w, _ = operands()
    total, exact, magnitude = 0, 0, 0
    for seed, ends in ((0, ENDS), (5, [20, 50, 50, 120, 170])):
        x, dy, of = normal(ROWS, INNER, seed=seed), normal(ROWS, OUTER, seed=seed + 2), torch.tensor(ends)
        total = total + torch.autograd.grad(rt.grouped_mm(x, w, of, recipe=recipe), w, dy)[0]
        chosen = recipe_of("test", recipe)
        a, b = x.double(), dy.double()
        if chosen.quantizes:
            a, b = (real(rt.quantize(z, (chosen.block, 1), scaling=chosen.scaling, scale_format=chosen.scale_format, offs=of), ends) for z in (x, dy))
        exact, magnitude = exact + summed(a, b, ends), magnitude + summed(a.abs(), b.abs(), ends)
    assert_close(total, exact, magnitude)


@pytest.mark.parametrize("m, k, n, g", [(0, 8, 4, 2), (5, 0, 4, 2), (5, 8, 0, 2), (5, 8, 4, 0)])
@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_nothing_to_multiply(recipe, m, k, n, g):
    x, w = normal(m, k).requires_grad_(), normal(g, k, n).requires_grad_()
    y = rt.grouped_mm(x, w, torch.full((g,), m), recipe=recipe)
    y.sum().backward()
    assert y.shape == (m, n) and x.grad.shape == x.shape and w.grad.shape == w.shape
    assert rt.grouped_mm(x.detach().expand(g, m, k), w, recipe=recipe).shape == (g, m, n)
    assert not y.any() and (k == 0 or n == 0 or m == 0 or not x.grad.any() or g > 0)


X, W = normal(6, 8), normal(3, 8, 4)
DY = normal(6, 4)
THREE = torch.tensor([1, 3, 6])
REFUSED = [
    (lambda: rt.grouped_mm(X, W[:, :7], THREE), ValueError, "grouped_mm: x is [6, 8] and w is [3, 7, 4]; give [M, K] and [G, K, N]"),
    (lambda: rt.grouped_mm(X[0], W, THREE), ValueError, "grouped_mm: x is [8] and w is [3, 8, 4]; give"),
    (lambda: rt.grouped_mm(X, W, torch.tensor([1, 4, 3])), ValueError, "gmm: group end"),
    (lambda: rt.grouped_mm(X, W, torch.tensor([1, 4, 7])), ValueError, "gmm: group end"),
    (lambda: rt.grouped_mm(X, W, torch.tensor([-1, 4, 6])), ValueError, "gmm: group end"),
    (lambda: rt.grouped_mm(X, W.clone().requires_grad_(), torch.tensor([1, 4, 3]), recipe="blockwise"), ValueError, "quantize_both: group end"),
    (lambda: rt.grouped_mm(X, W, THREE.float()), ValueError, "grouped_mm: offs are torch.float32 [3]; give the int32 or int64 ends"),
    (lambda: rt.grouped_mm(X, W, THREE[None]), ValueError, "grouped_mm: offs are torch.int64 [1, 3]; give the int32 or int64 ends"),
    (lambda: rt.grouped_mm(X, W, THREE[:2]), ValueError, "grouped_mm: offs end 2 groups and there are 3 matrices; give one for each group, or"),
    (lambda: rt.grouped_mm(X, W, THREE[:2], first_group=0), ValueError, "gmm: rhs has 3 matrices"),
    (lambda: rt.grouped_mm(X, W, THREE, torch.ones(3, 5)), ValueError, "gmm: bias is [3, 5]"),
    (lambda: rt.grouped_mm(X, W, THREE, torch.ones(3, 4).double()), ValueError,
     "grouped_mm: bias is torch.float64 [3, 4]; give float32, bfloat16 or float16, [G, N]"),
    (lambda: rt.grouped_mm(X.T, DY, THREE, torch.ones(3, 4)), ValueError, "grouped_mm: bias and first_group belong to x [M, K]"),
    (lambda: rt.grouped_mm(X, W.mT.contiguous(), THREE), ValueError, "grouped_mm: x is [6, 8] and w is [3, 4, 8]; w is stored [G, N, K]: give w.mT"),
    (lambda: rt.grouped_mm(X.to_sparse(), W, THREE), ValueError, "grouped_mm: x is torch.sparse_coo; give x.to_dense()"),
    (lambda: rt.grouped_mm(X.double(), W, THREE), ValueError, "grouped_mm: x is torch.float64; give float32, bfloat16 or float16, or a ScaledTensor"),
    (lambda: rt.grouped_mm(X, W, THREE, recipe="fp8"), ValueError, "grouped_mm: recipe is 'fp8'; give a Recipe or one of bf16, "),
    (lambda: rt.grouped_mm(X, W.bfloat16(), THREE), NotImplementedError,
     "grouped_mm: x is torch.float32 and w torch.bfloat16; without a recipe float32 and float16 are multiplied with each other alone: convert"),
    (lambda: rt.grouped_mm(X.half(), W.bfloat16(), THREE), NotImplementedError,
     "grouped_mm: x is torch.float16 and w torch.bfloat16; without a recipe float32"),
    (lambda: rt.grouped_mm(rt.quantize(X, (1, 128)), W.half(), THREE), NotImplementedError,
     "grouped_mm: x is torch.float8_e4m3fn and w torch.float16; without"),
    (lambda: rt.grouped_mm(X, W, THREE, first_group=1.5), ValueError, "grouped_mm: first_group is 1.5; give a whole number"),
    (lambda: rt.grouped_mm(X, W), ValueError, "grouped_mm: x is [6, 8], w is [3, 8, 4] and offs None; give [G, M, K] and [G, K, N], or offs"),
    (lambda: rt.grouped_mm(W.mT, W[:2]), ValueError, "grouped_mm: x is [3, 4, 8], w is [2, 8, 4] and offs None; give"),
    (lambda: rt.grouped_mm(W, W), ValueError, "grouped_mm: x is [3, 8, 4], w is [3, 8, 4] and offs None; give"),
    (lambda: rt.grouped_mm(W.mT, W, THREE), ValueError, "[G, M, K] and [K, N], or, to grouped_mm without offs, [G, M, K] and [G, K, N]"),
    (lambda: rt.grouped_mm(W.mT, W, first_group=1), ValueError, "grouped_mm: first_group belongs to x [M, K] with w [G, K, N]; leave it out"),
    (lambda: rt.grouped_mm(rt.ScaledTensor(W.mT.to(torch.int8), torch.ones(3, 2, 1), (4, 8)), W), ValueError,
     "grouped_mm: the scales of x are global [3, 2, 1]; with"),
    (lambda: rt.quantize(X, (1, 128)).to(torch.float32), ValueError,
     "ScaledTensor: to(torch.float32) asks for a dtype; to takes devices, dequantize("),
    (lambda: rt.grouped_mm(X, W, THREE, out_dtype=torch.float64), ValueError, "torch.float64"),
    (lambda: rt.grouped_mm(X, rt.ScaledTensor(W.to(torch.float8_e4m3fn), torch.ones(3, 1, 2), (128, 128)), THREE, recipe="bf16"), ValueError,
     "gmm: rhs scales are [3, 1, 2]"),
    (lambda: rt.grouped_mm(X, W, THREE.tolist()), ValueError, "grouped_mm: x is torch.float32, w torch.float32, offs list; give tensors"),
    (lambda: rt.grouped_mm(X, W.numpy(), THREE), ValueError, "grouped_mm: x is torch.float32, w ndarray, offs torch.int64; give tensors"),
    (lambda: rt.grouped_mm(X, W.long(), THREE, recipe="bf16", out_dtype=torch.float32), ValueError, "grouped_mm: w is torch.int64; give"),
    (lambda: rt.grouped_mm(X.to(torch.uint8), W, THREE, out_dtype=torch.bfloat16), ValueError, "grouped_mm: x is torch.uint8; give"),
    (lambda: rt.grouped_mm(X, W, torch.tensor([1, 2, 3, 6])), ValueError, "grouped_mm: offs end 4 groups and there are 3 matrices; give one for"),
    (lambda: rt.grouped_mm(W.mT, X.T, THREE[:2]), ValueError, "grouped_mm: offs end 2 groups and there are 3 matrices; give one for"),
    (lambda: rt.grouped_mm(X, W, THREE, out_dtype="bf16"), ValueError, "grouped_mm: out_dtype is 'bf16'; give float32, bfloat16 or float16"),
    (lambda: rt.grouped_mm(X, W, THREE, torch.ones(4)), ValueError,
     "grouped_mm: bias is torch.float32 [4]; give float32, bfloat16 or float16, [G, N]"),
    (lambda: rt.grouped_mm(rt.quantize(X, (6, 1), offs=THREE), X.T, THREE), ValueError,
     "grouped_mm: the scales of x are per_group; with x [6, 8] and"),
    (lambda: rt.grouped_mm(rt.quantize(X, (6, 1), offs=THREE).transpose(0, 1), W[:, :6], THREE), ValueError,
     "grouped_mm: the scales of x are per_group_columns; with x [8, 6]"),
    (lambda: rt.ScaledTensor(X, torch.ones(6, 1), (1, 128)), ValueError,
     "ScaledTensor: values are torch.float32 and scales torch.float32; give float8_e4m3fn, float8_e5m2 or int8 with scales"),
    (lambda: rt.ScaledTensor(X.to(torch.int8), torch.ones(6), (1, 128)), ValueError, "ScaledTensor: values are [6, 8] and scales [6]; both must be"),
    (lambda: rt.ScaledTensor(X.to(torch.int8), torch.ones(6, 1, device="meta"), (1, 128)), ValueError,
     "ScaledTensor: values are on cpu and scales on meta; move"),
    (lambda: rt.ScaledTensor(X.to(torch.int8), torch.ones(6, 1), (1, 128), "grp"), ValueError,
     "ScaledTensor: origin is 'grp'; it must be one of global, per_group, per_group_columns"),
    (lambda: rt.quantize(X, 128), ValueError, "quantize: block is 128; give (rows, columns) that share a scale"),
    (lambda: rt.quantize(X, (0, 128)), ValueError, "quantize: block is (0, 128)"),
    (lambda: rt.quantize(X, (1.5, 128)), ValueError, "quantize: block is (1.5, 128)"),
    (lambda: rt.quantize(X, (128, 1), offs=THREE.float()), ValueError, "quantize: offs are torch.float32 [3]; give the int32 or int64 ends"),
    (lambda: rt.quantize(X, (128, 1), offs=THREE[None]), ValueError, "quantize: offs are torch.int64 [1, 3]; give the int32 or int64 ends"),
    (lambda: rt.quantize(X.double(), (1, 128)), ValueError, "quantize: x is torch.float64; give a tensor of float32, bfloat16 or float16"),
    (lambda: torch.func.jvp(lambda x: rt.grouped_mm(x, W, THREE), (X,), (X,)), NotImplementedError,
     "grouped_mm: forward-mode derivatives are not offered; use backward()"),
    (lambda: torch.func.grad(lambda x: rt.grouped_mm(x, W, THREE).sum())(X), NotImplementedError,
     "ragdot.torch: torch.func is not offered, nor are gradients under torch.vmap; call in a loop, and use torch.autograd.grad"),
    (lambda: rt.quantize(X, (1, 128), "e3m4"), ValueError, "quantize: format is 'e3m4'; it must be one of e4m3, e5m2, i8"),
    (lambda: rt.quantize(X[0], (1, 128)), ValueError, "quantize: x has shape [8]"),
    (lambda: rt.quantize(X, (1, 128), offs=THREE).dequantize(), ValueError, "ScaledTensor: origin is per_group; give offs"),
    (lambda: rt.quantize(W, (1, 128)).transpose(0, 1), ValueError, "ScaledTensor: transpose(0, 1) of 3 axes"),
    (lambda: rt.grouped_mm(rt.quantize(X, (6, 1)).transpose(0, 1), DY.bfloat16().requires_grad_(), THREE), ValueError,
     "grouped_mm: two matrices with a ScaledTensor have no gradients"),
]  # fmt: skip


@pytest.mark.parametrize("call, kind, sentence", REFUSED, ids=[sentence for _, _, sentence in REFUSED])
def test_refusals(call, kind, sentence):
    with pytest.raises(kind) as refusal:
        call()
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("w_dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("recipe", [None, "bf16", "blockwise"])
def test_float16(recipe, w_dtype):
    """As it comes it is multiplied as float32."""
    x, w, dy = operands(torch.float16)
    w = w.detach().to(w_dtype).requires_grad_()
    y = rt.grouped_mm(x, w, offs(), recipe=recipe, out_dtype=torch.float32)
    x32, w32 = (z.detach().float().requires_grad_() for z in (x, w))
    expected = rt.grouped_mm(x32, w32, offs(), recipe=recipe)
    assert torch.equal(y, expected)
    gradients = zip(torch.autograd.grad(y, (x, w), dy.float()), torch.autograd.grad(expected, (x32, w32), dy.float()), (x, w))
    for found, right, of in gradients:
        assert found.dtype == of.dtype and torch.allclose(found.float(), right, rtol=2e-3, atol=2e-3)


def test_group_wise_scales_of_summed_columns():
    """What a product of two matrices sums by: the copies that tgmm is made for, from outside."""
    x, w, dy = operands(torch.bfloat16)
    columns = [rt.quantize(z, (128, 1), offs=offs()) for z in (x, dy)]
    turned = columns[0].transpose(0, 1)
    assert turned.origin == "per_group_columns" and turned.transpose(0, 1).origin == "per_group"
    assert torch.equal(turned.dequantize(offs=offs()), columns[0].dequantize(offs=offs()).T)
    assert turned.mT.values.data_ptr() == columns[0].values.data_ptr() and turned.to("meta").origin == turned.origin
    assert torch.equal(rt.grouped_mm(turned, columns[1], offs()), rt.grouped_mm(x.T, dy, offs(), recipe="blockwise", out_dtype=torch.bfloat16))


def test_a_compiled_product_of_unknown_sizes_has_gradients():
    torch._dynamo.reset()
    run = torch.compile(lambda x, w, ends: rt.grouped_mm(x, w, ends, recipe="blockwise"), fullgraph=True, backend="aot_eager", dynamic=True)
    for rows, outer in ((64, 48), (96, 80), (40, 48)):
        x, ends = normal(rows, 32).requires_grad_(), torch.tensor([rows // 2, rows])
        w = normal(2, outer, 32).mT.requires_grad_()
        found, expected = (torch.autograd.grad(f(x, w, ends).square().sum(), (x, w)) for f in (run, lambda *a: rt.grouped_mm(*a, recipe="blockwise")))
        assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(found, expected))


@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_gradients_of_gradients_are_refused(recipe):
    """Also where what comes back wants none, as that of a sum: a penalty on gradients had no effect."""
    x, w, _ = operands()
    weight_sums = normal(ROWS, 8).requires_grad_()
    products = rt.grouped_mm(x, w, offs(), recipe=recipe), rt.grouped_mm(x.T, weight_sums, offs(), recipe=recipe)
    for product in products:
        for gradient in (torch.ones_like(product), torch.ones_like(product).requires_grad_()):
            with pytest.raises(NotImplementedError, match="ragdot.torch: gradients of gradients are not offered; leave out create_graph=True"):
                torch.autograd.grad(product, x, gradient, create_graph=True, retain_graph=True)
        torch.autograd.grad(product, x, torch.ones_like(product))


def test_vmap_over_what_wants_gradients_is_refused():
    """A batch says that it wants none, and gradients were lost in silence."""
    x, w, _ = operands()
    batch = torch.stack([w.detach(), w.detach()]).requires_grad_()
    for recipe, dtype in ((None, torch.float32), (None, torch.bfloat16), ("blockwise", torch.float32)):
        rows = x.detach().to(dtype)
        run = torch.vmap(lambda matrices, rows=rows, recipe=recipe: rt.grouped_mm(rows, matrices, offs(), recipe=recipe))
        with pytest.raises(NotImplementedError, match="ragdot.torch: torch.func is not offered, nor are gradients under torch.vmap"):
            run(batch.to(dtype))
        with torch.no_grad():
            assert run(batch.to(dtype)).shape == (2, ROWS, w.shape[2])
