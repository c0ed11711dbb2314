# SPDX-License-Identifier: Apache-2.0
# Builds and runs the program in consumer/ against ptq, either installed (WAY=package: find_package) or
# as a folder of its own tree (WAY=subdirectory: add_subdirectory).
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${WORK})
if(WAY STREQUAL "package")
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix --config "${CONFIG}"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  set(from -D ptq_DIR=${WORK}/prefix/lib/cmake/ptq)
  if(NOT EXISTS ${WORK}/prefix/lib/cmake/ptq)
    file(GLOB found ${WORK}/prefix/lib*/cmake/ptq ${WORK}/prefix/lib/*/cmake/ptq)
    set(from -D ptq_DIR=${found})
  endif()
else()
  set(from -D PTQ_SOURCE=${SOURCE})
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/build
  -G ${GENERATOR} -D CMAKE_BUILD_TYPE=Debug ${TOOLS} ${from}
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/build COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/build/headers_only COMMAND_ERROR_IS_FATAL ANY)
if(EXISTS ${WORK}/build/with_dispatch)
  execute_process(COMMAND ${WORK}/build/with_dispatch COMMAND_ERROR_IS_FATAL ANY)
endif()
