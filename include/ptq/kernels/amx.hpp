#pragma once
// SPDX-License-Identifier: Apache-2.0
// Whether this process may use AMX's tile registers. They are 8 KiB more that Linux saves for a
// thread, only where the process has asked for them; signal frames grow with them, so only who is
// going to use tiles asks.

#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace ptq::kernels {

/// The CPU multiplies bytes in tiles, and the operating system would save them. Asks for nothing.
///
/// source  Intel SDM vol. 2, CPUID leaf 7; Linux, Documentation/arch/x86/xstate.rst
inline bool cpu_has_amx_int8() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr unsigned amx_tile = 1u << 24, amx_int8 = 1u << 25;
  constexpr long get_supported_states = 0x1021;     // ARCH_GET_XCOMP_SUPP, Linux 5.16
  constexpr unsigned long tile_states = 3ul << 17;  // XFEATURE_XTILECFG, XFEATURE_XTILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & amx_tile) == 0 || (edx & amx_int8) == 0) return false;
  unsigned long states = 0;
  return syscall(SYS_arch_prctl, get_supported_states, &states) == 0 &&
         (states & tile_states) == tile_states;
#else
  return false;
#endif
}

/// Asks the operating system for tiles, for all threads of the process; asking again changes
/// nothing.
///
/// returns  whether tiles may be used; false too where a thread's alternate signal stack is too
///          small for them
inline bool request_amx() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long request_state = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long tile_data = 18;          // XFEATURE_XTILEDATA
  return cpu_has_amx_int8() && syscall(SYS_arch_prctl, request_state, tile_data) == 0;
#else
  return false;
#endif
}

}  // namespace ptq::kernels
