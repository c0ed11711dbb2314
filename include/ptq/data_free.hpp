#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: statistics without data. Batch-norms tell where numbers lie (data_free/moments.hpp);
// synthetic samples (data/synthetic.hpp) tell of the values that they don't reach.
//
//   auto imported = import_model(file);
//   auto network = fuse(fold(imported));
//   auto observed = data_free_statistics(imported, network, table, {synthetic, options});
//   auto result = quantize(network, observed, options);

#include <utility>

#include <ptq/calibrate.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/data_free/moments.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize.hpp>

namespace ptq {

struct data_free_options {
  samples synthetic;
  quantize_options quantize = {};
};

/// Ranges and channel means for `quantize`.
///
/// imported  as the file holds it; network: the same, folded and fused
/// returns   of every value that `quantize` asks for: those of batch-norms where they tell, else
///           what the synthetic samples show
/// throws    as observations and calibrate
inline statistics data_free_statistics(const graph& imported, const graph& network,
                                       const kernels::kernel_table& table,
                                       const data_free_options& options) {
  auto observed =
      calibrate(network, table, options.synthetic, observations(network, options.quantize));
  const auto told = batch_norm_moments(imported);
  for (auto& [name, v] : observed.values) {
    const auto m = told.find(name);
    if (m == told.end()) continue;
    v.range = m->second.range();
    if (v.channel_means.size() == m->second.mean.size()) v.channel_means = m->second.mean;
  }
  return observed;
}

}  // namespace ptq
