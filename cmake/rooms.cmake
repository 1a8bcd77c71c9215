# ragdot_room(name [libraries...]): the object library ragdot_<name> from src/<name> (or <name>), without its tests and without
# what RAGDOT_LEFT_OUT matches.
# ragdot_test(name sources... [LINK libraries...] [LABEL label] [TIMEOUT s]): a GoogleTest program over all rooms.
set(RAGDOT_ROOMS "" CACHE INTERNAL "")

# ragdot_need(package debian): finds it, or says what to install.
macro(ragdot_need package debian)
  find_package(${package} QUIET)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "ragdot is built with ${package}, which is not installed (Debian: ${debian})")
  endif()
endmacro()

function(ragdot_room room)
  set(folder "${PROJECT_SOURCE_DIR}/src/${room}")
  if(NOT IS_DIRECTORY "${folder}")
    set(folder "${PROJECT_SOURCE_DIR}/${room}")
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${folder}/*.cpp")
  list(FILTER sources EXCLUDE REGEX "_(test|sweep)\\.cpp$")
  if(RAGDOT_LEFT_OUT)
    list(FILTER sources EXCLUDE REGEX "${RAGDOT_LEFT_OUT}")
  endif()
  if(NOT sources)
    return()
  endif()
  add_library(ragdot_${room} OBJECT ${sources})
  target_include_directories(ragdot_${room} PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(ragdot_${room} PUBLIC RAGDOT_VERSION="${PROJECT_VERSION}")
  target_link_libraries(ragdot_${room} PUBLIC ragdot_flags fmt::fmt-header-only ${ARGN})
  set(RAGDOT_ROOMS "${RAGDOT_ROOMS};ragdot_${room}" CACHE INTERNAL "")
endfunction()
