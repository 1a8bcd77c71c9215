# The room bench, with what it is compared against where that is installed.
ragdot_room(bench ${CMAKE_DL_LIBS})
target_compile_options(ragdot_bench PRIVATE ${RAGDOT_NO_COVERAGE})

# Not by oneDNN's own package file: Debian's asks for the headers of OpenCL as well.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(DNNL_LIBRARY dnnl)
set(dnnl_major "")
if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY)
  file(STRINGS "${DNNL_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h" dnnl_major REGEX "define DNNL_VERSION_MAJOR 2")
endif()
if(RAGDOT_ONEDNN AND dnnl_major AND NOT RAGDOT_SANITIZE)
  target_include_directories(ragdot_bench SYSTEM PRIVATE "${DNNL_INCLUDE_DIR}")
  target_link_libraries(ragdot_bench PUBLIC "${DNNL_LIBRARY}")
  set(left_out no_onednn.cpp)
else()
  # Sanitizers cannot see into OpenMP's threads.
  message(STATUS "bench: without oneDNN 2 (Debian: libdnnl-dev)")
  set(left_out onednn.cpp)
endif()
get_target_property(sources ragdot_bench SOURCES)
list(FILTER sources EXCLUDE REGEX "/contenders/${left_out}$|/bench/stages/")
set_target_properties(ragdot_bench PROPERTIES SOURCES "${sources}")

# Micro-benchmarks of the stages, where Google Benchmark is installed; built on demand.
find_package(benchmark QUIET)
if(benchmark_FOUND)
  add_executable(ragdot_stages EXCLUDE_FROM_ALL "${PROJECT_SOURCE_DIR}/bench/stages/stages.cpp")
  target_link_libraries(ragdot_stages PRIVATE ${RAGDOT_ROOMS} benchmark::benchmark)
else()
  message(STATUS "bench: without ragdot_stages (Debian: libbenchmark-dev)")
endif()
