# How a build for the wheel differs: what is installed lies in the package's lib/ and bin/, holds no links (wheels cannot) and
# finds oneTBB in the Python environment, four folders up from either: <environment>/lib.
set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../../../..")
# That of the package tbb-devel: Debian's is older, and not what users of the wheel have. pip's own environment for builds is on
# PATH; without it (--no-build-isolation) the package is where Python is.
set(RAGDOT_TBB_VERSION 2021.13)
cmake_path(GET Python_EXECUTABLE PARENT_PATH python_bin)
cmake_path(GET python_bin PARENT_PATH python_prefix)
list(PREPEND CMAKE_SYSTEM_PREFIX_PATH "${python_prefix}")
# Wheels are built by compilers that may know other warnings.
target_compile_options(ragdot_flags INTERFACE -Wno-error)
