"""The operators under torch's own checks and compiler, and the threads that they run on."""

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from problems import ENDS, INNER, OUTER, RECIPES, ROWS, normal, offs
from torch.library import opcheck

import ragdot.torch as rt
from ragdot.torch import _executor, _frames, _pages
from ragdot.torch import _operators as ops

GROUPS = len(ENDS)
BLOCKS = {"rows": [1, 128, 0], "columns": [128, 1, 0], "weights": [128, 128, 0]}


def as_bytes(x: torch.Tensor | None) -> torch.Tensor | None:
    """torch's checks compare tensors, which it cannot do with FP8."""
    return x.view(torch.uint8) if x is not None and x.element_size() == 1 else x


def words_of(scaling: str) -> tuple[str, str, str]:
    """Format, recipe and format of the scales."""
    return "e4m3", scaling, "e8m0" if scaling == "pow2" else "f32"


def operand(x: torch.Tensor, grid: str, scaling: str | None) -> tuple:
    if scaling is None:
        return x, None, [0, 0, 0]
    ends = offs() if x.ndim == 2 else None
    values, scales = ops.quantize(x, ends, BLOCKS[grid], *words_of(scaling))
    return as_bytes(values), as_bytes(scales), BLOCKS[grid] if ends is None else [*BLOCKS[grid][:2], 1]


X, W, DY = normal(ROWS, INNER, dtype=torch.bfloat16), normal(GROUPS, INNER, OUTER, dtype=torch.bfloat16), normal(ROWS, OUTER, dtype=torch.bfloat16)
SCALINGS = [None, "absmax", "pow2"]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_opcheck_of_products(scaling):
    def both(x, y, how):
        """Tensors and grids of two operands as operators take them."""
        (x, x_scales, x_grid), (y, y_scales, y_grid) = operand(x, how[0], scaling), operand(y, how[1], scaling)
        return x, y, offs(torch.int64), x_scales, y_scales, [*x_grid, *y_grid]

    rows, columns = both(X, W, ("rows", "weights")), both(X, DY, ("columns", "columns"))
    opcheck(ops.gmm_general, (*rows, normal(GROUPS, OUTER), 0, torch.float32))
    opcheck(ops.gmm_scaled, rows)
    if scaling is None:
        opcheck(ops.gmm, rows[:3])
    else:
        wide = both(X, normal(GROUPS, INNER, 160, dtype=torch.bfloat16), ("rows", "weights"))
        opcheck(ops.pack, wide[1:2])
        opcheck(ops.unpack, (ops.pack(wide[1]),))
        assert torch.equal(ops.unpack(ops.pack(wide[1])).view(torch.uint8), wide[1].view(torch.uint8))
        with pytest.raises(ValueError, match=r"pack: rhs is \[5, 140, 136\]; give \[L, K, N\] with N a multiple of 32"):
            ops.pack(rows[1])
        opcheck(ops.gmm_general, (wide[0], ops.pack(wide[1]), *wide[2:], normal(GROUPS, 160), 0, torch.float32))
    opcheck(ops.tgmm, (*columns, 1, 3, torch.float32, [0, 2, 1]))
    opcheck(ops.tgmm_add, (*columns, 0, normal(GROUPS, INNER, OUTER)))


@pytest.mark.parametrize("scaling", ["absmax", "pow2"])
def test_opcheck_of_quantisers(scaling):
    words = words_of(scaling)
    for quantize in ops.quantize, ops.quantize_turned:
        opcheck(quantize, (X, offs(), BLOCKS["columns"], *words))
        opcheck(quantize, (W, None, BLOCKS["weights"], *words))
    opcheck(ops.quantize_both, (X, offs(), BLOCKS["rows"], BLOCKS["columns"], *words))
    opcheck(ops.dequantize, (*operand(X, "columns", scaling), offs(), torch.bfloat16))
    opcheck(ops.dequantize, (*operand(W, "weights", scaling), None, torch.float32))


def forms() -> list:
    """Results whose tensors want gradients, in every form."""
    return [lambda x, w, y, o, recipe: rt.grouped_mm(x, w, o, recipe=recipe),
            lambda x, w, y, o, recipe: rt.grouped_mm(x.T, y, o, recipe=recipe),
            lambda x, w, y, o, recipe: rt.grouped_mm(w.mT, x.T, o, recipe=recipe),
            lambda x, w, y, o, recipe: rt.grouped_mm(x[:170].unflatten(0, (GROUPS, 34)), w, recipe=recipe)]  # fmt: skip


def gradients(function, *tensors) -> list[torch.Tensor]:
    leaves = [z.detach().clone().requires_grad_() for z in tensors]
    y = function(*leaves, offs())
    y.float().square().sum().backward()
    return [y, *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("form", [0, 1, 2, 3])
@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
def test_compiled_whole(recipe, form):
    torch._dynamo.reset()

    def function(x, w, y, o):
        return forms()[form](x, w, y, o, recipe)

    expected = gradients(function, X, W, DY)
    found = gradients(torch.compile(function, fullgraph=True, backend="aot_eager"), X, W, DY)
    assert len(expected) == len(found) == 3
    assert all(torch.equal(a, b) for a, b in zip(expected, found))


def test_compiled_to_machine_code():
    torch._dynamo.reset()
    bias = normal(GROUPS, OUTER)

    def function(x, w, b, o):
        return rt.grouped_mm(x * 2, w, o, b, recipe="blockwise").relu()

    expected, found = gradients(function, X, W, bias), gradients(torch.compile(function, fullgraph=True), X, W, bias)
    assert all(torch.equal(a, b) for a, b in zip(expected, found))


def test_compiled_once_for_any_number_of_rows():
    torch._dynamo.reset()
    graphs = []

    def counting(module, inputs):
        graphs.append(module)
        return module.forward

    compiled = torch.compile(lambda x, w, o: rt.grouped_mm(x, w, o, recipe="blockwise"), fullgraph=True, backend=counting, dynamic=True)
    for rows in (170, 200, 301):
        x = normal(rows, INNER, seed=rows)
        assert torch.equal(compiled(x, W.float(), offs()), rt.grouped_mm(x, W.float(), offs(), recipe="blockwise"))
    assert len(graphs) == 1


def test_compiled_takes_scaled_tensors_and_autocast():
    torch._dynamo.reset()

    def function(x, w, o):
        with torch.autocast("cpu", torch.bfloat16):
            return rt.grouped_mm(x, w, o, recipe="blockwise")

    for w in (W.float(), rt.quantize(W, (128, 128))):
        y = torch.compile(function, fullgraph=True, backend="aot_eager")(X.float(), w, offs())
        assert y.dtype == torch.bfloat16 and torch.equal(y, function(X.float(), w, offs()))


def test_shapes_are_refused_while_compiling():
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, w, o: rt.grouped_mm(x, w, o), fullgraph=True, backend="aot_eager")
    with pytest.raises(Exception, match=r"grouped_mm: x is \[172, 140\] and w is \[5, 139, 136\]"):
        compiled(X, W[:, :139], offs())
    compiled(X, W, offs())
    with pytest.raises(ValueError, match="gmm: group end"):
        compiled(X, W, offs() + 9)


def test_meta_tensors_have_shapes():
    y = rt.grouped_mm(X.to("meta"), W.to("meta"), offs().to("meta"), recipe="blockwise")
    assert y.shape == (ROWS, OUTER) and y.device.type == "meta" and y.dtype == torch.bfloat16


def test_calls_at_the_same_time_have_structs_and_workspaces_of_their_own(monkeypatch):
    problems = [(normal(ROWS, INNER, seed=i), normal(GROUPS, INNER, OUTER, seed=i)) for i in range(2)]
    expected = [rt.grouped_mm(x, w, offs()) for x, w in problems]
    (*planning, run), together, addresses = _frames._GMM, threading.Barrier(2), []

    def both_inside(plan, args, workspace, size):
        together.wait(timeout=60)
        addresses.extend((args, workspace))
        return run(plan, args, workspace, size)

    monkeypatch.setattr(_frames, "_GMM", (*planning, both_inside))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda operands: rt.grouped_mm(*operands, offs()), problems))
    assert len(set(addresses)) == 4 and all(torch.equal(a, b) for a, b in zip(found, expected))


def test_kept_frames_are_bounded_and_point_to_no_copies(monkeypatch):
    monkeypatch.setattr(_frames, "_MOST_LAYOUTS", 8)
    monkeypatch.setattr(_frames, "_kept", {})
    for rows in range(170, 190):
        x = normal(rows, INNER)
        strided = x.repeat_interleave(2, 0).repeat_interleave(2, 1)[::2, ::2]
        for _ in range(2):
            assert torch.equal(rt.grouped_mm(strided, W.float(), offs()), rt.grouped_mm(x, W.float(), offs()))
    assert 1 <= len(_frames._kept) <= 8


THREADS = """
import os, torch
import ragdot.torch as rt
torch.set_num_threads(3)
x, w, ends = torch.ones(512, 256), torch.ones(4, 256, 256), torch.tensor([128, 256, 384, 512])
torch.ones(1 << 20).relu()
before = len(os.listdir("/proc/self/task"))
rt.grouped_mm(x, w, ends, recipe="blockwise")
print(before, len(os.listdir("/proc/self/task")))
"""


def test_calls_start_no_threads_beside_those_of_torch():
    """In a process of its own: other tests have started oneTBB's."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    run = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, check=True)
    before, after = map(int, run.stdout.split())
    assert before == after >= 3


def test_any_number_of_threads_gives_the_same_bits():
    expected, before = rt.grouped_mm(X, W, offs()), torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(rt.grouped_mm(X, W, offs()), expected)
    finally:
        torch.set_num_threads(before)


def test_without_openmp_the_library_uses_its_own_threads(monkeypatch):
    monkeypatch.setattr(_executor, "_openmp_of_torch", lambda: None)
    assert _executor.OPTIONS is not None and _executor._options() is None
    expected = rt.grouped_mm(X, W, offs())
    monkeypatch.setattr(_frames, "OPTIONS", None)
    assert torch.equal(rt.grouped_mm(X, W, offs()), expected)


def _flags(address: int) -> list[str]:
    """VmFlags of the mapping that holds the address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    return []


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="this kernel has no large pages")
@pytest.mark.parametrize("product", [lambda x, ends: ops.gmm(x, x.unsqueeze(0), ends),
                                     lambda x, ends: ops.tgmm(x, x, ends, None, None, [0] * 6, 0, 1, torch.float32, [0, 1, 2]),
                                     lambda x, ends: ops.quantize(x.repeat(2, 2), None, [1, 128, 0], "e4m3", "absmax", "f32")[0]])  # fmt: skip
def test_large_results_are_asked_for_in_large_pages(product):
    x = torch.ones(2048, 2048, dtype=torch.bfloat16)
    ends = torch.tensor([2048], dtype=torch.int32)
    for _ in range(2):  # planned, and as planned before
        out = product(x, ends)
        assert "hg" in _flags(-(-out.data_ptr() // _pages._PAGE) * _pages._PAGE)


def test_flops_are_counted():
    from torch.utils.flop_counter import FlopCounterMode

    x, w = normal(ROWS, INNER).requires_grad_(), normal(GROUPS, INNER, OUTER, seed=1).requires_grad_()
    one = 2 * ROWS * INNER * OUTER
    for recipe in (None, "blockwise"):
        with FlopCounterMode(display=False) as counter:
            rt.grouped_mm(x, w, offs(), recipe=recipe).sum().backward()
        assert counter.get_total_flops() == 3 * one
    layer = rt.GroupedLinear(GROUPS, INNER, OUTER, fuse_wgrad_accumulation=True)
    layer.weight.main_grad = torch.zeros_like(layer.weight)
    with torch.no_grad():
        layer(x, offs())
        with FlopCounterMode(display=False) as counter:
            layer(x, offs())  # packed
    assert counter.get_total_flops() == one
    with FlopCounterMode(display=False) as counter:
        layer(x.detach(), offs()).sum().backward()
    assert counter.get_total_flops() == 2 * one
