"""Plans: the bits of the one-shot call for every op, whatever changes from call to call, from several threads."""

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
from oracle import bf16, bits
from programs import printed_by

import ragdot
from ragdot import Groups, ScaledArray

SIZES = np.array([70, 0, 129, 1, 40], np.int32)
ROWS, INNER, OUTER = 250, 200, 136


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def operands(op: str, seed: int = 0, rows: int = ROWS):
    """Blockwise operands of an op."""
    x, dy = normal(rows, INNER, seed=seed), normal(rows, OUTER, seed=seed + 100)
    if op == "tgmm":
        return ragdot.quantize(x, (128, 1)), ragdot.quantize(dy, (128, 1))
    return ragdot.quantize(dy if op == "dlhs" else x, (1, 128)), ragdot.quantize(normal(5, INNER, OUTER, seed=seed + 200), (128, 128))


def one_shot(op: str, *arguments, **words) -> np.ndarray:
    return getattr(ragdot, op)(*arguments, **words)


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_each_call_has_arrays_of_its_own(op):
    plan = ragdot.plan(op, *operands(op), SIZES)
    for seed in range(4):
        lhs, rhs = operands(op, seed)
        sizes = np.roll(SIZES, seed)
        np.testing.assert_array_equal(bits(plan(lhs, rhs, sizes)), bits(one_shot(op, lhs, rhs, sizes)))


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_layouts_may_change_from_call_to_call(op):
    plan, (lhs, rhs) = ragdot.plan(op, *operands(op), SIZES), operands(op, 1)
    expected = one_shot(op, lhs, rhs, SIZES)
    columns = [ScaledArray(np.asfortranarray(x.values), np.asfortranarray(x.scales), x.block) for x in (lhs, rhs)]
    sparse = ScaledArray(np.repeat(lhs.values, 2, axis=1)[:, ::2][::-1][::-1], lhs.scales, lhs.block)
    long = SIZES.astype(np.int64)
    for arguments in ((lhs, rhs, SIZES), (*columns, SIZES), (lhs, rhs, long), (lhs, rhs, Groups.from_ends(np.cumsum(SIZES))), (lhs, rhs, long),
                      (sparse, rhs, list(SIZES)), (lhs, rhs, np.repeat(SIZES, 2)[::2]), (lhs, rhs, SIZES)):  # fmt: skip
        np.testing.assert_array_equal(bits(plan(*arguments)), bits(expected))


@pytest.mark.parametrize("spread", [1, 2])
def test_plain_arrays_are_read_or_copied_at_each_call(spread):
    """With spread 2 no stride is one: the operands are copied."""

    def arrays(seed: int):
        memory = bf16(normal(ROWS, spread * INNER, seed=seed)), bf16(normal(5, INNER, spread * OUTER, seed=seed + 100))
        return tuple(x[..., ::spread] for x in memory)

    given = [arrays(seed) for seed in range(3)]  # all at once, so that no memory is used again
    plan = ragdot.plan("gmm", *given[0], SIZES)
    for pair in given:
        np.testing.assert_array_equal(bits(plan(*pair, SIZES)), bits(one_shot("gmm", *pair, SIZES)))


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_fewer_rows_are_fine(op):
    plan = ragdot.plan(op, *operands(op), SIZES)
    for rows in (100, 250, 3):
        lhs, rhs = operands(op, rows, rows)
        sizes = np.array([0, 1, 0, 2, rows - 3])
        np.testing.assert_array_equal(bits(plan(lhs, rhs, sizes)), bits(one_shot(op, lhs, rhs, sizes)))


def test_choices_are_those_of_the_plan():
    lhs, rhs = operands("gmm")
    bias, words = normal(3, OUTER), {"activation": "silu", "out_dtype": "f16", "first_group": 1, "rows_outside": "leave", "threads": 1}
    local = ScaledArray(rhs.values[1:4], rhs.scales[1:4], rhs.block)
    plan = ragdot.plan("gmm", lhs, local, SIZES, bias=bias, **words)
    out, expected = (np.full((ROWS, OUTER), 3, np.float16) for _ in range(2))
    one_shot("gmm", lhs, local, SIZES, bias=bias, out=expected, **words)
    assert plan(lhs, local, SIZES, bias=bias, out=out) is out
    np.testing.assert_array_equal(bits(out), bits(expected))
    with pytest.raises(ValueError, match="act=silu rows_outside=leave and the plan .* bias=1 act=silu rows_outside=leave; make a plan"):
        plan(lhs, local, SIZES, out=out)
    np.testing.assert_array_equal(bits(plan(lhs, local, SIZES, bias=bias, out=np.full((ROWS, OUTER), 3, np.float16))), bits(expected))


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_a_plan_accumulates_into_the_given_array(op):
    lhs, rhs = operands(op)
    plan = ragdot.plan(op, lhs, rhs, SIZES, accumulate=True)
    out = normal(*one_shot(op, lhs, rhs, SIZES).shape)
    expected = one_shot(op, lhs, rhs, SIZES, out=out.copy(), accumulate=True)
    np.testing.assert_array_equal(bits(plan(lhs, rhs, SIZES, out=out)), bits(expected))
    with pytest.raises(ValueError, match=f"{op}: this plan accumulates; give out, the float32 array to add to"):
        plan(lhs, rhs, SIZES)


@pytest.mark.parametrize("op", ["gmm", "dlhs"])
def test_packed_weights_may_change_too(op):
    (lhs, rhs), (_, other) = operands(op), operands(op, 1)
    packed = [ragdot.pack(w, op=op) for w in (rhs, other)]
    plan = ragdot.plan(op, lhs, packed[0], SIZES)
    for weights, plain in zip([*packed, rhs], (rhs, other, rhs)):
        np.testing.assert_array_equal(bits(plan(lhs, weights, SIZES)), bits(one_shot(op, lhs, plain, SIZES)))


def test_a_plan_says_what_it_does():
    plan = ragdot.plan("gmm", *operands("gmm"), SIZES, kernel="portable", tiling=(16, 128, 32), threads=1)
    assert plan.kernel == "portable" and plan.workspace_bytes > 0 and len(plan.tiling) == 3
    assert plan.describe().startswith("gmm g=5 m=250 k=200 n=136 lhs=e4m3:1x128 rhs=e4m3:128x128 out=bf16") and "portable" in plan.describe()
    assert repr(plan).startswith("<ragdot.Plan: gmm g=5")


def test_what_does_not_fit_the_plan_is_refused_and_the_plan_lives_on():
    lhs, rhs = operands("gmm")
    plan = ragdot.plan("gmm", lhs, rhs, SIZES)
    expected = plan(lhs, rhs, SIZES)
    more = operands("gmm", 0, ROWS + 1)[0]
    read_only = np.broadcast_to(expected, expected.shape)
    for arguments, words, sentence in (
        ((more, rhs, SIZES), {}, "251"),
        ((bf16(normal(ROWS, INNER)), rhs, SIZES), {}, "bf16"),
        ((lhs, rhs, SIZES[:4]), {}, "4"),
        ((lhs, rhs, SIZES), {"out": np.empty((ROWS, OUTER), np.float32)}, "f32"),
        ((lhs, rhs, SIZES), {"out": read_only}, "gmm: out is read-only; give a writable array"),
        ((lhs, rhs, SIZES), {"bias": normal(5, OUTER)}, "bias=1 and the plan"),
        ((lhs, None, SIZES), {}, "gmm: rhs is a NoneType; give an array of float32"),
        ((ScaledArray(lhs.values.view(ml_dtypes.float8_e5m2), lhs.scales, lhs.block), rhs, SIZES), {}, "lhs=e5m2:1x128 .* lhs=e4m3:1x128"),
        ((lhs.values, rhs, SIZES), {}, "lhs=e4m3 .* lhs=e4m3:1x128"),
        ((ScaledArray(lhs.values, lhs.scales, (1, 150)), rhs, SIZES), {}, "lhs=e4m3:1x150 .* lhs=e4m3:1x128"),
        ((ScaledArray(lhs.values, lhs.scales, lhs.block, "per_group"), rhs, SIZES), {}, "lhs=e4m3:1x128 .* origin=per_group .* lhs=e4m3:1x128"),
        ((lhs, rhs, SIZES * 2), {}, "gmm: group sizes sum to 480; there are 250 rows"),
    ):
        with pytest.raises(ValueError, match=sentence):
            plan(*arguments, **words)
        np.testing.assert_array_equal(bits(plan(lhs, rhs, SIZES)), bits(expected))


def test_copies_are_the_plan_itself():
    """Which lives as long as one of them."""
    lhs, rhs = operands("gmm")
    plan = ragdot.plan("gmm", lhs, rhs, SIZES)
    expected, copies = plan(lhs, rhs, SIZES), [copy.copy(plan), copy.deepcopy(plan)]
    with pytest.raises(TypeError, match="a Plan is memory of one process; pickle the arguments"):
        pickle.dumps(plan)
    del plan
    for same in copies:
        np.testing.assert_array_equal(bits(same(lhs, rhs, SIZES)), bits(expected))


def test_one_plan_serves_many_threads():
    """Each call has arrays of its own, so that a struct or workspace shared by two of them would be seen."""
    plan = ragdot.plan("gmm", *operands("gmm"), SIZES, threads=1)
    given = [operands("gmm", seed) for seed in range(8)]
    expected = [one_shot("gmm", *pair, SIZES) for pair in given]
    together = threading.Barrier(4)

    def work(worker: int) -> bool:
        together.wait()
        return all(np.array_equal(bits(plan(*given[i], SIZES)), bits(expected[i])) for i in list(range(worker, worker + 8)) * 5 for i in [i % 8])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert 1 <= len(plan._frames) <= 4


def test_python_runs_while_the_library_computes():
    lhs, rhs, sizes = bf16(normal(600, 1000)), bf16(normal(1, 1000, 1000)), [600]
    plan = ragdot.plan("gmm", lhs, rhs, sizes, kernel="portable", threads=1)
    thread = threading.Thread(target=plan, args=(lhs, rhs, sizes))
    start, turns = time.perf_counter(), 0
    thread.start()
    while thread.is_alive():
        turns += 1
        time.sleep(0)
    assert turns > 100, f"{turns} turns in {time.perf_counter() - start:.3f} s"


def test_blocks_that_are_lists_or_arrays_are_looked_at_once():
    lhs, rhs = operands("gmm")
    plan, expected = ragdot.plan("gmm", lhs, rhs, SIZES), one_shot("gmm", lhs, rhs, SIZES)
    block = [128, 128]
    of_list, of_array = (ScaledArray(rhs.values, rhs.scales, given) for given in (block, np.array(block)))
    block[1] = 64
    assert of_array.block == of_list.block == (128, 128) and all(type(extent) is int for extent in of_array.block)
    for given in (of_list, of_array, rhs, of_array):
        np.testing.assert_array_equal(bits(plan(lhs, given, SIZES)), bits(expected))


def test_plans_and_packed_weights_serve_to_the_end_of_the_interpreter():
    """Functions of atexit that were registered first are called last, behind those of finalizers."""
    program = """
import atexit
import numpy as np
x, w, sizes = np.ones((4, 4), np.float32), np.ones((3, 4, 32), np.float32), [1, 2, 1]
atexit.register(lambda: print(plan(x, w, sizes).sum(), ragdot.gmm(x, packed, sizes).sum()))
import ragdot
plan, packed = ragdot.plan("gmm", x, w, sizes), ragdot.pack(w)
"""
    assert printed_by(program, MALLOC_PERTURB_="165").split() == ["512.0", "512.0"]
