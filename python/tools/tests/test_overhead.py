"""The overhead table: its doors make the same call, and a slow door is seen as slow."""

import time

import ragdot
from overhead.__main__ import measure, table
from overhead.doors import DOORS, Door, operands, repeated


def test_every_door_is_timed_against_c():
    given = operands("blockwise", 1)
    doors = [door for found in DOORS for door in found(given)]
    rows = measure(doors, 3)
    names = [row.name for row in rows]
    assert names[:4] == ["C, planned", "C, at once", "Python, planned", "Python, at once"]
    assert all(0 < row.least <= row.median <= row.greatest for row in rows)
    assert all(row.of in names for row in rows if row.above is not None)
    lines = table(rows).splitlines()
    assert len(lines) == len(rows) + 1 and "above C, planned" in lines[3]


def test_differences_are_those_of_a_round():
    times = {"base": iter([99, 1, 2, 3, 4, 5, 6, 7]), "slow": iter([99, 3, 4, 5, 6, 7, 8, 9])}
    doors = [Door("base", "", lambda calls: next(times["base"]) * calls), Door("slow", "base", lambda calls: next(times["slow"]) * calls)]
    base, slow = measure(doors, 10)
    assert (base.median, base.least, base.greatest, base.above) == (4e6, 1e6, 7e6, None)
    assert (slow.median, slow.above) == (6e6, 2e6)


def test_a_slow_call_is_seen():
    assert repeated(lambda: time.sleep(0.002))(5) > 0.009


def test_the_problem_is_a_decode_step():
    given = operands("bf16", 1)
    assert ragdot.plan("gmm", given.lhs, given.rhs, given.sizes).describe().startswith("gmm g=8 m=8 k=256 n=256 lhs=bf16 rhs=bf16 out=bf16")
