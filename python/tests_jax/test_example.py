"""examples/jax_moe.py in short: losses fall, FP8's like bf16's, and the picture is one."""

import sys
import xml.etree.ElementTree as ElementTree

import jax.numpy as jnp
import jax_moe


def test_training(tmp_path, monkeypatch, capsys):
    drawn = tmp_path / "losses.svg"
    monkeypatch.setattr(sys, "argv", ["jax_moe.py", "--steps", "25", "--seeds", "1", "--picture", str(drawn)])
    jax_moe.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    runs = {row[0].rstrip(":"): (float(row[1]), float(row[4])) for row in rows if row[2:4] == ["at", "first,"]}
    assert set(runs) == {"bf16", "blockwise"}
    for first, last in runs.values():
        assert 5 < first < 6.5 and last < first - 1
    assert abs(runs["blockwise"][1] / runs["bf16"][1] - 1) < 0.05
    lines = [element for element in ElementTree.parse(drawn).iter() if element.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [25, 25]


def test_equal_seeds_train_equally():
    data = jnp.arange(5000, dtype=jnp.int32).astype(jnp.uint8)
    assert jax_moe.train("blockwise", 1, 3, data) == jax_moe.train("blockwise", 1, 3, data) != jax_moe.train("blockwise", 2, 3, data)
