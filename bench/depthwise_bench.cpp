// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions do 9 or 25 multiply-adds per byte: their share of the peak is bound by
// loads.
#include "conv_subject.hpp"
#include "shapes.hpp"

int main(int argc, char** argv) {
  return ptq_bench::run_all(argc, argv, [](int, char**) {
    for (const auto& s : ptq_bench::depthwise_shapes) ptq_bench::add_conv(s.origin, s.geometry);
  });
}
