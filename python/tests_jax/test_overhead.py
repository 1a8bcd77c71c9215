"""The overhead table's rows for JAX: the same product, timed beside C's."""

import numpy as np

import ragdot
import ragdot.jax
from overhead.__main__ import measure
from overhead.doors import c_doors, operands
from overhead.jax_doors import jax_doors


def test_rows():
    given = operands("blockwise", 1)
    rows = measure([*c_doors(given), *jax_doors(given)], 3)
    assert [(row.name, row.of) for row in rows[2:]] == [("JAX jit", "C, at once"), ("JAX jit, x + 1", "")]
    assert all(0 < row.least <= row.median <= row.greatest for row in rows)
    got = ragdot.jax.gmm(given.lhs, given.rhs, given.sizes)
    np.testing.assert_array_equal(np.asarray(got), ragdot.gmm(given.lhs, given.rhs, given.sizes))


def test_without_jax_there_is_a_word(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert list(jax_doors(operands("bf16", 1))) == []
    assert "no rows for JAX, which is not installed: pip install .[jax]" in capsys.readouterr().err
