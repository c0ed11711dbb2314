#pragma once
// SPDX-License-Identifier: Apache-2.0
// Whether the CPU could run faster kernels than a table has: a fact for reports, never a decision.

#include <string>
#include <string_view>

#include <ptq/kernels/amx.hpp>

namespace ptq::lowering {

/// The best ISA of ours that this CPU has, or "" where we can't tell.
inline std::string_view cpu_isa() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
    if (!__builtin_cpu_supports("avx512vnni")) return "avx512";
    return kernels::cpu_has_amx_int8() ? "amx_int8" : "avx512_vnni";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
  if (__builtin_cpu_supports("sse4.1")) return "sse41";
#endif
  return "";
}

/// A sentence for the report, or "".
inline std::string slower_than_cpu(std::string_view isa) {
  if (isa == "reference") return "";
  const auto rank = [](std::string_view name) {
    constexpr std::string_view ladder[] = {"portable", "sse41", "avx2", "avx_vnni", "avx512", "avx512_vnni", "amx_int8"};
    int r = 0;
    for (auto step : ladder) {
      if (step == name) return r;
      ++r;
    }
    return -1;
  };
  const auto cpu = cpu_isa();
  if (cpu.empty() || rank(isa) < 0 || rank(isa) >= rank(cpu)) return "";
  return "built for " + std::string(isa) + ", this CPU has " + std::string(cpu) +
         ": add -march=native or link ptq::dispatch";
}

}  // namespace ptq::lowering
