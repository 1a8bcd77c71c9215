#!/usr/bin/env python3
"""Looks at what nvcc makes of the product kernels: machine_code.py NVCC SOURCE_FOLDER. Exit 1 names each fault.

Holds that no kernel keeps registers in memory, that the assembler neither serialises nor interrupts the matrix unit's work (its
remarks C7510 and C7517), that the barriers are no fences of all memory (they once took half of all time), and that the products are
wgmma's. Where cuobjdump is found, the same is read off the machine code.
"""

import re
import shutil
import subprocess
import sys
import tempfile

KERNELS = 5
FLAGS = ["-std=c++20", "-O3", "-DNDEBUG", "-ftz=true", "-gencode=arch=compute_90a,code=sm_90a"]


def faults(assembler: str, ptx: str) -> list[str]:
    """Sentences for what the assembler says and for what the kernels ask of it."""
    found = []
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", assembler)
    if len(frames) != KERNELS:
        found.append(f"the assembler speaks of {len(frames)} kernels, not {KERNELS}; mend the pattern of its report")
    found += [f"a kernel keeps registers in memory: {', '.join(frame)} bytes of frame, stores and loads" for frame in frames if frame != ("0", "0", "0")]
    used = sorted(set(re.findall(r"Used (\d+) registers", assembler)))
    if not set(used) <= {"128", "168"}:
        found.append(f"kernels start with {', '.join(used)} registers a thread, not 128 or 168: warps would wait for theirs forever")
    found += [f"the assembler remarks: {line.strip()}" for line in assembler.splitlines() if re.search(r"\(C75\d\d\)", line)]
    for kind in ("e4m3.e4m3", "e5m2.e4m3", "bf16.bf16"):
        if f".f32.{kind} " not in ptx:
            found.append(f"no wgmma of {kind}")
    found += [f"a barrier in the scope of the cluster: {line.strip()}" for line in ptx.splitlines() if re.search(r"mbarrier\.(arrive|try_wait)\S*\.cluster\.shared", line)]
    return found


def machine_faults(listing: str) -> list[str]:
    """The same of the machine code."""
    found = [] if len(re.findall(r"\bQGMMA\.64x128x32\.", listing)) >= 3 * 4 else ["fewer FP8 products (QGMMA) than three kernels have"]
    if len(re.findall(r"\bHGMMA\.64x256x16\.", listing)) < 2 * 4:
        found.append("fewer bf16 products (HGMMA) than two kernels have")
    found += [f"memory of a thread is used: {name}" for name in sorted(set(re.findall(r"\b(LDL|STL)\b", listing)))]
    return found


def main() -> int:
    nvcc, root = sys.argv[1:3]
    if faults("1 bytes stack frame, 2 bytes spill stores, 3 bytes spill loads\n(C7510)", "") == []:
        raise AssertionError("a report with faults has to be seen")
    command = [nvcc, *FLAGS, f"-I{root}/src", f"-I{root}/include", f"{root}/tests/cuda/machine_code.cu"]
    with tempfile.TemporaryDirectory() as folder:
        built = subprocess.run([*command, "-Xptxas", "-v", "-cubin", "-o", f"{folder}/k.cubin"], capture_output=True, text=True, check=False)
        if built.returncode != 0:
            print(built.stderr)
            return 1
        subprocess.run([*command, "-ptx", "-o", f"{folder}/k.ptx"], check=True)
        with open(f"{folder}/k.ptx") as file:
            found = faults(built.stderr + built.stdout, file.read())
        disassembler = shutil.which("cuobjdump")
        if disassembler is None:
            print("not read: the machine code itself, as there is no cuobjdump (it comes with the whole CUDA toolkit)")
        else:
            found += machine_faults(subprocess.run([disassembler, "--dump-sass", f"{folder}/k.cubin"], capture_output=True, text=True, check=True).stdout)
    for fault in found:
        print(f"machine code: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
