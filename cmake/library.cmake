# The library users link: libragdot from the objects of all rooms, with its install rules.
add_library(ragdot SHARED)
add_library(ragdot::ragdot ALIAS ragdot)
target_link_libraries(ragdot PRIVATE ${RAGDOT_ROOMS})
target_include_directories(ragdot PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
target_compile_features(ragdot PUBLIC cxx_std_20)
set_target_properties(ragdot PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
