#pragma once
// SPDX-License-Identifier: Apache-2.0
// Kernels of every ISA in one binary, the best of them chosen at run time. Declared here, defined
// by the library ptq::dispatch (kernels/dispatch.cpp and kernels/isa/*.cpp).

#include <span>
#include <vector>

#include <ptq/kernels/table.hpp>

namespace ptq {

/// The best table that this CPU runs, or the one that the environment variable PTQ_ISA names.
///
/// throws  unsupported  if PTQ_ISA names no table, or one that this CPU can't run; the text lists
/// the choices
const kernels::kernel_table& dispatched_kernels();

/// All tables that this CPU runs, best first; never empty (`portable` runs everywhere). PTQ_ISA
/// plays no part.
std::span<const kernels::kernel_table* const> available_kernels();

/// 8-bit convolution through oneDNN, to compare with and to fall back on; null without oneDNN. Not among
/// the tables above: on a CPU without VNNI oneDNN's sums saturate.
const kernels::kernel_table* onednn_int8_kernels();

/// A table that the library carries.
struct built_kernel {
  const kernels::kernel_table* table = nullptr;
  bool supported = false;  // by this CPU and operating system
};

/// Every table that the library carries, best first.
std::vector<built_kernel> built_kernels();

}  // namespace ptq
