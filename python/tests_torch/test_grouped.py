"""The comparison with torch._grouped_mm: its contenders agree, a wrong one is not timed, and ratios are those of the rounds."""

import pytest
import torch

from grouped.__main__ import PEER, Case, contenders, measure, table


@pytest.fixture
def found():
    with torch.no_grad():
        yield contenders(Case("small", 256, 128, rows=16, experts=3))


@pytest.fixture
def steps():
    return contenders(Case("step", 256, 128, rows=128, experts=3, step=True))


@pytest.mark.parametrize("case", ["found", "steps"])
def test_contenders_are_right_and_timed(case, request):
    found = request.getfixturevalue(case)
    for contender in found:
        contender.check(contender.call())
    rows = measure(found, PEER, 3, 1)
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
            contender.check(y)


def test_a_wrong_gradient_is_not_timed(steps):
    for contender in steps:
        for wrong in (0, 1):
            gradients = [gradient.clone() for gradient in contender.call()]
            gradients[wrong][1] *= 1.1 if "bf16" in contender.name else 2
            with pytest.raises(SystemExit, match=rf"{contender.name} has gradients that are off by"):
                contender.check(gradients)
