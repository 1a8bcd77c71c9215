"""The ctypes mirrors against the headers of C: a C compiler says sizes, offsets and numbers; the headers say functions."""

import ctypes
import re
import shutil
import subprocess

import pytest

from ragdot import _abi, _cuda_abi
from ragdot._library import installed

STRUCTS = {
    "ragdot_view": _abi.View,
    "ragdot_const_view": _abi.View,
    "ragdot_scales": _abi.Scales,
    "ragdot_operand": _abi.Operand,
    "ragdot_groups": _abi.Groups,
    "ragdot_tiling": _abi.Tiling,
    "ragdot_options": _abi.Options,
    "ragdot_openmp": _abi.Openmp,
    "ragdot_gmm_args": _abi.GmmArgs,
    "ragdot_tgmm_args": _abi.TgmmArgs,
    "ragdot_scales_out": _abi.ScalesOut,
    "ragdot_quantized_out": _abi.QuantizedOut,
    "ragdot_quantize_args": _abi.QuantizeArgs,
    "ragdot_quantize_both_args": _abi.QuantizeBothArgs,
    "ragdot_requantize_args": _abi.RequantizeArgs,
    "ragdot_dequantize_args": _abi.DequantizeArgs,
    "ragdot_kernel_info": _abi.KernelInfo,
}
CUDA_STRUCTS = {"ragdot_cuda_group_places": _cuda_abi.GroupPlaces, "ragdot_cuda_options": _cuda_abi.Options}
# Prefix of the header's names, and the words for them.
NUMBERS = [("", _abi.FORMATS), ("", _abi.ACTIVATIONS), ("RHS_", _abi.RHS_LAYOUTS), ("ROWS_OUTSIDE_", _abi.ROWS_OUTSIDE),
           ("ORIGIN_", _abi.ORIGINS), ("", _abi.RECIPES), ("", _abi.GROUP_KINDS), ("", {name: getattr(_abi, name) for name in (
               "OK", "INVALID_ARGUMENT", "UNSUPPORTED", "OUT_OF_MEMORY", "FAILED", "INDEX_I32", "INDEX_I64", "WHOLE_AXIS")})]  # fmt: skip


def header(name: str) -> str:
    text = installed(f"include/ragdot/{name}").read_text()
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


@pytest.mark.parametrize(("name", "structs"), [("ragdot.h", STRUCTS), ("cuda.h", CUDA_STRUCTS)])
def test_every_struct_of_the_header_is_mirrored(name, structs):
    assert set(re.findall(r"\btypedef struct (\w+) \{", header(name))) == set(structs)


def test_structs_and_numbers_are_those_of_the_compiler(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    expected = {}
    for name, struct in {**STRUCTS, **CUDA_STRUCTS}.items():
        expected[f"sizeof({name})"] = ctypes.sizeof(struct)
        for field, *_ in struct._fields_:
            expected[f"offsetof({name}, {field})"] = getattr(struct, field).offset
            expected[f"sizeof((({name}*)0)->{field})"] = getattr(struct, field).size
    for prefix, words in NUMBERS:
        for word, number in words.items():
            word = f"activation_{word}" if word == "none" else word
            expected[f"RAGDOT_{prefix}{word.upper()}"] = number
    lines = "".join(f'  printf("%lld\\n", (long long)({expression}));\n' for expression in expected)
    source = tmp_path / "print.c"
    source.write_text(f"#include <ragdot/cuda.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {{\n{lines}  return 0;\n}}\n")
    include = installed("include/ragdot/ragdot.h").parents[1]
    subprocess.run([compiler, f"-I{include}", str(source), "-o", str(tmp_path / "print")], check=True)
    printed = subprocess.run([str(tmp_path / "print")], check=True, capture_output=True, text=True).stdout.split()
    assert dict(zip(expected, map(int, printed))) == expected


@pytest.mark.parametrize(("name", "functions"), [("ragdot.h", _abi.FUNCTIONS), ("cuda.h", _cuda_abi.FUNCTIONS)])
def test_every_function_has_its_types(name, functions):
    declared = {name: arguments for name, arguments in re.findall(r"^[\w ]+\*?\s*\b(ragdot_\w+)\(([^;{]*)\);", header(name), flags=re.M)}
    assert len(declared) >= len(functions) > 8
    counts = {name: 0 if arguments.strip() == "void" else arguments.count(",") + 1 for name, arguments in declared.items()}
    assert counts == {name: len(arguments) for name, (_, *arguments) in functions.items()}
