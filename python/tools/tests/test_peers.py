"""Peers without the peers: rounds, refusals, rows; and the library as a contender on every op and recipe."""

import hashlib
import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import peers.__main__
from case_files import write_safetensors
from peers import bench_file
from peers.affinity import busiest, spread_out
from peers.case import Case
from peers.check import worst_against, worst_against_exact
from peers.comparison import PRODUCT, Comparison, Settings
from peers.contenders import CONTENDERS, Contender
from peers.problems import OPERANDS, Problem, Shape, shapes_of
from peers.rounds import Worker, WorkerFailed, interleave
from real_layer.quantizer import as_bf16, quantize
from results.rows import quotient

GMM = "gmm g=3 m=300 k=160 n=136 lhs=bf16 rhs=bf16"
SIZES = np.array([130, 0, 170])


def write_case(problem: str, path: Path) -> None:
    """What `ragdot case` does, on sizes of its own."""
    p = Problem.parse(problem)
    generator = np.random.default_rng(5)
    g, m, k, n = (int(p.words[key]) for key in "gmkn")
    shapes = {"gmm": ((m, k), (g, k, n)), "dlhs": ((m, n), (g, k, n)), "tgmm": ((m, k), (m, n))}[p.op]
    tensors = {"group_sizes": SIZES}
    for side, shape in zip(("lhs", "rhs"), shapes):
        x = generator.standard_normal(shape).astype(np.float32)
        block = p.block(side)
        operand = as_bf16(x) if block is None else quantize(as_bf16(x).values.astype(np.float32), block)
        tensors[side] = operand.values
        if operand.scales is not None:
            tensors[f"{side}_scale"] = operand.scales
    write_safetensors(path, tensors, {"problem": problem})


@pytest.fixture
def settings(tmp_path, monkeypatch):
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    machine = {"peak_tflops": {"fma_f32": 0.5, "amx_bf16": 2.0, "amx_int8": 4.0, "avx512_bf16": None}, "read_gbs": 10.0}
    return Settings(write_case, tmp_path, 1, 3, machine, lambda line: None)


def stub(name: str, operands: str = "bf16") -> Contender:
    return Contender(name, "bf16", f"stub_contenders:{name}", operands)


@pytest.fixture
def bench_file_and_words(settings, monkeypatch):
    """A bench file of one shape, and the command line for it; its ragdot command writes the cases of this file."""
    folder = settings.folder
    command = folder / "ragdot"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\nfrom test_peers import write_case\n"
                       "words = sys.argv\nassert words[1] == 'case'\nat = words.index('-o')\n"
                       "write_case(' '.join(words[2:at]), Path(words[at + 1]))\n")  # fmt: skip
    command.chmod(0o755)
    file = folder / "bench.json"
    file.write_text(json.dumps({"command": "bench", "machine": {}, "rows": [{"op": "gmm", "shape": "s", "problem": GMM}], "ratios": {}}))
    monkeypatch.setattr("sys.argv", ["peers", str(file), "--ragdot", str(command), "--rounds", "1", "--threads", "1"])
    return file, sys.argv


def test_the_busiest_threads_get_a_cpu_each():
    go, done, native = threading.Event(), threading.Event(), []

    def work():
        native.append(threading.get_native_id())
        while go.wait() and native:
            go.clear()
            hashlib.sha256(bytes(1 << 22))  # without the interpreter's lock
            done.set()

    def call():
        done.clear()
        go.set()
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    everywhere = os.sched_getaffinity(0)
    try:
        call()
        worker, caller = native[0], threading.get_native_id()
        assert busiest(call, 2) == [worker, caller]
        spread_out(call)
        cpus = sorted(everywhere)
        assert os.sched_getaffinity(worker) == {cpus[0]}
        assert os.sched_getaffinity(caller) == ({cpus[1]} if len(cpus) > 1 else everywhere)
    finally:
        os.sched_setaffinity(caller, everywhere)
        native.clear()
        go.set()
        thread.join()


@pytest.mark.parametrize("names, code", [(["right"], 0), (["right", "not_here"], 3), (["not_here", "nan_somewhere", "right"], 1)])
def test_the_exit_code_says_what_happened(bench_file_and_words, monkeypatch, capsys, names, code):
    monkeypatch.setattr(peers.__main__, "CONTENDERS", (CONTENDERS[0], *map(stub, names)))
    assert peers.__main__.main() == code
    written = json.loads(bench_file_and_words[0].read_text())
    assert [r["contender"] for r in written["rows"] if r.get("run")] == ["ragdot", "right"]
    assert "gmm.s.right/bf16" in written["ratios"] and len(written["refused"]) == len(names) - 1
    said = capsys.readouterr()
    assert said.out.count("TFLOP/s") == 2
    for name in set(names) - {"right"}:
        assert f"peers: gmm s: {name} was not timed: " in said.err


def test_wrong_words_are_refused(bench_file_and_words, capsys):
    file, words = bench_file_and_words
    words += ["--only", "torch"]
    with pytest.raises(SystemExit, match="2"):
        peers.__main__.main()
    assert "contender torch is unknown; there are jax_ragged_dot, ragdot, torch_grouped_mm, torch_loop, vllm_fp8" in capsys.readouterr().err
    words[-2:] = []
    file.write_text("{")
    assert peers.__main__.main() == 2


class Clockwork:
    """A worker that always takes the same time, and notes its turns."""

    def __init__(self, name: str, seconds: float, turns: list[str]):
        self.name, self.seconds, self.turns = name, seconds, turns

    def run(self) -> float:
        self.turns.append(self.name)
        return self.seconds


def test_each_has_a_turn_in_every_round_and_every_one_counts_but_the_first():
    turns, pauses = [], []
    seconds = interleave([Clockwork(name, 1.0, turns) for name in "abc"], 30, pauses.append)
    rounds = ["".join(turns[begin : begin + 3]) for begin in range(0, len(turns), 3)]
    assert len(rounds) == 31 and all(sorted(of) == list("abc") for of in rounds)
    assert set(rounds) == {"abc", "acb", "bac", "bca", "cab", "cba"}, "nobody always follows the same one"
    assert seconds == [[1.0] * 30] * 3
    assert len(pauses) == len(turns) and min(pauses) >= 0.01


def test_slow_contenders_sit_out_four_rounds_of_five():
    turns = []
    seconds = interleave([Clockwork("fast", 1.0, turns), Clockwork("slow", 5.1, turns), Clockwork("fair", 4.9, turns)], 10, lambda _: None)
    assert [len(s) for s in seconds] == [10, 2, 10]


def test_right_ones_are_timed_and_wrong_ones_are_not(settings):
    contenders = (CONTENDERS[0], *(stub(name) for name in ("right", "last_group_missing", "nan_somewhere", "of_another_shape", "not_here", "dies")))
    outcome = Comparison(Shape("gmm", "s", Problem.parse(GMM), copies=2), settings).run(contenders)
    assert [r["contender"] for r in outcome.rows] == ["ragdot", "right"]
    assert max(r["runs"] for r in outcome.rows) == 3  # the fastest; who counts as slow depends on the machine's load
    assert outcome.rows[1]["kernel"] == "stub on 1 threads with 2 copies"
    why = {r["contender"]: r["refusal"] for r in outcome.refused if r["outcome"] == "wrong"}
    assert list(why) == ["last_group_missing", "nan_somewhere", "of_another_shape"]
    assert why["nan_somewhere"] == "its product is inf times the bound away from ragdot's"
    assert why["of_another_shape"] == "its result is [136, 300] and must be [300, 136]"
    why = {r["contender"]: r["refusal"] for r in outcome.refused if r["outcome"] == "impossible"}
    assert why == {"not_here": "ImportError: no such library", "dies": "its process ended by SIGILL: said before"}


def test_nothing_is_held_against_a_wrong_library(settings, monkeypatch):
    monkeypatch.setattr("peers.comparison.worst_against_exact", lambda case, out: 5.0)
    outcome = Comparison(Shape("gmm", "s", Problem.parse(GMM)), settings).run((CONTENDERS[0], stub("right")))
    assert [(r["outcome"], r["refusal"]) for r in outcome.refused] == [
        ("wrong", "its product is 5 times the bound away from float64"),
        ("wrong", "the library's own product is 5 times its bound away from float64")]  # fmt: skip
    assert outcome.any("wrong") and not outcome.any("impossible") and not outcome.rows


@pytest.mark.parametrize("op, operands", [(op, name) for op in ("gmm", "dlhs", "tgmm") for name, texts in OPERANDS.items() if texts[op == "tgmm"]])
def test_the_library_is_a_contender_on_every_op(settings, op, operands):
    shape = Shape(op, "s", Problem.parse(GMM.replace("gmm", op)), copies=2)
    outcome = Comparison(shape, settings).run((Contender("ragdot", operands, PRODUCT, operands), stub("right", operands)))
    assert not outcome.refused
    row = outcome.rows[0]
    assert row["problem"].endswith("out=bf16") and row["problem"].startswith(f"{op} g=3 m=300 k=160 n=136 lhs=")
    assert row["tflops"] == pytest.approx(2 * 300 * 160 * 136 / row["median_s"] * 1e-12)
    assert row["of_peak"] == pytest.approx(row["tflops"] / 2.0)


@pytest.mark.parametrize("op", ["gmm", "dlhs", "tgmm"])
def test_blocks_need_not_be_square(settings, monkeypatch, op):
    blocks = "lhs=e4m3:64x32 rhs=e4m3:64x32" if op == "tgmm" else "lhs=e4m3:1x64 rhs=e4m3:64x32"
    monkeypatch.setitem(OPERANDS, "oblong", (blocks, blocks))
    outcome = Comparison(Shape(op, "s", Problem.parse(GMM.replace("gmm", op))), settings).run((Contender("ragdot", "oblong", PRODUCT, "oblong"),))
    assert not outcome.refused and len(outcome.rows) == 1


@pytest.mark.parametrize("op", ["gmm", "tgmm"])
def test_checks_see_one_wrong_number(settings, op):
    path = settings.folder / "case"
    write_case(GMM.replace("gmm", op), path)
    case = Case.load(path)
    wanted = np.zeros(case.out_shape(), np.float32)
    for p in case.products():
        wanted[p.place] = p.a @ p.b
    assert worst_against_exact(case, wanted) < 0.01
    place = (2, 100, 30) if op == "tgmm" else (200, 30)
    out = wanted.copy()
    out[place] += 0.02 * np.abs(wanted).max()
    assert worst_against(case, out, wanted, 0.0) > 1
    out = wanted.copy()
    out[case.row_ranges()[2].start if op == "gmm" else (2, 0)] *= 1.02  # the first row of a group is always looked at
    assert worst_against_exact(case, out) > 1


def test_an_empty_groups_slab_must_be_zero(settings):
    path = settings.folder / "case"
    write_case(GMM.replace("gmm", "tgmm"), path)
    case = Case.load(path)
    wanted = np.zeros(case.out_shape(), np.float32)
    for p in case.products():
        wanted[p.place] = p.a @ p.b
    wanted[1, 0, 0] = 1
    assert worst_against_exact(case, wanted) == np.inf and worst_against(case, wanted, wanted, 0.0) == np.inf


def test_a_silent_worker_is_given_up(settings, monkeypatch):
    write_case(GMM, settings.folder / "case")
    monkeypatch.setattr("peers.rounds.ANSWER_SECONDS", 0.0)
    with Worker("stub_contenders:right", settings.folder / "case", 1) as worker, pytest.raises(WorkerFailed, match="gave no answer in 0 s"):
        worker.start()


def test_shapes_are_the_plain_products_of_a_file_once_each():
    rows = [{"op": "gmm", "shape": "a", "problem": "gmm g=1 m=2 k=3 n=4 lhs=bf16 rhs=bf16 dist=zipf:1", "weight_copies": 3},
            {"op": "gmm", "shape": "a", "problem": "gmm g=1 m=2 k=3 n=4 lhs=e4m3:1x128 rhs=e4m3:128x128 dist=zipf:1"},
            {"op": "tgmm", "shape": "a", "problem": "tgmm g=1 m=2 k=3 n=4 lhs=bf16 rhs=bf16"},
            {"op": "gmm", "shape": "b", "problem": "gmm g=1 m=2 k=3 n=4 lhs=bf16 rhs=bf16 act=relu"},
            {"op": "gmm", "shape": "c", "problem": "gmm g=1 m=2 k=3 n=4 lhs=bf16 rhs=bf16", "run": "peers"},
            {"op": "quantize", "shape": "1x128", "problem": "gmm g=1 m=2 k=3 n=1 lhs=e4m3:1x128 rhs=bf16"}]  # fmt: skip
    shapes = shapes_of(rows)
    assert [(s.op, s.name, s.copies) for s in shapes] == [("gmm", "a", 3), ("tgmm", "a", 1)]
    assert str(shapes[0].problem.with_operands("blockwise")) == "gmm g=1 m=2 k=3 n=4 dist=zipf:1 lhs=e4m3:1x128 rhs=e4m3:128x128 out=bf16"


def timed(contender: str, recipe: str, median: float) -> dict:
    return {"op": "gmm", "shape": "w0", "contender": contender, "recipe": recipe, "median_s": median, "run": "peers",
            "starts_s": [median, median * 1.1], "low_s": median, "high_s": median * 1.1}  # fmt: skip


def test_the_spread_is_that_of_parts_of_the_rounds():
    assert bench_file.medians_of_parts([1, 2, 9, 4, 5, 6, 7, 8, 3, 10, 11]) == [1.5, 6.5, 5.5, 7.5, 10]
    assert bench_file.medians_of_parts([2, 1, 3]) == [2, 1, 3]
    rows = timed("a", "bf16", 2.0) | {"starts_s": [2.0, 3.0]}, timed("b", "bf16", 1.0) | {"starts_s": [1.0, 1.2]}
    assert quotient(*rows) == pytest.approx((2, 2, 2.5))
    slow = timed("a", "bf16", 2.0) | {"starts_s": [2.0, 2.1, 2.2]}
    assert quotient(slow, rows[1]) == pytest.approx((2, 2 / 1.1, 2.2)), "its rounds are not those of the other"


def test_rows_and_ratios_replace_those_of_an_earlier_run():
    own = {"op": "gmm", "shape": "w0", "contender": "ragdot", "recipe": "bf16", "median_s": 9.0}
    bench = {"command": "bench", "rows": [own], "ratios": {"gmm.w0.blockwise/bf16": 1.1}}
    first = [timed("ragdot", "bf16", 2.0), timed("ragdot", "blockwise", 1.0), timed("torch_loop", "bf16", 3.0), timed("gone", "bf16", 1.0)]
    no_onednn = {"contender": "onednn_bf16", "outcome": "impossible"}
    bench["refused"] = [no_onednn]
    merged = bench_file.merge(bench, first, [{"contender": "x", "run": "peers"}])
    assert [r["contender"] for r in merged["refused"]] == ["onednn_bf16", "x"]
    assert merged["ratios"] == {"gmm.w0.blockwise/bf16": 1.1, "gmm.w0.torch_loop/bf16": 1.5, "gmm.w0.torch_loop/blockwise": 3.0,
                                "gmm.w0.gone/bf16": 0.5, "gmm.w0.gone/blockwise": 1.0}  # fmt: skip
    again = bench_file.merge(merged, first[:3], [])
    assert again["rows"] == [own, *first[:3]]
    assert list(again["ratios"]) == ["gmm.w0.blockwise/bf16", "gmm.w0.torch_loop/bf16", "gmm.w0.torch_loop/blockwise"]
    assert list(again["ratio_spreads"]) == list(again["ratios"])[1:] and again["ratio_spreads"]["gmm.w0.torch_loop/bf16"] == [1.5, 1.5]
    assert again["refused"] == [no_onednn] and json.loads(json.dumps(again)) == again
