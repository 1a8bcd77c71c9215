"""What pages and pictures say of a bench file; drawing itself needs matplotlib and is not tested."""

import pytest

from results.page import page
from results.rows import folder_name, of_bound, over_bf16, parts_of_bounds
from results.write import write

MACHINE = {"cpu": "Intel(R) Xeon(R) Processor", "threads": 2, "isa": ["avx2", "amx_tile"], "peak_tflops": {"amx_bf16": 4.0, "avx512_bf16": None},
           "read_gbs": 30.0, "copy_gbs": 20.0, "onednn": "2.6.3"}  # fmt: skip


def row(contender: str, recipe: str, median: float, shape: str = "w0", **more) -> dict:
    return {"problem": "gmm g=1 m=1 k=1 n=1 lhs=bf16 rhs=bf16", "op": "gmm", "shape": shape, "recipe": recipe, "contender": contender,
            "kernel": "amx", "threads": 2, "median_s": median, "min_s": median, "max_s": median * 1.5, "runs": 7, "low_s": median * 0.9,
            "high_s": median * 1.2, "starts_s": [median * 0.9, median, median * 1.2], "tflops": 1.0, "gbs": 3.0,
            "of_peak": 0.25, "of_read_bandwidth": 0.5, "of_copy_bandwidth": None} | more  # fmt: skip


def bench(*rows: dict) -> dict:
    return {"version": "0.1.0", "machine": MACHINE, "rows": list(rows), "ratios": {"gmm.w0.blockwise/bf16": 0.81234},
            "ratio_spreads": {"gmm.w0.blockwise/bf16": [0.8, 0.9]}, "refused": [], "preset": "seed", "kernels": []}  # fmt: skip


@pytest.mark.parametrize("cpu, isa, name", [
    ("Intel(R) Xeon(R) Processor", ["avx2", "amx_tile"], "intel-xeon-amx-2-threads"),
    ("AMD EPYC 9R14 96-Core Processor", ["avx2"], "amd-epyc-9r14-96-core-2-threads"),
    ("AMD EPYC (Zen 4)", ["avx2"], "amd-epyc-zen-4-2-threads"),
    ("Intel(R) Xeon(R) CPU @ 2.20GHz", [], "intel-xeon-2-threads"),
])  # fmt: skip
def test_folders_are_named_after_machines(cpu, isa, name):
    assert folder_name({"cpu": cpu, "isa": isa, "threads": 2}) == name


def test_the_bound_is_the_nearest_limit():
    assert of_bound(row("ragdot", "bf16", 1.0)) == 0.5
    assert of_bound(row("ragdot", "bf16", 1.0, of_peak=0.7)) == 0.7
    assert of_bound(row("ragdot", "e4m3", 1.0, of_peak=None, of_read_bandwidth=None, of_copy_bandwidth=0.9)) == 0.9
    assert of_bound(row("ragdot", "bf16", 1.0, of_peak=None, of_read_bandwidth=None)) is None


def test_times_are_over_bf16_of_their_own_run():
    points = over_bf16(bench(
        row("ragdot", "bf16", 2.0, run="peers"), row("ragdot", "blockwise", 8.0, run="peers"), row("torch_loop", "bf16", 3.0, run="peers"),
        row("ragdot", "bf16", 1.0), row("ragdot", "blockwise", 0.5), row("onednn_bf16", "bf16", 4.0),
        row("ragdot", "mx", 9.0, shape="alone")))  # fmt: skip
    assert [p[:3] for p in points] == [("gmm w0", "ragdot blockwise", 0.81234), ("gmm w0", "onednn_bf16", 4.0), ("gmm w0", "torch_loop", 1.5)]


def test_spreads_of_quotients_are_start_by_start():
    slowing = row("ragdot", "bf16", 1.0, starts_s=[1.0, 2.0, 0.5], low_s=0.5, high_s=2.0)
    mine = row("ragdot", "mx", 2.0, starts_s=[2.0, 4.0, 1.5], low_s=1.5, high_s=4.0)
    assert over_bf16(bench(slowing, mine)) == [("gmm w0", "ragdot mx", 2.0, 2.0, 3.0)]
    assert parts_of_bounds(bench(mine)) == [("gmm w0", "ragdot mx", 0.5, 0.25, 0.5 / 0.75)]
    once = mine | {"starts_s": [2.0]}
    assert over_bf16(bench(slowing, once)) == [("gmm w0", "ragdot mx", 2.0, 0.75, 8.0)]


def test_ratios_that_the_command_took_round_by_round_are_drawn():
    taken = {"ratios": {"gmm.w0.mx/bf16": 1.5}, "ratio_spreads": {"gmm.w0.mx/bf16": [1.4, 1.6]}}
    rows = row("ragdot", "bf16", 1.0), row("ragdot", "mx", 2.0)
    assert [p[2:] for p in over_bf16(bench(*rows) | taken)] == [(1.5, 1.4, 1.6)]
    peers = [r | {"run": "peers"} for r in rows]
    assert over_bf16(bench(*peers) | taken)[0].value == 2.0, "those of another run are of other times"


def test_other_threads_and_swept_tiles_are_not_drawn():
    points = parts_of_bounds(bench(row("ragdot", "bf16", 1.0), row("ragdot", "i8", 1.0, threads=1),
                                   row("ragdot", "mx", 1.0, problem="gmm g=1 m=1 k=1 n=1 lhs=bf16 rhs=bf16 tile=1x1x1")))  # fmt: skip
    assert [p[:3] for p in points] == [("gmm w0", "ragdot bf16", 0.5)]


def test_a_page_says_where_and_how_it_was_made():
    refused = {"op": "gmm", "shape": "w0", "contender": "vllm_fp8", "recipe": "weights_blockwise", "outcome": "wrong",
               "refusal": "its product is off"}  # fmt: skip
    rows = row("ragdot", "bf16", 0.0012346), row("torch_loop", "bf16", 1.2345678, run="peers", version="2.13.0")
    made = bench(*rows) | {"commit": "abc", "refused": [refused]}
    portable = bench(row("ragdot", "mx", 9.0)) | {"kernels": ["portable"], "command_line": "ragdot bench --kernel portable", "refused": [refused]}
    text = page(made, [portable], "./dev bench --peers seed", ["seed_over_bf16.png"])
    for words in ("# seed on Intel(R) Xeon(R) Processor", "2 threads; avx2 amx_tile", "TFLOP/s: amx_bf16 4.", "Reading 30 GB/s, copying 20 GB/s.",
                  "oneDNN 2.6.3.", "Peers: torch_loop 2.13.0.", "at commit abc; made by `./dev bench --peers seed`",
                  "![seed_over_bf16.png](seed_over_bf16.png)",
                  "| gmm w0 | ragdot | bf16 | amx | 2 | 1.235 | 1.11 - 1.48 | 7 | 1 | 3 | 25 % | 50 % | 50 % |",
                  "| `gmm.w0.blockwise/bf16` | 0.812 | 0.8 - 0.9 |", "| 1235 | 1111 - 1481 | 7 |",
                  "- gmm w0, vllm_fp8 weights_blockwise: wrong: its product is off"):  # fmt: skip
        assert words in text
    assert text.count("its product is off") == 2
    assert text.index("## Ratios") < text.index("## On kernel portable\n\nAnother run: `ragdot bench --kernel portable`.") < text.index("| 9000 |")
    assert text.index("## ragdot bench") < text.index("| ragdot | bf16 |") < text.index("## With peers") < text.index("| torch_loop |")


def test_pages_are_named_after_the_presets_in_the_files(tmp_path):
    portable = {"kernels": ["portable"], "command_line": "x"}
    benches = [bench(row("ragdot", "bf16", 1.0)) | more for more in ({}, portable, {"preset": "skew"}, portable | {"preset": "decode"})]
    lines = list(write(benches, tmp_path, "c", lambda made, preset, folder: [f"{preset}.png"]))
    folder = tmp_path / "intel-xeon-amx-2-threads"
    assert lines == [f"wrote {folder}/seed.md, seed.json, seed_portable.json, seed.png", f"wrote {folder}/skew.md, skew.json, skew.png",
                     "left out decode_portable: give the run of preset decode on the automatic kernel too, whose page it belongs on"]  # fmt: skip
    assert sorted(p.name for p in folder.iterdir()) == ["seed.json", "seed.md", "seed_portable.json", "skew.json", "skew.md"]
    assert "## On kernel portable" in (folder / "seed.md").read_text() and "## On" not in (folder / "skew.md").read_text()
