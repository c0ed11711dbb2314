// SPDX-License-Identifier: Apache-2.0
#include "conv_subject.hpp"
#include "shapes.hpp"

int main(int argc, char** argv) {
  return ptq_bench::run_all(argc, argv, [](int, char**) {
    for (const auto& s : ptq_bench::conv_shapes) ptq_bench::add_conv(s.origin, s.geometry);
  });
}
