"""The checks of products that need a GPU (tests/cuda), on the CPU's products: they hold there, and errors planted in these are found."""

import contextlib
import ctypes
import pathlib
import re
import sys
import types

import pytest
import torch
from torch.overrides import TorchFunctionMode

from ragdot import _abi
from ragdot._library import LIBRARY
from ragdot._library import check as check_code

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cuda"))
import check  # noqa: E402
import edges  # noqa: E402
import half as device_half  # noqa: E402

GMM, TGMM = 0, 1
SIZES = {2: 2, 4: 1, 5: 1, 1: 4}


def clamped(groups, rows: int) -> tuple[list[int], list[int]]:
    """Starts and sizes as the kernels read them: a start within [end of the group before, rows], an end within [start, rows]."""
    word = ctypes.c_int64 if groups.index_bits == 64 else ctypes.c_int32

    def read(address: int) -> list[int]:
        return list((word * groups.count).from_address(address))

    numbers = read(groups.data)
    starts, sizes = (numbers, read(groups.sizes)) if groups.kind == 3 else (None, numbers)
    at, found = 0, ([], [])
    for g, size in enumerate(sizes):
        start = min(max(at, at if starts is None else starts[g]), rows)
        at = min(max(start, start + size), rows)
        found[0].append(start)
        found[1].append(at - start)
    return found


def matrices(lines, turned: bool) -> _abi.View:
    """Lines as matrices [batch, lines, length], or [batch, length, lines] that are stored by columns."""
    size = SIZES[lines.format]
    shape = (lines.length, lines.lines) if turned else (lines.lines, lines.length)
    strides = (1, lines.pitch_bytes // size) if turned else (lines.pitch_bytes // size, 1)
    return _abi.View(lines.data, lines.format, lines.batch, *shape, lines.batch_pitch_bytes // size, *strides)


def scales(grid, batch: int, rows: int, cols: int, *block: int) -> _abi.Scales:
    view = _abi.View(grid.data, 1, batch, rows, cols, grid.batch_stride, grid.row_stride, grid.col_stride)
    return _abi.Scales(view, *block)


class CpuHalf:
    """What half.load gives, with the products of the CPU. `plant` changes a product before it runs, `spoil` its result."""

    def __init__(self, plant=lambda p: None, spoil=lambda p: None) -> None:
        self.plant, self.spoil = plant, spoil

    def product(self, pointer, stream) -> None:
        p = type(pointer._obj).from_buffer_copy(pointer._obj)
        self.plant(p)
        starts, sizes = clamped(p.groups, p.m)
        held = [(ctypes.c_int64 * len(starts))(*numbers) for numbers in (starts, sizes)]
        groups = _abi.Groups(3, 1, ctypes.addressof(held[0]), ctypes.addressof(held[1]), len(starts))

        def blocks(extent: int) -> int:
            return -(-extent // 128)

        if p.op == GMM:
            args = _abi.GmmArgs(struct_size=ctypes.sizeof(_abi.GmmArgs), rows_outside=0 if p.zero_outside and not p.accumulate else 1)
            args.lhs.values, args.rhs.values = matrices(p.a, False), matrices(p.b, not p.b_across)
            if p.a_scales.data:
                args.lhs.scales = scales(p.a_scales, 1, p.m, blocks(p.k), 1, 128, 0)
                args.rhs.scales = scales(p.b_scales, p.groups.local, blocks(p.k), blocks(p.n), 128, 128, 0)
            args.out = _abi.View(p.out, p.out_format, 1, p.m, p.n, 0, p.out_pitch, 1)
        else:
            args = _abi.TgmmArgs(struct_size=ctypes.sizeof(_abi.TgmmArgs))
            args.lhs.values, args.rhs.values = matrices(p.a, not p.a_across), matrices(p.b, not p.b_across)
            if p.a_scales.data:
                rows = sum(blocks(size) for size in sizes)
                args.lhs.scales = scales(p.a_scales, 1, rows, p.k, 128, 1, 1)
                args.rhs.scales = scales(p.b_scales, 1, rows, p.n, 128, 1, 1)
            args.out = _abi.View(p.out, p.out_format, p.groups.local, p.k, p.n, p.out_batch_pitch, p.out_pitch, 1)
        args.groups, args.first_group, args.out_mode = groups, p.groups.first, int(p.accumulate)
        check_code((LIBRARY.ragdot_gmm if p.op == GMM else LIBRARY.ragdot_tgmm)(args, None))
        self.spoil(p)


class NoCuda(TorchFunctionMode):
    """Tensors of the GPU are made on the CPU."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.Tensor.cuda:
            return args[0]
        if kwargs.get("device") == "cuda":
            kwargs["device"] = "cpu"
        return function(*args, **kwargs)


@pytest.fixture
def failures(monkeypatch):
    """What the checks have found wrong."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: types.SimpleNamespace(cuda_stream=0))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(check, "failures", [])
    with NoCuda():
        yield check.failures


def random_numbers() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def run_products(half) -> None:
    generator = random_numbers()
    for exactly in (True, False):
        for formats in ((check.E4M3, check.E5M2), (check.BF16, check.BF16)):
            for out_dtype in (check.BF16, check.F32):
                check.check_gmm(half, generator, [3, 0, 130, 40], 180, 272, 136, formats, out_dtype, exactly, pitch=160)
                check.check_tgmm(half, generator, [3, 0, 130, 40], 180, 144, 136, formats, out_dtype, exactly)
            check.check_tgmm(half, generator, [3, 0, 130, 40], 180, 144, 136, formats, check.F32, exactly, accumulate=True)


def run_rest(half) -> None:
    generator = random_numbers()
    check.check_neighbours(half, generator)
    check.check_shards(half, generator)
    edges.check_gaps(half, generator)
    edges.check_padding(half, generator)
    edges.check_wrong_numbers(half, generator)
    edges.check_streams(half, generator, calls=20)
    edges.check_large(half, generator, m=1200, k=272, n=136)


@pytest.mark.parametrize("run", [run_products, run_rest])
def test_checks_hold_for_products_that_are_right(failures, run):
    run(CpuHalf())
    assert not failures


def words_of(p):
    """The bits of an f32 result."""
    rows = p.m if p.op == GMM else p.groups.local * p.k
    return (ctypes.c_uint32 * (rows * p.out_pitch)).from_address(p.out)


def one_ulp(p):
    """The last bit of one result."""
    if p.out_format == 1:
        words_of(p)[0] ^= 1


def negative_zeros(p):
    """Whatever is +0 in an f32 result."""
    if p.out_format == 1 and not p.accumulate:
        for i, bits in enumerate(out := words_of(p)):
            if bits == 0:
                out[i] = 1 << 31


def next_scale(p):
    if p.a_scales.data:
        p.b_scales.data += 4


def short_reduction(p):
    if p.op == GMM:
        p.k -= 1
        p.a.length -= 1
        p.b.length -= 1 if not p.b_across else 0
        p.b.lines -= 1 if p.b_across else 0


def rows_outside_left(p):
    p.zero_outside = False


def starts_forgotten(p):
    if p.groups.kind == 3:
        p.groups.kind, p.groups.data = 0, p.groups.sizes


def first_group_forgotten(p):
    p.groups.first = 0


def written_before(p):
    (ctypes.c_int32 * 1).from_address(p.out - 4)[0] = 0


PLANTED = [next_scale, short_reduction, rows_outside_left, starts_forgotten, first_group_forgotten]


@pytest.mark.parametrize("plant", PLANTED)
def test_wrong_products_are_found(failures, plant):
    half = CpuHalf(plant=plant)
    run_products(half)
    run_rest(half)
    assert failures


@pytest.mark.parametrize(("spoil", "run"), [(one_ulp, run_products), (negative_zeros, run_products), (written_before, run_rest)])
def test_wrong_results_are_found(failures, spoil, run):
    run(CpuHalf(spoil=spoil))
    assert failures


def test_half_py_names_the_interface_of_the_source():
    """It mirrors the structs of src/cuda/launch.hpp, whose kInterface grows when one of them changes."""
    source = (ROOT / "src/cuda/launch.hpp").read_text()
    assert int(re.search(r"kInterface = (\d+);", source)[1]) == device_half.INTERFACE
