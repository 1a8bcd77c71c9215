"""python -m results --command TEXT --out FOLDER BENCH.json...: writes FOLDER/<machine>/<preset>.json, .md and pictures.

The preset is the file's name. TEXT is the command that a reader runs to make the pages anew."""

import argparse
import json
import sys
from pathlib import Path

from results.page import page
from results.pictures import draw
from results.rows import folder_name


def main() -> int:
    parser = argparse.ArgumentParser(prog="results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="BENCH.json")
    parser.add_argument("--out", required=True, type=Path, help="such as docs/results")
    parser.add_argument("--command", required=True, help="such as './dev bench --peers seed'")
    given = parser.parse_args()
    for file in given.files:
        bench = json.loads(file.read_text())
        folder = given.out / folder_name(bench["machine"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_text(json.dumps(bench, indent=1) + "\n")
        pictures = draw(bench, file.stem, folder)
        (folder / f"{file.stem}.md").write_text(page(bench, file.stem, given.command, pictures))
        print(f"wrote {folder}/{file.stem}.md, {file.name}{''.join(', ' + name for name in pictures)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
