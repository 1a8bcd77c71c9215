"""What is kept of weights beside other threads, the collector and replicas."""

import pytest
import torch
from problems import INNER, ROWS, normal, offs
from test_modules import linear

import ragdot.torch as rt
from ragdot.torch import _frames, _kept


@pytest.mark.parametrize("first", [False, True])
def test_a_step_while_a_weight_is_quantised_is_not_lost(first, monkeypatch):
    """As one in another thread, whose write the looked-at elements do not show."""
    layer, x, original, calls = linear(), normal(ROWS, INNER), _kept.weight_operands, []
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)

    def stepping(*given):
        operands = original(*given)
        calls.append(given)
        if len(calls) == (1 if first else 2):
            layer.weight.data[0, 0, 1] += 1
            _kept._after_step(optimizer)
        return operands

    monkeypatch.setattr(_kept, "weight_operands", stepping)
    with torch.no_grad():
        layer(x, offs())
        if not first:
            layer._kept.give_up()
            layer(x, offs())
        stale = len(calls)
        expected = rt.grouped_mm(x, layer.weight.detach().clone().mT, offs(), recipe="blockwise")
        assert torch.equal(layer(x, offs()), expected) and len(calls) == stale + 1
        assert torch.equal(layer(x, offs()), expected) and len(calls) == stale + 1


def test_a_call_may_be_run_within_the_search_for_holders():
    """By the collector, or by a signal's handler, in the thread that has the lock."""
    layer, x = linear(), normal(ROWS, INNER)
    with _kept._lock:
        taken = _kept._lock.acquire(blocking=False)
        assert taken, "a call would wait for its own thread"
        _kept._lock.release()
        layer(x, offs())


def test_replicas_keep_copies_of_their_own():
    layer = linear()
    replica = layer._replicate_for_data_parallel()
    assert replica._kept is not layer._kept and replica._kept.copies is None


def test_workspaces_lie_on_the_cpu_whatever_device_is_usual():
    with torch.device("meta"):
        assert _frames._Workspace(64).memory.device.type == "cpu"
