// SPDX-License-Identifier: Apache-2.0
// Links two files that include <ptq/ptq.hpp> under different flags, and runs both tables.

#include <cstdio>
#include <cstring>

#include "tables.hpp"

int main() {
  const compiled_part baseline = baseline_part(), native = native_part();
  std::printf("baseline: %s, -march=native: %s\n", baseline.table->isa, native.table->isa);
  bool fine = baseline.result == 2.0f && native.result == 2.0f;
  for (const compiled_part& part : {baseline, native})
    fine = fine && std::strcmp(part.table->isa, part.expected) == 0 && part.table->qconv != nullptr;
  // Equal names stand for equal flags: then there is one table, and it may be shared.
  if (std::strcmp(baseline.table->isa, native.table->isa) != 0)
    fine = fine && baseline.table->qconv != native.table->qconv &&
           baseline.table->unary != native.table->unary;
  if (!fine) std::puts("umbrella: expected 2 from both files, and kernels of their own under the names of their ISAs");
  return fine ? 0 : 1;
}
