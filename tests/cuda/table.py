"""One table of what ./dev gpu ran: python3 table.py LOGS COMMIT. Times come from the logs of the steps that took them."""

import json
import pathlib
import re
import subprocess
import sys


def gpu():
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        named = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        named = ""
    return named or "a GPU that nvidia-smi does not name"


def last_line(log):
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].replace("|", "/") if lines else ""


def steps(logs):
    for line in (logs / "steps.tsv").read_text().splitlines():
        name, result, seconds, log = line.split("\t")
        yield name, f"{result}, {seconds} s", last_line(pathlib.Path(log))


def quantisers(log):
    """From "what   1.234 ms   2000 GB/s  0.76 of the copy"."""
    for line in log.read_text(errors="replace").splitlines():
        if found := re.match(r"(.*?)\s+([\d.]+) ms\s+(\d+) GB/s(?:\s+([\d.]+) of the copy)?$", line):
            what, ms, rate, share = found.groups()
            yield f"quantise {what}" if share else what, f"{ms} ms", f"{rate} GB/s" + (f", {share} of a device copy" if share else "")


def products(path):
    for case in json.loads(path.read_text())["cases"]:
        times, flops = case["ms"], case["flops"]
        ours = {name: ms for name, ms in times.items() if name.startswith("ragdot")}
        for name, ms in ours.items():
            yield f"{case['case']}, {name}", f"{ms:.3f} ms", f"{flops / ms / 1e9:.0f} TFLOP/s"
        for name in sorted((name for name in times if name not in ours), key=times.get):
            yield f"{case['case']}, {name}", f"{times[name]:.3f} ms", f"{times[name] / times['ragdot fp8']:.2f} of the time of ragdot fp8"


def main():
    logs, commit = pathlib.Path(sys.argv[1]), sys.argv[2]
    rows = list(steps(logs))
    ran = {name for name, _, _ in rows}
    if "quantiser-times" in ran:
        rows += quantisers(logs / "quantiser-times.log")
    if "product-times" in ran and (logs / "products.json").exists():
        rows += products(logs / "products.json")
    print(f"Commit {commit} on {gpu()}\n\n| what | result | |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
