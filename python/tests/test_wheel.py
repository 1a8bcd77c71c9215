"""The installed package: which oneTBB it runs, what its binaries need, the command, the headers and CMake's view of it."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ragdot
from ragdot._library import environment_tbb, installed

FOLDER = Path(__file__).resolve().parents[2]
# What any Linux with g++ 12's runtime has, oneTBB, and for the handlers of XLA the library itself.
NEEDED = {"libragdot.so", "libtbb.so.12", "libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "libc.so.6", "ld-linux-x86-64.so.2",
          "libpthread.so.0", "libdl.so.2"}  # fmt: skip
SCRIPTS = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(bool(os.environ.get("RAGDOT_LIBRARY")), reason="RAGDOT_LIBRARY names another library than the installed one")


def run(*words, **more) -> str:
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, timeout=120, **more).stdout


def in_new_process(code: str, **more) -> list[str]:
    return run(sys.executable, "-c", code, **more).split()


def test_every_binary_needs_onetbb_and_the_runtime_alone():
    if shutil.which("readelf") is None:
        pytest.skip("no readelf on this machine")
    binaries = [path for path in installed("lib/libragdot.so").parents[1].rglob("*") if path.suffix == ".so" or path.parent.name == "bin"]
    assert {"libragdot.so", "ragdot"} <= {path.name for path in binaries}
    for binary in binaries:
        lines = run("readelf", "-d", binary).splitlines()
        needed = {line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line}
        assert needed <= NEEDED, binary
        # Its own folder and the environment's lib/, where oneTBB is; the command opens the GPU's kernels in the package's lib/.
        places = "$ORIGIN:$ORIGIN/../../../.." + (":$ORIGIN/../lib" if binary.name == "ragdot" else "")
        assert [line.split("[")[1].rstrip("]") for line in lines if "(RUNPATH)" in line] == [places], binary


def test_onetbb_is_that_of_the_environment():
    loaded = in_new_process("import ragdot; print(ragdot.info()['tbb'])")
    assert loaded == [str(environment_tbb())] and loaded[0].startswith(str(Path(sys.prefix).resolve()))


def test_the_librarys_own_path_finds_it_too():
    """Without the preload, as a C program that links the wheel's library."""
    library = installed("lib/libragdot.so")
    code = f"import ctypes; ctypes.CDLL({str(library)!r}); print(*{{line.split()[-1] for line in open('/proc/self/maps') if 'libtbb.so' in line}})"
    assert in_new_process(code) == [str(environment_tbb())]


def test_a_package_in_a_folder_of_its_own_takes_the_environments_onetbb(tmp_path):
    """The library's own search path does not lead there."""
    package = installed("lib/libragdot.so").parents[1]
    shutil.copytree(FOLDER / "python/ragdot", tmp_path / "ragdot")
    shutil.copytree(package / "lib", tmp_path / "ragdot/lib", dirs_exist_ok=True)
    code = "import sys; sys.meta_path = [finder for finder in sys.meta_path if 'ScikitBuild' not in type(finder).__name__]; "
    code += "import ragdot; print(ragdot.info()['library'], ragdot.info()['tbb'])"
    assert in_new_process(code, cwd=tmp_path) == [str(tmp_path / "ragdot/lib/libragdot.so"), str(environment_tbb())]


def test_a_missing_onetbb_is_not_replaced_in_silence(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [importlib.metadata.PackagePath("../nowhere/libtbb.so.12")])
    monkeypatch.setattr(importlib.metadata.PackagePath, "locate", lambda self: Path("/nowhere") / self, raising=False)
    with pytest.warns(RuntimeWarning, match="the package tbb lacks its libtbb.so.12 .* so the system's oneTBB is used; install into a virtual"):
        assert environment_tbb() is None


def test_the_import_loads_no_framework():
    assert in_new_process("import ragdot, sys; print(*{'jax', 'torch', 'tensorflow'} & set(sys.modules), 'none')") == ["none"]


def test_versions_agree():
    assert ragdot.__version__ == importlib.metadata.version("ragdot") == ragdot.info()["version"]


def test_the_tag_is_for_every_python():
    tags = importlib.metadata.distribution("ragdot").read_text("WHEEL").splitlines()
    assert "Tag: py3-none-linux_x86_64" in tags


@pytest.mark.parametrize("command", [[SCRIPTS / "ragdot"], [sys.executable, "-m", "ragdot"]], ids=["script", "module"])
def test_the_command_runs(command):
    assert run(*command, "--version").strip() == ragdot.__version__
    words = "gmm g=3 m=50 k=64 n=40 lhs=e4m3:1x32 rhs=e4m3:32x32".split()
    assert "ok" in run(*command, "verify", *words)
    refused = subprocess.run([*map(str, command), "verify", "mm"], capture_output=True)
    assert refused.returncode == 2  # the command's own exit code


def test_the_command_runs_on_the_environments_onetbb():
    listed = run("ldd", installed("bin/ragdot"))
    found = [line.split("=>")[1].split()[0] for line in listed.splitlines() if "libtbb.so.12" in line]
    assert [str(Path(path).resolve()) for path in found] == [str(environment_tbb())]


def test_cmake_projects_find_the_wheels_library(tmp_path):
    if shutil.which("cmake") is None or shutil.which("cc") is None:
        pytest.skip("no CMake or no C compiler on this machine")
    prefix = installed("lib/cmake/ragdot/ragdot-config.cmake").parents[3]
    run("cmake", "-S", FOLDER / "tests/install/c", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    assert run(tmp_path / "consumer").splitlines()[-1] == f"C consumer of ragdot {ragdot.__version__}: ok"


def test_another_library_may_be_named(tmp_path):
    library = shutil.copy(installed("lib/libragdot.so"), tmp_path / "libragdot.so")
    environment = os.environ | {"RAGDOT_LIBRARY": str(library), "LD_LIBRARY_PATH": str(environment_tbb().parent)}
    assert in_new_process("import ragdot; print(ragdot.info()['library'])", env=environment) == [str(library)]


def test_an_editable_installs_folders_are_both_searched(monkeypatch, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/built.so").touch()
    monkeypatch.setattr(ragdot, "__path__", [str(FOLDER / "python/ragdot"), str(tmp_path)])
    assert installed("lib/built.so") == tmp_path / "lib/built.so"


def test_a_file_that_is_missing_is_named():
    with pytest.raises(ImportError, match=r"^ragdot: lib/none.so is not in .*/ragdot; install the package: pip install \.$"):
        installed("lib/none.so")
