#!/usr/bin/env python3
"""Holds every include to the direction of the rooms, and intrinsics to src/cpu/isa. Exit 1 names each violation."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What each room may include besides itself and include/ragdot.
ALLOWED = {
    "include": set(),
    "src/format": set(),
    "src/schedule": {"src/format"},
    "src/plan": {"src/format", "src/schedule"},
    "src/cpu": {"src/format", "src/schedule", "src/plan"},
    "src/cuda": {"src/format", "src/schedule", "src/plan"},
    "src/reference": set(),
    "src/api": {"src/format", "src/schedule", "src/plan", "src/cpu", "src/cuda", "src/reference"},
    "src/jax": set(),
    "testing": {"src/reference"},
    "bench": {"testing", "src/format", "src/schedule", "src/plan", "src/cpu", "src/cuda", "src/reference", "src/api"},
    "cli": {"testing", "bench", "src/cpu", "src/reference"},
}
MAY_USE_INTRINSICS = ("src/cpu/isa/", "bench/peaks/")
INTRINSICS = re.compile(r"\b[a-z]*mmintrin\.h|\bimmintrin\.h|\bx86intrin\.h|\bcpuid\.h")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def room_of(path: str) -> str | None:
    """Room of a repository path, None outside all rooms."""
    rooms = [room for room in ALLOWED if path.startswith(room + "/")]
    return max(rooms, key=len, default=None)


def target_of(include: str) -> str | None:
    """Room that an include names: rooms of src are included without the src/."""
    if include.startswith("ragdot/"):
        return "include"
    return room_of("src/" + include) or room_of(include)


def violations(path: str, text: str) -> list[str]:
    """Sentences for what `path` includes against the direction."""
    room = room_of(path)
    found = []
    is_test = path.endswith(("_test.cpp", "_sweep.cpp"))
    for include in INCLUDE.findall(text):
        if INTRINSICS.search(include) and not path.startswith(MAY_USE_INTRINSICS) and not is_test:
            found.append(f"{path}: includes {include}; only {' and '.join(MAY_USE_INTRINSICS)} may use intrinsics")
        target = target_of(include)
        if room is None or target in (None, room, "include"):
            continue
        if target not in ALLOWED[room] and not is_test:
            found.append(f"{path}: {room} includes {include} of {target}; it may see {sorted(ALLOWED[room]) or 'include alone'}")
    return found


def self_test() -> None:
    """The check sees what it is for."""
    assert violations("src/format/a.hpp", '#include "cpu/kernel.hpp"')
    assert violations("src/reference/a.cpp", '#include "format/memory.hpp"')
    assert violations("src/plan/a.cpp", "#include <immintrin.h>")
    assert violations("testing/a.cpp", '#include "format/e4m3.hpp"')
    assert violations("bench/a.cpp", "#include <immintrin.h>")
    assert violations("src/cpu/a.cpp", '#include "bench/measure.hpp"')
    assert violations("cli/a.cpp", '#include "plan/backend.hpp"')
    assert violations("src/cuda/a.cpp", '#include "cpu/kernel.hpp"')
    assert violations("src/cpu/a.cpp", '#include "cuda/launch.hpp"')
    assert violations("src/cuda/device/a.cu", '#include "api/validate.hpp"')
    assert violations("src/jax/a.cpp", '#include "plan/backend.hpp"')
    assert not violations("cli/a.cpp", '#include "cpu/isa/features.hpp"')
    assert not violations("src/cpu/isa/a.cpp", "#include <immintrin.h>")
    assert not violations("bench/peaks/a.cpp", "#include <immintrin.h>")
    assert not violations("bench/a.cpp", '#include "cpu/kernel.hpp"')
    assert not violations("src/jax/a.cpp", '#include "jax/buffers.hpp"\n#include <xla/ffi/api/ffi.h>')
    assert not violations("src/api/a.cpp", '#include "cuda/rules.hpp"')
    assert not violations("src/api/a.cpp", '#include "cpu/quantize/quantize.hpp"\n#include "ragdot/gmm.hpp"')


def main() -> int:
    self_test()
    files = [p for room in ALLOWED for p in (ROOT / room).rglob("*") if p.suffix in {".hpp", ".cpp", ".h", ".cu", ".cuh"}]
    found = sorted({v for p in files for v in violations(p.relative_to(ROOT).as_posix(), p.read_text())})
    for sentence in found:
        print(sentence)
    print(f"layers: {len(set(files))} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
