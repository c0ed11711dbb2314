// SPDX-License-Identifier: Apache-2.0
// Links the compiled kernels and asks which of them this CPU runs.

#include <cstdio>

#include <ptq/dispatch.hpp>

int main() {
  for (const auto* table : ptq::available_kernels()) std::puts(table->isa);
  return ptq::available_kernels().empty() || !ptq::dispatched_kernels().qconv ? 1 : 0;
}
