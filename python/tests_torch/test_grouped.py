"""The comparison with torch._grouped_mm: its contenders agree, a wrong one is not timed, and ratios are those of the rounds."""

import dataclasses

import pytest
import torch
from grouped.__main__ import PEER, Case, check, contenders, measure, table


@pytest.fixture
def found():
    with torch.no_grad():
        yield contenders(Case("small", 256, 128, rows=16, experts=3))


def test_contenders_are_right_and_timed(found):
    for contender in found:
        check(contender)
    rows = measure(found, 3, 1)
    assert [row.name for row in rows] == [contender.name for contender in found] and rows[0].name == PEER
    assert all(0 < row.least <= row.median <= row.greatest for row in rows)
    peer = rows[0]
    assert peer.ratio == 1, "a round's time over itself"
    assert all(peer.least / row.greatest <= row.ratio <= peer.greatest / row.least for row in rows)
    assert len(table(rows, 1).splitlines()) == 1 + len(rows)


def test_a_wrong_product_is_not_timed(found):
    for contender in found:
        y = contender.call().clone()
        y[5, 7] += 1
        with pytest.raises(SystemExit, match=rf"{contender.name} is wrong in 1 of 6144 results"):
            check(dataclasses.replace(contender, call=lambda y=y: y))
