# SPDX-License-Identifier: Apache-2.0
# protozero ships headers and, in Debian, no CMake package. Defines PtqProtozero::protozero.
find_path(PtqProtozero_INCLUDE_DIR protozero/pbf_reader.hpp)
if(PtqProtozero_INCLUDE_DIR)
  file(STRINGS ${PtqProtozero_INCLUDE_DIR}/protozero/version.hpp line REGEX "PROTOZERO_VERSION_STRING")
  string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" PtqProtozero_VERSION "${line}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(PtqProtozero
  REQUIRED_VARS PtqProtozero_INCLUDE_DIR VERSION_VAR PtqProtozero_VERSION)
if(PtqProtozero_FOUND AND NOT TARGET PtqProtozero::protozero)
  add_library(PtqProtozero::protozero INTERFACE IMPORTED)
  set_target_properties(PtqProtozero::protozero PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${PtqProtozero_INCLUDE_DIR})
endif()
mark_as_advanced(PtqProtozero_INCLUDE_DIR)
