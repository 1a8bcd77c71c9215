"""Case files for the command, and the command itself."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from real_layer.quantizer import WHOLE, Quantized

DTYPES = {np.dtype(np.float32): "F32", np.dtype(ml_dtypes.bfloat16): "BF16", np.dtype(ml_dtypes.float8_e4m3fn): "F8_E4M3",
          np.dtype(ml_dtypes.float8_e8m0fnu): "F8_E8M0", np.dtype(np.int32): "I32"}  # fmt: skip


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """The container by its text: 8-byte length, JSON header, bytes. (The safetensors package has no e8m0 for numpy.)"""
    header: dict = {"__metadata__": metadata}
    at = 0
    for name, x in tensors.items():
        header[name] = {"dtype": DTYPES[x.dtype], "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        at += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for x in tensors.values():
            file.write(np.ascontiguousarray(x).tobytes())


def read_out(path: Path) -> np.ndarray:
    """The f32 tensor `out` of an answer."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + length])["out"]
    begin, end = entry["data_offsets"]
    return np.frombuffer(data[8 + length + begin : 8 + length + end], np.float32).reshape(entry["shape"])


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
        return Answer(read_out(answer), report["median_s"], report["problem"])
