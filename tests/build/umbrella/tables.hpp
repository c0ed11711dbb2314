#pragma once
// SPDX-License-Identifier: Apache-2.0
// The umbrella header in two files of one program: each hands out the table that it was compiled
// to, and a result that the pipeline's stages had a part in.

#include <ptq/kernels/table.hpp>

struct compiled_part {
  const ptq::kernels::kernel_table* table;
  const char* expected;  // the name of the ISA that the file's flags allow
  float result;  // of a small network run by the table
};

compiled_part baseline_part();
compiled_part native_part();
