// SPDX-License-Identifier: Apache-2.0
#include "run_relu.hpp"
#include "tables.hpp"

compiled_part native_part() {
  return {&ptq::native_kernels(), ptq::native::best::name, run_relu(ptq::native_kernels())};
}
