"""The calls of CUDA tensors without a GPU: CPU tensors go their way, to a fake of the launches that computes with the CPU's calls.

What the GPU takes is checked for real: the library sizes each call's workspace, and refuses there what no kernel takes.
"""

import contextlib
import copy
import ctypes
import warnings

import pytest
import torch
from problems import ENDS, INNER, OUTER, ROWS, normal, offs
from torch.library import opcheck

import ragdot.torch as rt
from ragdot import _abi
from ragdot._library import LIBRARY
from ragdot.torch import _cuda, _views
from ragdot.torch import _operators as ops

GROUPS, STREAM = len(ENDS), 0x5EED
WORDS = "e4m3", "absmax", "f32"
BF16 = torch.bfloat16


def numbers(groups: _abi.Groups, data: int) -> list[int]:
    kind = ctypes.c_int64 if groups.index == _abi.INDEX_I64 else ctypes.c_int32
    return list((kind * groups.count).from_address(data))


def sizes_of(groups: _abi.Groups) -> list[int]:
    if groups.kind == _abi.GROUP_KINDS["starts_and_sizes"]:
        return numbers(groups, groups.sizes)
    ends = numbers(groups, groups.data)
    return [end - begin for begin, end in zip([0, *ends], ends)]


def exact_rows(groups: _abi.Groups, block: int) -> int:
    """What the CPU asks of group-wise scales, where the GPU has room for any groups."""
    return sum(-(-size // block) for size in sizes_of(groups))


def moved_to_places(copied: _abi.QuantizedOut, groups: _abi.Groups, places, call) -> int:
    """A column-wise copy whose groups begin at multiples of 16 rows, NaN between them: `call` makes one without gaps."""
    view, cols = copied.values, copied.values.cols
    assert view.row_stride == 1 and view.rows >= sum(sizes_of(groups)) + 15 * groups.count
    dense = torch.empty(cols, view.rows, dtype=torch.uint8)
    address, pitch, room = view.data, view.col_stride, view.rows
    view.data, view.col_stride = dense.data_ptr(), room
    status = call()
    at = begin = 0
    starts = []
    for size in sizes_of(groups):
        starts.append(at)
        for col in range(cols):
            ctypes.memset(address + col * pitch + at, 0x7F, -(-size // 16) * 16)
            ctypes.memmove(address + col * pitch + at, dense.data_ptr() + col * room + begin, size)
        at, begin = at + -(-size // 16) * 16, begin + size
    kind = ctypes.c_int64 if groups.index == _abi.INDEX_I64 else ctypes.c_int32
    (kind * groups.count).from_address(places.starts)[:] = starts
    (kind * groups.count).from_address(places.sizes)[:] = sizes_of(groups)
    return status


class Gpu:
    """Names and structs of the calls that were launched."""

    def __init__(self) -> None:
        self.calls = []

    def of(self, name: str) -> list:
        return [args for called, args in self.calls if called == name]

    def launch(self, name: str, args, options, workspace: int, size: int) -> int:
        needed = ctypes.c_size_t()
        assert getattr(LIBRARY, f"ragdot_cuda_{name}_workspace_bytes")(args, options, needed) == 0
        assert workspace and size >= needed.value and options.stream == STREAM and options.struct_size == ctypes.sizeof(options)
        self.calls.append((name, type(args).from_buffer_copy(args)))
        call = getattr(LIBRARY, f"ragdot_{name}")
        if "gmm" in name:
            assert options.starts_aligned == (args.groups.kind == _abi.GROUP_KINDS["starts_and_sizes"])
            for operand in (args.lhs, args.rhs):
                assert (operand.values.data or 0) % 16 == (args.out.data or 0) % 16 == 0
                if operand.scales.origin == _abi.ORIGINS["per_group"]:
                    operand.scales.view.rows = exact_rows(args.groups, operand.scales.block_rows)
        else:
            for copied in [args.out] if name == "quantize" else [args.row_wise, args.col_wise]:
                self.make_room(copied, args.groups)
        if not options.col_wise_groups:
            return call(args, None)

        def without_gaps() -> int:
            args.col_wise.values.rows = args.input.rows
            return call(args, None)

        return moved_to_places(args.col_wise, args.groups.contents, options.col_wise_groups.contents, without_gaps)

    def make_room(self, copied: _abi.QuantizedOut, groups) -> None:
        view = copied.scales.view
        assert (copied.values.data or 0) % 16 == 0
        if not groups or not view.rows:
            return
        ones = (ctypes.c_float * ((view.rows - 1) * view.row_stride + view.cols)).from_address(view.data)
        ones[:] = [1.0] * len(ones)
        view.rows = exact_rows(groups.contents, copied.scales.block_rows)


@pytest.fixture
def gpu(monkeypatch):
    """Until the test ends, CPU tensors take the kernels of CUDA tensors."""
    fake = Gpu()
    monkeypatch.setattr(_views, "on_gpu", lambda x: True)
    monkeypatch.setattr(_cuda, "on_device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(_cuda, "stream_of", lambda device: STREAM)
    calls = {name: (size, lambda *given, name=name: fake.launch(name, *given)) for name, (size, _) in _cuda._FUNCTIONS.items()}
    monkeypatch.setattr(_cuda, "_FUNCTIONS", calls)
    library = torch.library.Library("ragdot", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that a kernel replaces another
        for name, _, on_gpu, _ in ops.OPERATORS:
            library.impl(name, on_gpu, "CPU")
    yield fake
    library._destroy()


def results(function, *tensors, **words) -> list[torch.Tensor]:
    """The result, and gradients of the tensors."""
    leaves = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in tensors]
    y = function(*leaves, offs(), **words)
    y.float().square().mean().backward()
    return [y.detach(), *(leaf.grad for leaf in leaves)]


def first(x, w, ends, **words):
    return rt.grouped_mm(x, w, ends, **words)


def stored_by_column(x, w, ends, **words):
    return rt.grouped_mm(x, w.mT.contiguous().mT, ends, **words)


def summed_rows(x, w, ends, **words):
    return rt.grouped_mm(x.T, w.sum(0).repeat(2, 1)[: len(x)], ends, **words)


def ragged_columns(x, w, ends, **words):
    return rt.grouped_mm(w.mT, x.T, ends, **words)


FORMS = [first, stored_by_column, summed_rows, ragged_columns]


@pytest.fixture
def expected(request):
    """What the CPU's own kernels give; before `gpu`, which a test names behind it."""
    form, recipe, dtype, inner, outer = (request.getfixturevalue(name) for name in ("form", "recipe", "dtype", "inner", "outer"))
    tensors = normal(ROWS, inner, dtype=dtype), normal(GROUPS, inner, outer, seed=1, dtype=dtype)
    return tensors, results(form, *tensors, recipe=recipe)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("recipe", "dtype"), [("blockwise", BF16), ("blockwise", torch.float32), ("bf16", BF16), ("bf16", torch.float32),
                                               (None, BF16)])  # fmt: skip
@pytest.mark.parametrize(("inner", "outer"), [(INNER, OUTER), (129, 3), (128, 256)])
def test_products_and_gradients(expected, form, recipe, dtype, inner, outer, gpu):
    """With the CPU's bits, as the same kernels compute."""
    tensors, wanted = expected
    found = results(form, *tensors, recipe=recipe)
    assert len(gpu.of("gmm")) + len(gpu.of("tgmm")) == 3
    for a, b in zip(found, wanted):
        assert a.shape == b.shape and a.stride() == b.stride() and torch.equal(a, b)


@pytest.mark.parametrize("recipe", ["blockwise", "bf16"])
def test_no_rows(recipe, gpu):
    x, w = torch.empty(0, INNER, dtype=BF16, requires_grad=True), normal(2, INNER, OUTER, dtype=BF16).requires_grad_()
    y = rt.grouped_mm(x, w, torch.zeros(2, dtype=torch.int64), recipe=recipe)
    y.sum().backward()
    assert y.shape == (0, OUTER) and x.grad.shape == (0, INNER) and not w.grad.any()


def test_sums_of_nothing(gpu):
    for groups, inner in ((2, 0), (0, INNER)):
        x, w = normal(ROWS, inner, dtype=BF16), normal(groups, inner, OUTER, dtype=BF16)
        y = rt.grouped_mm(x, w, torch.zeros(groups, dtype=torch.int32))
        assert y.shape == (ROWS, OUTER) and not y.any()
    with pytest.raises(NotImplementedError, match="gmm: bias is not offered on the GPU"):
        rt.grouped_mm(normal(ROWS, 0, dtype=BF16), normal(GROUPS, 0, OUTER, dtype=BF16), offs(), torch.ones(GROUPS, OUTER))


@pytest.mark.parametrize("scaling", ["pow2", "mx"])
def test_other_recipes_of_the_gpu(scaling, gpu):
    recipe = rt.Recipe(scaling=scaling, gradient_format="e5m2")
    found = results(first, normal(ROWS, INNER, dtype=BF16), normal(GROUPS, INNER, OUTER, dtype=BF16), recipe=recipe)
    assert all(x.isfinite().all() for x in found)
    assert {args.row_wise.recipe for args in gpu.of("quantize_both")} == {_abi.RECIPES[scaling]}


def test_copies_are_written_as_products_take_them(gpu):
    """One read for x, one for dy, one for the weights, and no copy of a copy."""
    layer = rt.GroupedLinear(GROUPS, 256, OUTER, dtype=BF16)
    layer(normal(ROWS, 256, dtype=BF16).requires_grad_(), offs()).float().sum().backward()
    assert [name for name, _ in gpu.calls] == ["quantize_both", "quantize_both", "gmm", "quantize_both", "gmm", "tgmm"]
    weights, x, dy = gpu.of("quantize_both")
    forward, back = gpu.of("gmm")
    (tgmm,) = gpu.of("tgmm")
    assert not weights.groups and weights.input.data == layer.weight.data_ptr()
    assert forward.rhs.values.data == weights.row_wise.values.data and back.rhs.values.data == weights.col_wise.values.data
    assert forward.lhs.values.data == x.row_wise.values.data and back.lhs.values.data == dy.row_wise.values.data
    # The gradient is stored [L, N, K] like the weight: the turned product.
    assert tgmm.lhs.values.data == dy.col_wise.values.data and tgmm.rhs.values.data == x.col_wise.values.data
    assert tgmm.lhs.values.row_stride == tgmm.rhs.values.row_stride == 1 and tgmm.out.data == layer.weight.grad.data_ptr()
    assert tgmm.groups.kind == _abi.GROUP_KINDS["starts_and_sizes"] and tgmm.lhs.values.rows >= ROWS + 15 * GROUPS


def test_weights_are_quantised_once(gpu):
    layer, x = rt.GroupedLinear(GROUPS, INNER, OUTER, dtype=BF16), normal(ROWS, INNER, dtype=BF16)
    with torch.no_grad():
        layer(x, offs())
    assert len(gpu.of("quantize")) == 2  # the weight as the product takes it, and x
    for _ in range(2):
        layer(x, offs())
    assert len(gpu.of("quantize")) == 2 and len(gpu.of("quantize_both")) == 3  # the weight for both directions, and x twice


def test_main_grad_is_added_to(gpu):
    layer = rt.GroupedLinear(GROUPS, 256, OUTER, fuse_wgrad_accumulation=True, dtype=BF16)
    layer.weight.main_grad = torch.zeros_like(layer.weight, dtype=torch.float32)
    x = normal(ROWS, 256, dtype=BF16)
    for times in (1, 2):
        layer(x, offs()).float().square().mean().backward()
        if times == 1:
            once = layer.weight.main_grad.clone()
    assert layer.weight.grad is None and once.any() and torch.allclose(layer.weight.main_grad, 2 * once)
    assert all(args.out_mode == 1 and args.out.data == layer.weight.main_grad.data_ptr() for args in gpu.of("tgmm"))


def test_outputs_that_no_kernel_writes_go_through_memory_of_their_own(gpu):
    x, dy = normal(ROWS, 6, dtype=BF16), normal(ROWS, 5, dtype=BF16)
    out = torch.ones(5, 6, GROUPS).permute(2, 1, 0)  # groups innermost
    ops.tgmm_add(x, dy, offs(), None, None, [0] * 6, 0, out)
    exact = torch.stack([x[a:b].float().T @ dy[a:b].float() for a, b in zip([0, *ENDS], ENDS)])
    torch.testing.assert_close(out, exact + 1)


def moved(x: torch.Tensor, how: str) -> torch.Tensor:
    """The same numbers in memory that the GPU does not take."""
    if how == "address":
        return torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)
    if how == "pitch":
        return torch.cat([x, x[..., :1]], -1)[..., :-1]
    if how == "expanded":
        return x[..., :1, :].expand(x.shape)
    return x.repeat_interleave(2, -1)[..., ::2]


@pytest.mark.parametrize("how", ["address", "pitch", "expanded", "strides"])
@pytest.mark.parametrize("recipe", ["blockwise", "bf16"])
def test_other_memory_is_copied(how, recipe, gpu):
    tensors = [moved(x, how) for x in (normal(ROWS, 128, dtype=BF16), normal(GROUPS, 128, 256, seed=1, dtype=BF16))]
    plain = rt.grouped_mm(*(x.contiguous() for x in tensors), offs(), recipe=recipe)
    assert torch.equal(rt.grouped_mm(*tensors, offs(), recipe=recipe), plain)
    assert torch.equal(rt.grouped_mm(*tensors, offs(torch.int64).repeat_interleave(2)[::2], recipe=recipe), plain)


def test_scaled_tensors(gpu):
    """Stored along the axis that is not summed, too: copied then."""
    x, w, dy = normal(ROWS, INNER, dtype=BF16), normal(GROUPS, INNER, OUTER, dtype=BF16), normal(ROWS, OUTER, dtype=BF16)
    expected = rt.grouped_mm(x, w, offs(), recipe="blockwise")
    rows, weights = rt.quantize(x, (1, 128)), rt.quantize(w, (128, 128))
    assert torch.equal(rt.grouped_mm(rows, weights, offs()), expected)
    by_column = [rt.quantize(z, (128, 1), offs=offs()) for z in (x, dy)]
    summed = ops.tgmm(by_column[0].values, by_column[1].values, offs(), by_column[0].scales, by_column[1].scales,
                      [*by_column[0].grid, *by_column[1].grid], 0, GROUPS, torch.float32, [0, 1, 2])  # fmt: skip
    torch.testing.assert_close(summed, rt.grouped_mm(x.T, dy, offs(), out_dtype=torch.float32, recipe="blockwise"), rtol=0, atol=0)
    leaf = x.clone().requires_grad_()
    rt.grouped_mm(leaf, weights, offs(), recipe="blockwise").sum().backward()
    assert leaf.grad.any()
    with pytest.raises(NotImplementedError, match="dequantize: not offered on the GPU"):
        rows.dequantize()


def test_a_whole_mixture_of_experts(gpu):
    module = rt.MoE(64, 96, 8, 2, dtype=BF16)
    x = normal(40, 64, dtype=BF16)
    y = module(x)
    y.float().square().mean().backward()
    assert y.shape == x.shape and all(p.grad.isfinite().all() for p in module.parameters())
    assert copy.deepcopy(module)(x).equal(y)


@pytest.mark.parametrize("dtype", [BF16, torch.float32])
@pytest.mark.parametrize("x_dtype", [BF16, torch.float32])
def test_routers_of_every_dtype(dtype, x_dtype, request):
    """float32 is split for the GPU's bf16 units: logits and gradients are those of the CPU's router, to 2^-15."""
    module = rt.MoE(64, 96, 8, 2, dtype=dtype)
    x = normal(40, 64, dtype=x_dtype)

    def routed(x):
        leaf = x.clone().requires_grad_()
        module.zero_grad()
        weights, experts = module.route(leaf)
        weights.square().sum().backward()
        return weights.detach(), experts, leaf.grad, module.router.weight.grad

    wanted = routed(x)
    request.getfixturevalue("gpu")
    found = routed(x)
    assert torch.equal(found[1], wanted[1])
    torch.testing.assert_close(found[0], wanted[0], rtol=2**-15, atol=2**-15)
    for a, b in zip(found[2:], wanted[2:]):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=2**-7, atol=2**-7 * b.abs().max().item())
    y = module(x)
    y.float().sum().backward()
    assert torch.equal(module(x[:7]), y[:7])


def refused(call) -> str:
    with pytest.raises(NotImplementedError) as error:
        call()
    return str(error.value)


def test_what_the_gpu_does_not_take(gpu):
    x, w = normal(ROWS, INNER, dtype=BF16), normal(GROUPS, INNER, OUTER, dtype=BF16)
    assert "gmm: bias is not offered on the GPU" in refused(lambda: rt.grouped_mm(x, w, offs(), normal(GROUPS, OUTER)))
    assert "gmm: lhs f32 with rhs f32 is not offered on the GPU" in refused(lambda: rt.grouped_mm(x.float(), w.float(), offs()))
    assert "gmm: out is f16; on the GPU it is f32 or bf16" in refused(lambda: rt.grouped_mm(x, w, offs(), out_dtype=torch.float16))
    assert "on the GPU it is 1x128, 128x1 or 128x128" in refused(lambda: rt.grouped_mm(x, w, offs(), recipe="channelwise"))
    assert "scales are e8m0; on the GPU they are f32" in refused(lambda: rt.grouped_mm(x, w, offs(), recipe="mx"))
    assert "scales are e8m0; on the GPU they are f32" in refused(lambda: rt.grouped_mm(x, w, offs(), recipe="blockwise_e8m0"))
    assert "i8; on the GPU it is e4m3 or e5m2" in refused(lambda: rt.quantize(x, (1, 128), "i8"))
    assert not gpu.calls or {name for name, _ in gpu.calls} == {"quantize"}


def test_other_operands_are_refused_by_their_names(gpu):
    x, w = normal(ROWS, INNER, dtype=BF16), normal(GROUPS, INNER, OUTER, dtype=BF16)
    with pytest.raises(ValueError, match=r"grouped_mm: x is on cpu, w on meta, offs on cpu; move all to one device"):
        rt.grouped_mm(x, w.to("meta"), offs())
    with pytest.raises(ValueError, match=r"GroupedLinear: x is on cpu, w on cpu, offs on meta, bias on cpu; move"):
        rt.GroupedLinear(GROUPS, INNER, OUTER, bias=True)(x, offs().to("meta"))
    with pytest.raises(ValueError, match="gmm: lhs is on cpu, rhs is on cpu, ends is on meta; move all to one device"):
        _cuda.gmm(x, w, offs().to("meta"))
    with pytest.raises(ValueError, match="tgmm: .* out is on meta"):
        _cuda.tgmm(x, x, offs(), None, None, [0] * 6, 0, torch.empty(GROUPS, INNER, INNER, device="meta"), 0)
    with pytest.raises(ValueError, match="quantize_both: x is on cpu, ends is on meta"):
        _cuda.quantize_both(x, offs().to("meta"), [1, 128, 0], [128, 1, 0], *WORDS)
    assert not gpu.calls


def test_shapes_of_the_compiler(gpu):
    x, w = normal(ROWS, INNER, dtype=BF16), normal(GROUPS, INNER, OUTER, dtype=BF16)
    opcheck(ops.quantize, (x, None, [1, 128, 0], *WORDS))
    opcheck(ops.quantize_turned, (x, offs(), [128, 1, 0], *WORDS))
    opcheck(ops.quantize_turned, (w, None, [128, 128, 0], *WORDS))
    opcheck(ops.quantize_both, (x, offs(), [1, 128, 0], [128, 1, 0], *WORDS))
    # Rows between the groups are not written, so that results are not compared.
    opcheck(ops.quantize_both_placed, (x, offs(torch.int64), [1, 128, 0], [128, 1, 0], *WORDS),
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))  # fmt: skip
    opcheck(ops.quantize_both, (w, None, [128, 128, 0], [128, 128, 0], *WORDS))
    opcheck(ops.gmm, (x, w, offs()))
    opcheck(ops.tgmm, (x, x, offs(), None, None, [0] * 6, 0, GROUPS, BF16, [0, 2, 1]))
    opcheck(ops.tgmm_add, (x, x, offs(), None, None, [0] * 6, 0, normal(GROUPS, INNER, INNER)))


@pytest.mark.parametrize("form", FORMS)
def test_compiled(form, gpu):
    torch._dynamo.reset()
    tensors = normal(ROWS, INNER, dtype=BF16), normal(GROUPS, INNER, OUTER, dtype=BF16)

    def function(x, w, ends):
        return form(x, w, ends, recipe="blockwise")

    wanted, found = results(function, *tensors), results(torch.compile(function, fullgraph=True, backend="aot_eager"), *tensors)
    assert all(torch.equal(a, b) for a, b in zip(wanted, found))


def test_refused_launches_say_why(gpu, monkeypatch):
    x, w = normal(ROWS, INNER, dtype=BF16), normal(GROUPS, INNER, OUTER, dtype=BF16)
    size, _ = _cuda._FUNCTIONS["gmm"]
    # A null workspace is refused before the device is asked for.
    call = LIBRARY.ragdot_cuda_gmm
    monkeypatch.setitem(_cuda._FUNCTIONS, "gmm", (size, lambda args, options, *_: call(args, options, None, 0)))
    with pytest.raises(ValueError, match="gmm: the workspace has 0 bytes at null"):
        rt.grouped_mm(x, w, offs())
