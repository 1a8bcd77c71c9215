"""The page of a random campaign says everything that its JSON holds."""

import random_page

ROW = {"kernel": "avx2", "op": "gmm", "cases": 4, "outputs": 1234, "differing_bits": 0, "worst_over_bound": 0.25, "skipped": {}}


def result(**changes):
    return {
        "machine": {"cpu": "a CPU", "threads": 2},
        "ok": True,
        "random": {"seed": 7, "first": 10, "asked": 5, "cases": 5, "seconds": 120.0},
        "rows": [ROW],
        "failures": [],
        "coverage": {"op": {"gmm kn": 1, "tgmm": 4}},
    } | changes


def test_rows_coverage_and_run():
    text = random_page.page(result(), "./dev random --results", "abc1234")
    assert "5 random calls of seed 7, indices 10 to 14, in 2 minutes: all right" in text
    assert "`./dev random --results`, commit abc1234, on a CPU (2 threads)" in text
    assert "| avx2 | gmm | 4 | 1,234 | 0 | 0.250 | 0 |" in text
    assert "| op | tgmm 4, gmm kn 1 |" in text
    assert "Failures" not in text


def test_skips_and_kernels_that_did_not_run_keep_their_reasons():
    skipped = ROW | {"skipped": {"it is too deep": 3}}
    text = random_page.page(result(rows=[skipped, {"kernel": "amx", "unusable": "no AMX"}]), "c", "d")
    assert "| 3: it is too deep |" in text
    assert "| amx | | 0 | | | | all: no AMX |" in text


def test_failures_are_named_with_their_replay():
    failure = {"index": 3, "kernel": "avx2", "failure": "one bit", "replay": "ragdot verify --random 1 --seed 7 --first 3"}
    text = random_page.page(result(ok=False, failures=[failure]), "c", "d")
    assert "**not all right**" in text
    assert "- case 3 on avx2: one bit. Replay: `ragdot verify --random 1 --seed 7 --first 3`" in text
