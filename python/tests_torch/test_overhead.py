"""The overhead table's rows for torch: they make the call, and a slow one is seen."""

import time

import pytest

import ragdot.torch
from overhead import torch_doors
from overhead.doors import operands


@pytest.mark.parametrize("recipe, gradients", [("bf16", ["torch, gradients"]), ("blockwise", [])])
def test_doors(recipe, gradients):
    doors = list(torch_doors.torch_doors(operands(recipe, 1)))
    assert [door.name for door in doors] == ["torch", *gradients, "C, torch's x + 1", "torch, compiled"]
    assert all(door.seconds(2) > 0 for door in doors)


def test_a_product_after_a_matmul_is_set_against_others(monkeypatch):
    product, pauses = ragdot.torch.grouped_mm, iter([0.02] * (torch_doors.WARM + 3) + [0.0] * (torch_doors.WARM + 3))
    monkeypatch.setattr(torch_doors, "ROUNDS", 1)
    monkeypatch.setattr(ragdot.torch, "grouped_mm", lambda *given: (time.sleep(next(pauses)), product(*given)))
    assert torch_doors.after_matmul(3) > 2
    assert next(pauses, None) is None
