// SPDX-License-Identifier: Apache-2.0
// Products with a constant right side, which programs run as 1×1 convolutions.
#include "conv_subject.hpp"
#include "shapes.hpp"

int main(int argc, char** argv) {
  return ptq_bench::run_all(argc, argv, [](int, char**) {
    for (const auto& s : ptq_bench::gemm_shapes) {
      ptq::kernels::conv_geometry g;
      g.in_w = g.out_w = s.m;
      g.in_c = s.k;
      g.out_c = s.n;
      ptq_bench::add_conv(s.origin, g);
    }
  });
}
