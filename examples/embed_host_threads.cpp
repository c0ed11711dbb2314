// SPDX-License-Identifier: Apache-2.0
// A program that owns its threads lends them to the executor: its parallel-for replaces ours.
//   embed_host_threads examples/models/fashion_resnet.onnx

#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/ptq.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

namespace {

/// Stands for the host's pool. Bodies never throw, and may run in any order or at once.
void host_parallel_for(int workers, const std::function<void(int)>& body) {
  std::vector<std::jthread> threads;
  for (int w = 1; w < workers; ++w) threads.emplace_back([&body, w] { body(w); });
  body(0);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const ptq::graph network = ptq::fuse(ptq::fold(ptq::import_model(argv[1])));
  const ptq::program program = ptq::lower(network, ptq::dispatched_kernels());
  // A program is immutable and may be shared; each session has the memory of one run at a time.
  ptq::session alone(program);
  ptq::session lent(program, {.threads = 2, .workers = host_parallel_for});
  std::vector<ptq::tensor> inputs;
  for (std::size_t i = 0; i < program.inputs.size(); ++i)
    inputs.emplace_back(program.input(i).type, program.input(i).dims);
  const auto a = alone.run(inputs), b = lent.run(inputs);
  for (std::size_t i = 0; i < a.size(); ++i)
    std::printf("'%s': %s\n", program.outputs[i].name.c_str(),
                std::equal(a[i].data(), a[i].data() + a[i].byte_count(), b[i].data())
                    ? "the same bits on 1 thread and on 2"
                    : "different");
} catch (const ptq::error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
