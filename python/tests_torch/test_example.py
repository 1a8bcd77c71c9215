"""examples/torch_moe.py in short: losses fall, FP8's like bf16's, and the picture is one."""

import sys
import xml.etree.ElementTree as ElementTree

import losses
import pytest
import torch_moe


def test_training(tmp_path, monkeypatch, capsys):
    drawn = tmp_path / "losses.svg"
    monkeypatch.setattr(sys, "argv", ["torch_moe.py", "--steps", "25", "--seeds", "1", "--picture", str(drawn)])
    torch_moe.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    runs = {row[0].rstrip(":"): (float(row[1]), float(row[4])) for row in rows if row[2:4] == ["at", "first,"]}
    assert set(runs) == {"bf16", "blockwise"}
    for first, last in runs.values():
        assert 5 < first < 6.5 and last < first - 1
    assert abs(runs["blockwise"][1] / runs["bf16"][1] - 1) < 0.05
    lines = [element for element in ElementTree.parse(drawn).iter() if element.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [25, 25]


def test_equal_seeds_train_equally():
    data = torch_moe.torch.arange(5000, dtype=torch_moe.torch.uint8)
    assert torch_moe.train("blockwise", 1, 3, data) == torch_moe.train("blockwise", 1, 3, data) != torch_moe.train("blockwise", 2, 3, data)


def test_table_and_curves():
    runs = {"bf16": [[9.0] * 10 + [2.0] * 50, [9.0] * 10 + [4.0] * 50], "mx": [[9.0] * 10 + [3.3] * 50]}
    assert losses.mean_of_last(runs["bf16"][0]) == 2
    _, bf16, mx = (line.split() for line in losses.table(runs).splitlines())
    assert bf16[:3] == ["bf16", "3.0000", "+0.00"] and bf16[-3:] == ["2.0000", "..", "4.0000"] and mx[:3] == ["mx", "3.3000", "+10.00"]
    assert losses.smoothed([1, 3, 5], over=2) == [1, 2, 4]
    assert losses.smoothed([4.0] * 12) == pytest.approx([4.0] * 12)


def test_text_is_enough_to_learn_from():
    assert len(losses.text()) > 300_000
