"""python -m results --command TEXT --out FOLDER BENCH.json...: writes FOLDER/<machine>/<preset>.json, .md and pictures.

Runs on kernels that were chosen become a section of their preset's page. TEXT is the command that a reader runs to make the pages anew."""

import argparse
import json
import sys
from pathlib import Path

from results.pictures import draw
from results.write import write


def main() -> int:
    parser = argparse.ArgumentParser(prog="results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="BENCH.json")
    parser.add_argument("--out", required=True, type=Path, help="such as docs/results")
    parser.add_argument("--command", required=True, help="such as './dev bench --peers seed'")
    given = parser.parse_args()
    try:
        for line in write([json.loads(file.read_text()) for file in given.files], given.out, given.command, draw):
            print(line)
    except KeyError as missing:
        print(f"results: a file has no {missing}; measure it again with this version of ragdot bench", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
