# The library users link: libragdot from the objects of all rooms, what it exports, and how it is installed.
include(CMakePackageConfigHelpers)

add_library(ragdot SHARED)
add_library(ragdot::ragdot ALIAS ragdot)
target_link_libraries(ragdot PRIVATE ${RAGDOT_ROOMS})
set(headers "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
target_include_directories(ragdot PUBLIC ${headers})
target_compile_features(ragdot PUBLIC cxx_std_20)
if(NOT SKBUILD)
  set_target_properties(ragdot PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
endif()
configure_file("${CMAKE_CURRENT_LIST_DIR}/ragdot.map.in" "${PROJECT_BINARY_DIR}/ragdot.map" @ONLY)
set_target_properties(ragdot PROPERTIES LINK_DEPENDS "${PROJECT_BINARY_DIR}/ragdot.map")
target_link_options(ragdot PRIVATE "LINKER:--version-script=${PROJECT_BINARY_DIR}/ragdot.map")
# It stays where it was loaded: oneTBB's threads sleep in code that would go with it.
target_link_options(ragdot PRIVATE "LINKER:-z,nodelete")
# Its calls are its own: a process may hold two copies, one that it links and one of a Python package.
target_link_options(ragdot PRIVATE "LINKER:-Bsymbolic")
if(NOT RAGDOT_SANITIZE)
  target_link_options(ragdot PRIVATE "LINKER:--no-undefined")
endif()

# For those who use ragdot.h alone: it asks for no C++20.
add_library(ragdot_c INTERFACE)
add_library(ragdot::c ALIAS ragdot_c)
set_target_properties(ragdot_c PROPERTIES EXPORT_NAME c)
target_include_directories(ragdot_c INTERFACE ${headers})
target_link_libraries(ragdot_c INTERFACE "$<LINK_ONLY:ragdot>")

if(NOT RAGDOT_INSTALL)
  return()
endif()
set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ragdot")
install(TARGETS ragdot ragdot_c EXPORT ragdot LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/ragdot" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT ragdot NAMESPACE ragdot:: FILE ragdot-targets.cmake DESTINATION "${config_dir}")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/ragdot-config.cmake.in" "${PROJECT_BINARY_DIR}/ragdot-config.cmake" INSTALL_DESTINATION "${config_dir}")
# 0.x: another minor version may change the C++ interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/ragdot-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/ragdot-config.cmake" "${PROJECT_BINARY_DIR}/ragdot-config-version.cmake" DESTINATION "${config_dir}")
file(RELATIVE_PATH RAGDOT_PC_PREFIX "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
configure_file("${CMAKE_CURRENT_LIST_DIR}/ragdot.pc.in" "${PROJECT_BINARY_DIR}/ragdot.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/ragdot.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
if(NOT SKBUILD)  # wheels have theirs
  install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/ragdot")
endif()
