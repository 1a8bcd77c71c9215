"""Which files a set of bench files becomes: a folder for each machine, in it a page, pictures and the JSON of each preset."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from results.page import page
from results.rows import file_name, folder_name, preset_name

Draw = Callable[[dict, str, Path], list[str]]


def belongs(run: dict, bench: dict) -> bool:
    """Is `run` one on chosen kernels, of the same preset and machine?"""
    return bool(run.get("kernels")) and preset_name(run) == preset_name(bench) and run["machine"]["cpu"] == bench["machine"]["cpu"]


def write(benches: list[dict], out: Path, command: str, draw: Draw) -> Iterator[str]:
    """A line about each page. Runs on chosen kernels become a section of the page of their preset."""
    for bench in benches:
        if bench.get("kernels"):
            if not any(belongs(bench, main) for main in benches if not main.get("kernels")):
                yield (f"left out {file_name(bench)}: give the run of preset {preset_name(bench)} on the automatic kernel too, "
                       "whose page it belongs on")  # fmt: skip
            continue
        runs = [bench, *(run for run in benches if belongs(run, bench))]
        folder = out / folder_name(bench["machine"])
        folder.mkdir(parents=True, exist_ok=True)
        for run in runs:
            (folder / f"{file_name(run)}.json").write_text(json.dumps(run, indent=1) + "\n")
        pictures = draw(bench, preset_name(bench), folder)
        path = folder / f"{preset_name(bench)}.md"
        path.write_text(page(bench, runs[1:], command, pictures))
        yield f"wrote {path}{''.join(', ' + name for name in (*(file_name(run) + '.json' for run in runs), *pictures))}"
