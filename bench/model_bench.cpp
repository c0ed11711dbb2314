// SPDX-License-Identifier: Apache-2.0
// Whole models on one thread, batch 1: float by oneDNN where it is, float by our own kernels, and
// 8-bit. Measures the example models, and every .onnx file named on the command line.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ptq/dispatch.hpp>
#include <ptq/execute.hpp>
#include <ptq/fold.hpp>
#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#include <ptq/quantize.hpp>

#include "measure.hpp"

namespace {

using namespace ptq;

sample random_sample(const graph& g, std::uint32_t seed) {
  sample s;
  for (auto id : g.inputs) {
    shape dims = g[id].dims;
    for (auto& d : dims.dims) d = d < 0 ? 1 : d;
    s.inputs.push_back({g[id].name, g[id].type == dtype::f32 ? ptq_bench::random_reals(dims, seed)
                                                             : tensor(g[id].type, dims)});
  }
  return s;
}

/// A float network and its 8-bit form; ranges of random inputs serve for time, not for accuracy.
struct network {
  graph real, codes;

  explicit network(const std::string& file) : real(fuse(fold(import_model(file)))) {
    const graph& g = real;
    codes = quantize(real, dispatched_kernels(), [&g](std::int64_t i) -> std::optional<sample> {
              return i < 4 ? std::optional(random_sample(g, static_cast<std::uint32_t>(i + 1)))
                           : std::nullopt;
            }).network;
  }
};

enum class way { one_dnn, own_float, codes };

void run_model(benchmark::State& state, const network& n, way how) {
  const graph& g = how == way::codes ? n.codes : n.real;
  const sample s = random_sample(g, 1);
  runner run(g, dispatched_kernels(), {.fast_float = how == way::one_dnn});
  const auto inputs = run.bind(s);
  const auto y = run.run(s);
  // Integers are the same to the bit with the reference table; float differs in the order of sums.
  if (how != way::one_dnn) {
    runner reference(g, kernels::reference_kernels(), {.fast_float = false});
    const auto expected = reference.run(s);
    for (std::size_t i = 0; i < y.size(); ++i)
      if (std::memcmp(y[i].data(), expected[i].data(), y[i].byte_count()) != 0)
        return state.SkipWithError("differs from the reference");
  }
  auto& session = run.current_session();
  for (auto _ : state) benchmark::DoNotOptimize(session.run(inputs));
  state.counters["steps"] = static_cast<double>(run.current_program().steps.size());
  state.SetLabel(run.current_program().isa);
}

void add_model(const std::string& file) {
  const auto name = std::filesystem::path(file).stem().string();
  const auto shared = std::make_shared<const network>(file);
  ptq_bench::add(name + "/float/oneDNN",
                 [=](benchmark::State& state) { run_model(state, *shared, way::one_dnn); });
  ptq_bench::add(name + "/float/own",
                 [=](benchmark::State& state) { run_model(state, *shared, way::own_float); });
  ptq_bench::add(name + "/int8",
                 [=](benchmark::State& state) { run_model(state, *shared, way::codes); });
}

void register_all(int argc, char** argv) {
  for (const auto& entry : std::filesystem::directory_iterator(PTQ_MODELS))
    if (entry.path().extension() == ".onnx") add_model(entry.path().string());
  for (int i = 1; i < argc; ++i) add_model(argv[i]);
}

}  // namespace

int main(int argc, char** argv) { return ptq_bench::run_all(argc, argv, register_all); }
