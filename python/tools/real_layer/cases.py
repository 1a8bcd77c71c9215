"""Case files for the command, and the command itself."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from case_files import read_safetensors, write_safetensors
from real_layer.quantizer import WHOLE, Quantized


def spec(operand: Quantized) -> str:
    """An operand in the words of the problem string."""
    if operand.scales is None:
        return "bf16"
    rows, cols = ("*" if b is WHOLE else str(b) for b in operand.block)
    return f"e4m3:{rows}x{cols}"


@dataclass
class Answer:
    """What the command gave for a case."""

    out: np.ndarray
    seconds: float
    problem: str


class Command:
    """The ragdot command and the folder of its files."""

    def __init__(self, path: str, folder: Path):
        self.path = path
        self.folder = folder

    def call(self, *words: str) -> str:
        """Runs the command; its own sentence is the error."""
        done = subprocess.run([self.path, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"ragdot {' '.join(words)} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def compute(self, name: str, op: str, lhs: Quantized, rhs: Quantized, sizes: np.ndarray) -> Answer:
        """Writes the case, runs it, reads the answer."""
        case, answer = self.folder / f"{name}.case.safetensors", self.folder / f"{name}.answer.safetensors"
        tensors = {"lhs": lhs.values, "rhs": rhs.values, "group_sizes": sizes.astype(np.int32)}
        problem = f"{op} lhs={spec(lhs)} rhs={spec(rhs)} out=f32"
        for side, operand in (("l", lhs), ("r", rhs)):
            if operand.scales is not None:
                tensors[f"{side}hs_scale"] = operand.scales
                problem += f" {side}scale={'e8m0' if operand.folds() else 'f32'}"
        write_safetensors(case, tensors, {"problem": problem})
        report = json.loads(self.call("run", str(case), "-o", str(answer), "--overwrite", "--repeat", "5", "--json"))
        return Answer(read_safetensors(answer)[0]["out"], report["median_s"], report["problem"])
