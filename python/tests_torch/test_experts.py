"""The comparison with transformers' own experts: its contenders agree, and a wrong one is not timed."""

import pytest
import torch

import ragdot.transformers
from contest import measure, table
from experts.__main__ import PEER, contenders, experts


@pytest.mark.parametrize("tokens", [1, 40])
def test_contenders_are_right_and_timed(tokens):
    plain, quantized = experts("eager", 256, 128, 16), experts("ragdot_blockwise", 256, 128, 16)
    ragdot.transformers.quantize_experts(quantized)
    with torch.no_grad():
        found = contenders(tokens, plain, {"quantize_experts": quantized})
        for contender in found:
            contender.check(contender.call())
            with pytest.raises(SystemExit, match="is off by .* of the result's norm; nothing was timed"):
                contender.check(contender.call() * 1.2)
        rows = measure(found, PEER, 2, 1)
    assert [row.name for row in rows] == [contender.name for contender in found] and PEER in table(rows, 1)
    assert ("transformers batched_mm" in table(rows, 1)) == (tokens == 1)
