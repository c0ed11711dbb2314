# SPDX-License-Identifier: Apache-2.0
# oneDNN (2.6 and 3.x) without its own package files: Debian 12's dnnl-config.cmake fails where the OpenCL headers are not
# installed, though the library for the CPU does not need them.
#
# Result: PtqDnnl_FOUND, PtqDnnl_VERSION, PtqDnnl_INCLUDE_DIR, PtqDnnl_LIBRARY, target PtqDnnl::dnnl.
# A copy elsewhere: -DCMAKE_PREFIX_PATH=… or -DPtqDnnl_ROOT=….

include(FindPackageHandleStandardArgs)

# The version header also tells dnnl.hpp from an older library of the same name.
find_path(PtqDnnl_INCLUDE_DIR NAMES oneapi/dnnl/dnnl.hpp)
find_library(PtqDnnl_LIBRARY NAMES dnnl)
mark_as_advanced(PtqDnnl_INCLUDE_DIR PtqDnnl_LIBRARY)

set(_ptq_dnnl_header "${PtqDnnl_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h")
if(PtqDnnl_INCLUDE_DIR AND EXISTS "${_ptq_dnnl_header}")
  set(_ptq_dnnl_parts "")
  foreach(_ptq_dnnl_part MAJOR MINOR PATCH)
    file(STRINGS "${_ptq_dnnl_header}" _ptq_dnnl_line
         REGEX "^#define[ \t]+DNNL_VERSION_${_ptq_dnnl_part}[ \t]+[0-9]+" LIMIT_COUNT 1)
    if(_ptq_dnnl_line MATCHES "([0-9]+)[ \t]*$")
      list(APPEND _ptq_dnnl_parts "${CMAKE_MATCH_1}")
    endif()
  endforeach()
  list(JOIN _ptq_dnnl_parts "." PtqDnnl_VERSION)
endif()

find_package_handle_standard_args(PtqDnnl
  REQUIRED_VARS PtqDnnl_LIBRARY PtqDnnl_INCLUDE_DIR
  VERSION_VAR PtqDnnl_VERSION)

if(PtqDnnl_FOUND AND NOT TARGET PtqDnnl::dnnl)
  add_library(PtqDnnl::dnnl UNKNOWN IMPORTED)
  set_target_properties(PtqDnnl::dnnl PROPERTIES
    IMPORTED_LOCATION "${PtqDnnl_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${PtqDnnl_INCLUDE_DIR}")
endif()

unset(_ptq_dnnl_header)
unset(_ptq_dnnl_parts)
unset(_ptq_dnnl_part)
unset(_ptq_dnnl_line)
