// SPDX-License-Identifier: Apache-2.0
// A float model and samples in, an INT8 model out: quantize_in_15_lines in.onnx samples.npy out.onnx
#include <iostream>
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/ptq.hpp>

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  auto network = ptq::fuse(ptq::fold(ptq::import_model(argv[1])));
  auto result = ptq::quantize(network, ptq::dispatched_kernels(), ptq::npy_samples(argv[2]));
  ptq::export_model(result.network, argv[3]);
} catch (const ptq::error& e) {
  std::cerr << e.what() << "\n";
  return 1;
}
