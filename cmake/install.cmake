# SPDX-License-Identifier: Apache-2.0
# find_package(ptq) gives ptq::ptq, and ptq::dispatch if it was built.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ptq)

install(TARGETS ptq EXPORT ptq_targets
  FILE_SET headers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILE_SET kernels DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(PTQ_BUILD_DISPATCH)
  install(TARGETS ptq_dispatch EXPORT ptq_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(EXPORT ptq_targets FILE ptq-targets.cmake NAMESPACE ptq:: DESTINATION ${package_dir})
configure_package_config_file(cmake/ptq-config.cmake.in ${PROJECT_BINARY_DIR}/ptq-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ptq-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ptq-config.cmake ${PROJECT_BINARY_DIR}/ptq-config-version.cmake
  cmake/FindPtqXsimd.cmake cmake/FindPtqProtozero.cmake cmake/FindPtqDnnl.cmake cmake/FindPtqStb.cmake
  DESTINATION ${package_dir})
