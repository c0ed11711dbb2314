// SPDX-License-Identifier: Apache-2.0
// All that runs a model, in one file: the executor is the larger part of what a compiler has to do
// for the tool.

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <utility>
#include <vector>

#ifdef PTQ_CLI_DISPATCH
#include <ptq/compiled.hpp>
#else
#include <ptq/ptq.hpp>
#endif

#include <ptq/data_free.hpp>

#include "measure.hpp"

namespace cli {

ptq::quantize_result quantized(const ptq::graph& network, const ptq::samples& data,
                               const ptq::quantize_options& options) {
  return ptq::quantize(network, kernels(), data, options);
}

ptq::quantize_result quantized_without_data(const ptq::graph& imported, const ptq::graph& network,
                                            const ptq::samples& synthetic,
                                            const ptq::quantize_options& options) {
  ptq::quantize_result r;
  r.observed = ptq::data_free_statistics(imported, network, kernels(), {synthetic, options});
  r.network = ptq::quantize(network, r.observed, options);
  return r;
}

ptq::accuracy accuracy_of(const ptq::graph& model, const ptq::samples& data,
                          std::span<const std::int64_t> labels, const common_arguments& a) {
  ptq::runner run(model, kernels(), {.threads = a.threads});
  return ptq::classify(run, data, labels, {.report = progress_bar(a)});
}

comparison_result comparison_of(const ptq::graph& reference, const ptq::graph& other,
                                const ptq::samples& data, const common_arguments& a) {
  // The first shows every value; the second runs as it ships.
  ptq::runner first(reference, kernels(), {.threads = a.threads, .keep_values = true});
  ptq::runner second(other, kernels(), {.threads = a.threads});
  comparison_result r;
  r.figures = ptq::compare(first, second, data, {.report = progress_bar(a)});
  r.report = ptq::make_report(other.name, second.current_program());
  ptq::add(r.report, r.figures);
  return r;
}

ptq::attribution attribution_of(const ptq::graph& reference, const ptq::graph& other,
                                const ptq::samples& data, const common_arguments& a) {
  return ptq::attribute(reference, other, kernels(), data,
                        {.threads = a.threads, .report = progress_bar(a)});
}

ptq::report_latency latency_of(const ptq::graph& model, const ptq::sample& input,
                               const ptq::latency_options& options, const common_arguments& a) {
  ptq::runner run(model, kernels(), {.threads = a.threads});
  const auto inputs = run.bind(input);
  auto l = ptq::measure_latency(run.current_session(), inputs, options);
  l.threads = a.threads;
  l.isa = run.current_program().isa;
  return l;
}

namespace {

ptq::program lowered(const std::string& path, const std::vector<std::string>& dims, bool keep_recipes,
                     const common_arguments& a) {
  auto model = load_model(path);
  ptq::lower_options options;
  options.input_shapes = bound_inputs(model, dims);
  options.threads = a.threads;
  options.keep_recipes = keep_recipes;
  return ptq::lower(std::move(model), kernels(), options);
}

double ms_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

bool is_prepared(const std::string& path) { return ptq::is_saved_program(path); }

ptq::program prepared(const std::string& path, const common_arguments& a) {
  return ptq::load_program(path, kernels(), {.threads = a.threads});
}

void prepare_file(const prepare_arguments& a) {
  ptq::save_program(lowered(a.model, a.dims, true, a), kernels(), a.out);
}

timed_program timed(const benchmark_arguments& a) {
  const bool ready = is_prepared(a.model);
  if (ready && !a.dims.empty()) throw ptq::data_error("--dim: a prepared program has its extents");
  const auto begin = std::chrono::steady_clock::now();
  timed_program t;
  t.program = ready ? prepared(a.model, a) : lowered(a.model, a.dims, false, a);
  t.ready_ms = ms_since(begin);
  std::mt19937_64 random(a.seed);
  for (std::size_t i = 0; i < t.program.inputs.size(); ++i) {
    t.inputs.emplace_back(t.program.input(i).type, t.program.input(i).dims);
    fill(t.inputs.back(), random);
  }
  return t;
}

program_times times_of(const timed_program& p, const benchmark_arguments& a) {
  ptq::execute_options options;
  options.threads = a.threads;
  program_times times;
  const auto begin = std::chrono::steady_clock::now();
  ptq::session session(p.program, options);
  session.run(p.inputs);
  times.first_ms = ms_since(begin);
  times.later = ptq::measure_latency(session, p.inputs, {.warm_up = a.warm_up, .repeats = a.repeats});
  times.later.threads = a.threads;
  times.later.isa = p.program.isa;
  if (!a.per_layer) return times;
  for (const auto& s : ptq::make_report(a.model, p.program).layers) times.steps.push_back({s, 0});
  for (int i = 0; i < a.repeats; ++i) {
    const auto ns = session.step_times(p.inputs);
    for (std::size_t k = 0; k < ns.size(); ++k)
      times.steps[k].ms = i == 0 ? ns[k] * 1e-6 : std::min(times.steps[k].ms, ns[k] * 1e-6);
  }
  return times;
}

ptq::report steps_of(const ptq::graph& model, const ptq::sample& input) {
  ptq::runner run(model, kernels());
  return ptq::make_report(model.name, run.program_for(input));
}

std::vector<ptq::tensor> outputs_of(const ptq::graph& model, const ptq::sample& input,
                                    const common_arguments& a) {
  ptq::runner run(model, kernels(), {.threads = a.threads});
  return run.run(input);
}

std::vector<ptq::tensor> outputs_of(const ptq::program& p, const ptq::sample& input,
                                    const common_arguments& a) {
  std::vector<ptq::tensor> inputs(p.inputs.size());
  for (std::size_t i = 0; i < input.inputs.size(); ++i)
    for (std::size_t port = 0; port < inputs.size(); ++port) {
      const auto& [name, value] = input.inputs[i];
      if (name.empty() ? port == i : name == p.inputs[port].name)
        inputs[port] = ptq::detail_runner::as_type(name, p.input(port).type, value);
    }
  ptq::execute_options options;
  options.threads = a.threads;
  return ptq::execute(p, inputs, options);
}

}  // namespace cli
