# SPDX-License-Identifier: Apache-2.0
# stb's single-file headers (images, deflate). Defines PtqStb::stb.
find_path(PtqStb_INCLUDE_DIR stb/stb_image.h)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(PtqStb REQUIRED_VARS PtqStb_INCLUDE_DIR)
if(PtqStb_FOUND AND NOT TARGET PtqStb::stb)
  add_library(PtqStb::stb INTERFACE IMPORTED)
  set_target_properties(PtqStb::stb PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${PtqStb_INCLUDE_DIR})
endif()
mark_as_advanced(PtqStb_INCLUDE_DIR)
