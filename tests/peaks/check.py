#!/usr/bin/env python3
"""Disassembles the peak loops of an object file: each must hold its instruction and touch no memory. Exit 1 names each fault."""

import re
import subprocess
import sys

# How often the loop of an instruction holds it (bench/peaks/instructions.cpp: accumulators of one iteration); vfmadd231ps has two
# loops, of 512 and 256 bits.
LOOPS = {"tdpbf16ps": [6], "tdpbssd": [6], "vdpbf16ps": [16], "vpdpbusd": [12], "vfmadd231ps": [12, 12], "mulps": [6]}
LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <.*>:$")


def loops_of(listing: str) -> list[list[tuple[str, str]]]:
    """Bodies of all loops: the instructions between a backward jump and its target in the same function."""
    found, function = [], []
    for line in listing.splitlines() + ["0 <end>:"]:
        if FUNCTION.match(line):
            for i, (_, name, operands) in enumerate(function):
                target = re.match(r"([0-9a-f]+)", operands) if name.startswith("j") else None
                starts = [j for j in range(i + 1) if target and function[j][0] == int(target[1], 16)]
                found += [[(n, o) for _, n, o in function[j : i + 1]] for j in starts]
            function = []
        elif match := LINE.match(line):
            function.append((int(match[1], 16), match[2], match[3].split("#")[0].strip()))
    return found


def faults(listing: str) -> list[str]:
    """Sentences for loops that are missing, are short of instructions, or load or store."""
    sentences = []
    bodies = loops_of(listing)
    for instruction, counts in LOOPS.items():
        mine = [body for body in bodies if any(name == instruction for name, _ in body)]
        if sorted(sum(name == instruction for name, _ in body) for body in mine) != counts:
            sentences.append(f"{instruction}: expected loops with {counts} of it, found {len(mine)}")
        for body in mine:
            sentences += [f"{instruction}: its loop touches memory: {name} {ops}" for name, ops in body if "(" in ops]
    return sentences


def self_test() -> None:
    """The check sees what it is for."""

    def function(instruction: str, count: int, extra: str = "") -> str:
        body = "".join(f"  {i:x}:\t{instruction} %zmm1,%zmm2,%zmm{i}\n" for i in range(count))
        return f"0 <f>:\n{body}{extra}  50:\tdec %rdi\n  53:\tjne 0 <f>\n"

    good = "".join(function(name, count) for name, counts in LOOPS.items() for count in counts)
    assert not faults(good)
    spill = function("vdpbf16ps", 16, "  40:\tvmovups %zmm3,0x40(%rsp)\n")
    assert any("touches memory: vmovups" in s for s in faults(good.replace(function("vdpbf16ps", 16), spill)))
    assert any(s.startswith("tdpbssd: expected") for s in faults(good.replace(function("tdpbssd", 6), function("tdpbssd", 5))))
    assert any(s.startswith("mulps: expected") for s in faults(good.replace("jne 0 <f>", "jne 60 <f>")))


def main(paths: list[str]) -> int:
    self_test()
    if len(paths) != 1:
        print("usage: check.py OBJECT: bench/peaks/instructions.cpp compiled")
        return 2
    objdump = subprocess.run(["objdump", "-d", "--no-show-raw-insn", paths[0]], capture_output=True, text=True)
    if objdump.returncode != 0:
        print(f"objdump cannot read {paths[0]}; build it first: {objdump.stderr.strip()}")
        return 2
    found = faults(objdump.stdout)
    for sentence in found:
        print(sentence)
    print(f"peaks: {sum(map(len, LOOPS.values()))} loops, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
