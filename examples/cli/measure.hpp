#pragma once
// SPDX-License-Identifier: Apache-2.0
// What runs a model, each defined once, in execution.cpp.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

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

/// Time of one inference on a sample.
ptq::report_latency latency_of(const ptq::graph& model, const ptq::sample& input,
                               const ptq::latency_options& options, const common_arguments& a);

/// Milliseconds of every step: the least of several runs.
struct step_time {
  ptq::report_layer step;
  double ms = 0;
};
std::vector<step_time> step_times_of(const ptq::graph& model, const ptq::sample& input, int repeats,
                                     const common_arguments& a);

/// The steps that would run on a sample.
ptq::report steps_of(const ptq::graph& model, const ptq::sample& input);

std::vector<ptq::tensor> outputs_of(const ptq::graph& model, const ptq::sample& input,
                                    const common_arguments& a);

}  // namespace cli
