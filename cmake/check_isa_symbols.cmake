# SPDX-License-Identifier: Apache-2.0
# An object that is compiled for one ISA may define nothing that the linker could take in place of
# another object's symbol: no global and no weak symbol but its table. Otherwise a function compiled
# for AVX-512 could be the one that a baseline CPU runs.
#   cmake -D NM=nm -D OBJECT=x.o -D TABLE=ptq::isa::avx2 -P cmake/check_isa_symbols.cmake
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND ${NM} --demangle --extern-only --defined-only ${OBJECT}
  OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE ";" "," text "${text}")
string(REGEX REPLACE "\n+$" "" text "${text}")
string(REPLACE "\n" ";" lines "${text}")
set(leaks "")
set(table_found FALSE)
foreach(line IN LISTS lines)
  if(NOT line MATCHES "^[0-9a-fA-F]* +([A-Za-z]) (.*)$")
    continue()
  endif()
  set(name "${CMAKE_MATCH_2}")
  if(name STREQUAL TABLE)
    set(table_found TRUE)
  elseif(NOT name MATCHES "^DW\\.ref\\.")  # a pointer to the personality routine, the same in every object
    string(APPEND leaks "  ${line}\n")
  endif()
endforeach()
if(NOT table_found)
  message(FATAL_ERROR "isa symbols: ${OBJECT}: expected the symbol ${TABLE}, got none")
endif()
if(leaks)
  message(FATAL_ERROR "isa symbols: ${OBJECT}: expected no symbol but ${TABLE}, got\n${leaks}")
endif()
message(STATUS "isa symbols: ${TABLE} is the only symbol")
