// SPDX-License-Identifier: Apache-2.0
// All that runs a model, in one file: the executor is the larger part of what a compiler has to do
// for the tool.

#include <algorithm>
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

ptq::report_latency latency_of(const ptq::graph& model, const ptq::sample& input,
                               const ptq::latency_options& options, const common_arguments& a) {
  ptq::runner run(model, kernels(), {.threads = a.threads});
  const auto inputs = run.bind(input);
  auto l = ptq::measure_latency(run.current_session(), inputs, options);
  l.threads = a.threads;
  l.isa = run.current_program().isa;
  return l;
}

std::vector<step_time> step_times_of(const ptq::graph& model, const ptq::sample& input, int repeats,
                                     const common_arguments& a) {
  ptq::runner run(model, kernels(), {.threads = a.threads});
  const auto inputs = run.bind(input);
  const auto steps = ptq::make_report(model.name, run.current_program()).layers;
  std::vector<step_time> times;
  for (const auto& s : steps) times.push_back({s, 0});
  for (int i = 0; i < repeats; ++i) {
    const auto ns = run.current_session().step_times(inputs);
    for (std::size_t k = 0; k < ns.size(); ++k)
      times[k].ms = i == 0 ? ns[k] * 1e-6 : std::min(times[k].ms, ns[k] * 1e-6);
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

}  // namespace cli
