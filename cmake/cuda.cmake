# The device half (src/cuda/device), libragdot_cuda.so: the only thing here that nvcc compiles. Built where nvcc is, opened at run
# time. RAGDOT_CUDA_LEFT_OUT holds why it is left out, for ./dev test; empty where it is built.
option(RAGDOT_CUDA "Build the kernels for GPUs, where nvcc is found" ON)
find_program(RAGDOT_NVCC nvcc PATHS /usr/local/cuda/bin DOC "NVIDIA's compiler")
file(GLOB device_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/cuda/device/*.cu")
set(left_out "")
if(NOT RAGDOT_CUDA)
  set(left_out "RAGDOT_CUDA is OFF")
elseif(RAGDOT_SANITIZE)
  set(left_out "sanitizers do not reach into it")
elseif(NOT RAGDOT_NVCC)
  set(left_out "there is no nvcc on PATH or in /usr/local/cuda/bin (-DRAGDOT_NVCC=... names one)")
else()
  # sm_90a is known from 12.0 on, instructions on tensor maps from 12.3, the driver's entry points by version from 12.5.
  execute_process(COMMAND "${RAGDOT_NVCC}" --version OUTPUT_VARIABLE nvcc_says ERROR_QUIET)
  if(NOT nvcc_says MATCHES "release ([0-9]+\\.[0-9]+)" OR CMAKE_MATCH_1 VERSION_LESS 12.5)
    set(left_out "${RAGDOT_NVCC} is not nvcc 12.5 or later")
  endif()
endif()
set(RAGDOT_CUDA_LEFT_OUT "${left_out}" CACHE INTERNAL "Why libragdot_cuda is not built; empty: it is")
if(left_out)
  message(STATUS "cuda: without libragdot_cuda: ${left_out}")
  return()
endif()

if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER "${RAGDOT_NVCC}")
endif()
set(CMAKE_CUDA_ARCHITECTURES 90a-real)
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
add_library(ragdot_cuda_device MODULE ${device_sources})
target_include_directories(ragdot_cuda_device PRIVATE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
set_target_properties(ragdot_cuda_device PROPERTIES OUTPUT_NAME ragdot_cuda CUDA_STANDARD 20 CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden
  LINK_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/ragdot_cuda.map")
# Asserts in kernels cost registers in every build type.
target_compile_options(ragdot_cuda_device PRIVATE -O3 -DNDEBUG -Werror=all-warnings "-Xcompiler=-Wall,-Wextra")
# The products' own flushing, as on the CPU. The quantisers keep subnormals.
file(GLOB products CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/cuda/device/product*.cu")
set_source_files_properties(${products} PROPERTIES COMPILE_OPTIONS "-ftz=true")
target_link_options(ragdot_cuda_device PRIVATE "LINKER:--no-undefined" "LINKER:--version-script=${CMAKE_CURRENT_LIST_DIR}/ragdot_cuda.map")
install(TARGETS ragdot_cuda_device LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
