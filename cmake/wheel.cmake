# How a build for the wheel differs: what is installed lies in the package's lib/ and bin/, holds no links (wheels cannot) and
# finds oneTBB in the Python environment, four folders up from either: <environment>/lib.
set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../../../..")
set(RAGDOT_TBB_VERSION 2021.13)  # the package tbb-devel: Debian's is older, and not what users of the wheel have
