// SPDX-License-Identifier: Apache-2.0
// Which kernels this CPU can run, asked once. The only place of the library that reads the
// environment (PTQ_ISA).

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#endif

#include <ptq/core/error.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/kernels/amx.hpp>

#include "isa/library.hpp"

// Defined by the build where oneDNN is found: its entries are of the baseline, like this file.
#ifdef PTQ_WITH_ONEDNN
#include <ptq/native/onednn.hpp>
#include <ptq/native/onednn_int8.hpp>
#endif

namespace ptq {

namespace isa {

kernels::prepared blank(std::size_t bytes) { return {.object = allocate_aligned(bytes)}; }

}  // namespace isa

namespace {

#if defined(__x86_64__) || defined(_M_X64)
/// __builtin_cpu_supports of g++ 12 and clang 14 doesn't know the name.
bool cpu_has_avx_vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1u) != 0;
}
#endif

/// What this CPU runs. __builtin_cpu_supports asks the operating system for the registers too.
struct supported_isas {
  bool portable = true, sse41 = false, avx2 = false, avx_vnni = false, avx512 = false,
       avx512_vnni = false, amx_int8 = false;

  supported_isas() {
#if defined(__x86_64__) || defined(_M_X64)
    __builtin_cpu_init();
    sse41 = __builtin_cpu_supports("sse4.1");
    avx2 = sse41 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    avx_vnni = avx2 && cpu_has_avx_vnni();
    avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512cd");
    avx512_vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    amx_int8 = avx512_vnni && kernels::request_amx();
#endif
  }
};

/// The tables that were built, best first.
struct choices {
  std::array<kernels::kernel_table, 7> tables;
  std::vector<built_kernel> built;
  std::vector<const kernels::kernel_table*> available;

  choices() {
    const supported_isas cpu;
#define PTQ_ISA(name) add(isa::name, cpu.name);
    PTQ_BUILT_ISAS  // by the build: an entry for each, best first
#undef PTQ_ISA
  }
  choices(const choices&) = delete;  // tables are pointed at

  void add(const kernels::kernel_table& kernels, bool supported) {
    kernels::kernel_table& table = tables[built.size()];
    table = kernels;
#ifdef PTQ_WITH_ONEDNN
    table = native::with_onednn(table);
#endif
    built.push_back({&table, supported});
    if (supported) available.push_back(&table);
  }
};

const choices& known() {
  static const choices c;  // filled once, never changed
  return c;
}

}  // namespace

const kernels::kernel_table& dispatched_kernels() {
  const char* wanted = std::getenv("PTQ_ISA");
  if (!wanted || !*wanted) return *known().available.front();
  for (const kernels::kernel_table* t : known().available)
    if (std::strcmp(t->isa, wanted) == 0) return *t;
  std::string names;
  for (const built_kernel& b : known().built) {
    if (!names.empty()) names += ", ";
    names += b.table->isa;
    if (!b.supported) names += " (not on this CPU)";
  }
  throw unsupported("dispatch: PTQ_ISA: expected one of " + names + ", got '" + wanted + "'");
}

std::span<const kernels::kernel_table* const> available_kernels() { return known().available; }

const kernels::kernel_table* onednn_int8_kernels() {
#ifdef PTQ_WITH_ONEDNN
  static const kernels::kernel_table table = native::onednn_int8_table();
  return &table;
#else
  return nullptr;
#endif
}

std::vector<built_kernel> built_kernels() { return known().built; }

}  // namespace ptq
