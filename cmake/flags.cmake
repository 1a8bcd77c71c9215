# Language, warnings and sanitizers, for every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

add_library(ragdot_flags INTERFACE)
# Contraction would fuse a multiply and an add that the reduction order keeps apart; -ffast-math of a project around this one
# would give other bits and set flush modes for its whole process.
target_compile_options(ragdot_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -ffp-contract=off -fno-fast-math)
target_link_options(ragdot_flags INTERFACE -O2 -fno-fast-math -fno-unsafe-math-optimizations)  # for -Ofast, too
if(PROJECT_IS_TOP_LEVEL)
  target_compile_options(ragdot_flags INTERFACE -Werror)
else()
  target_compile_options(ragdot_flags INTERFACE $<$<CONFIG:>:-O3>)  # 28 times as slow without
endif()
set(RAGDOT_COLD_FLAGS "$<$<CONFIG:Release>:-O1>")  # of code that is never hot and full of templates of others
if(RAGDOT_SANITIZE)
  set(RAGDOT_COLD_FLAGS -O0)
  target_compile_options(ragdot_flags INTERFACE -fsanitize=${RAGDOT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_definitions(ragdot_flags INTERFACE RAGDOT_SANITIZED)
  target_link_options(ragdot_flags INTERFACE -fsanitize=${RAGDOT_SANITIZE})
  if(RAGDOT_SANITIZE MATCHES "implicit-conversion")
    target_compile_options(ragdot_flags INTERFACE "-fsanitize-ignorelist=${PROJECT_SOURCE_DIR}/cmake/conversions_of_others.txt")
  endif()
  if(RAGDOT_SANITIZE MATCHES "fuzzer")  # what fuzz targets are not linked to gives them no coverage
    set(RAGDOT_NO_COVERAGE -fno-sanitize=fuzzer-no-link)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 sees uninitialised members inside <regex> and <functional> once sanitizers are on.
    target_compile_options(ragdot_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()
