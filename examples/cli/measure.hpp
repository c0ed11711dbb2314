#pragma once
// SPDX-License-Identifier: Apache-2.0
// What runs a model, each defined once, in execution.cpp.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ptq/attribute.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/report.hpp>

#include "support.hpp"

namespace cli {

ptq::quantize_result quantized(const ptq::graph& network, const ptq::samples& data,
                               const ptq::quantize_options& options);

/// imported: the model as it is in the file.
ptq::quantize_result quantized_without_data(const ptq::graph& imported, const ptq::graph& network,
                                            const ptq::samples& synthetic,
                                            const ptq::quantize_options& options);

ptq::accuracy accuracy_of(const ptq::graph& model, const ptq::samples& data,
                          std::span<const std::int64_t> labels, const common_arguments& a);

/// The second model against the first, and the steps of the second.
struct comparison_result {
  ptq::comparison figures;
  ptq::report report;
};
comparison_result comparison_of(const ptq::graph& reference, const ptq::graph& other,
                                const ptq::samples& data, const common_arguments& a);

ptq::attribution attribution_of(const ptq::graph& reference, const ptq::graph& other,
                                const ptq::samples& data, const common_arguments& a);

/// Time of one inference on a sample.
ptq::report_latency latency_of(const ptq::graph& model, const ptq::sample& input,
                               const ptq::latency_options& options, const common_arguments& a);

/// A program to measure: of a prepared file, or of a model that is lowered now.
struct timed_program {
  ptq::program program;
  std::vector<ptq::tensor> inputs;  // random
  double ready_ms = 0;              // what it took to have the program
};
timed_program timed(const benchmark_arguments& a);

/// Milliseconds of every step: the least of several runs.
struct step_time {
  ptq::report_layer step;
  double ms = 0;
};
struct program_times {
  double first_ms = 0;
  ptq::report_latency later;
  std::vector<step_time> steps;  // with --per-layer
};
program_times times_of(const timed_program& p, const benchmark_arguments& a);

/// Whether `ptq prepare` wrote the file.
bool is_prepared(const std::string& path);

/// The program of a prepared file.
ptq::program prepared(const std::string& path, const common_arguments& a);

/// Model → file.
void prepare_file(const prepare_arguments& a);

/// The steps that would run on a sample.
ptq::report steps_of(const ptq::graph& model, const ptq::sample& input);

std::vector<ptq::tensor> outputs_of(const ptq::graph& model, const ptq::sample& input,
                                    const common_arguments& a);
std::vector<ptq::tensor> outputs_of(const ptq::program& p, const ptq::sample& input,
                                    const common_arguments& a);

}  // namespace cli
