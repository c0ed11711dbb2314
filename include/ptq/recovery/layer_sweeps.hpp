#pragma once
// SPDX-License-Identifier: Apache-2.0
// Steps that improve the integer layers one after the other, on what the layers before really give:
// sweeps over the samples through the quantized network and, beside it, the float one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <ptq/data/activation_cache.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute/sweep.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/optimised_rounding.hpp>
#include <ptq/quantize/sequential_correction.hpp>
#include <ptq/recovery/real_layers.hpp>

namespace ptq::recovering {

struct sweep_options {
  std::int64_t count = 0;  // of the samples
  std::size_t memory = 0;  // bytes of activations; what does not fit goes to a temporary file
  int threads = 1;
};

class layer_sweeps {
 public:
  /// q         made from `real`
  /// data      all of the same extents
  /// throws    unsupported or shape_error where the networks can't be cut into parts
  layer_sweeps(const graph& real, const graph& q, samples data, const kernels::kernel_table& table,
               sweep_options o)
      : real_(at_extents_of(real, table, *data.at(0))),
        quantized_(q),
        fixed_(at_extents_of(q, table, *data.at(0))),
        data_(std::move(data)),
        table_(&table),
        options_(o),
        layers_(real_layers_of(real_, fixed_, data_, o.count, table, o.threads)) {}

  /// With every bias corrected in sequence.
  graph corrected() const {
    activation_cache cache(room());
    auto run = swept(fixed_, cache);
    return quantization::with_layers_of(
        quantized_, quantization::sequentially_corrected(fixed_, layers_, run));
  }

  /// With weights rounded for what arrives and for what the float network makes of it, and biases
  /// corrected.
  ///
  /// limit  codes lie in −limit … limit
  graph rounded(int limit) const {
    // Codes take a quarter of the room that float numbers take.
    activation_cache cache(room() / 4), beside(room() - room() / 4);
    auto run = swept(fixed_, cache), real_run = swept(real_, beside);
    quantization::real_inputs inputs(real_, layers_, real_run);
    return quantization::with_layers_of(
        quantized_, quantization::rounded_for_inputs(fixed_, layers_, {.limit = limit}, run, &inputs));
  }

  /// With the weights of small convolutions rounded for what arrives there, and all biases corrected;
  /// nothing where no convolution is small enough.
  std::optional<graph> rounded_where_small(int limit) const {
    const auto rule = quantization::small_convolutions(limit);
    if (std::ranges::none_of(fixed_.nodes, [&](const node& n) {
          return quantization::is_integer_layer(fixed_, n) &&
                 quantization::can_round(fixed_, n, layers_, rule);
        }))
      return {};
    activation_cache cache(room());
    auto run = swept(fixed_, cache);
    return quantization::with_layers_of(
        quantized_, quantization::rounded_for_inputs(fixed_, layers_, rule, run));
  }

 private:
  /// For what is kept: a part's inputs, outputs and buffers of one sample need room too.
  std::size_t room() const {
    std::size_t largest = 0;
    for (const auto& v : fixed_.values)
      if (!v.constant) largest = std::max(largest, static_cast<std::size_t>(v.dims.size()));
    const std::size_t one = 6 * sizeof(float) * largest;
    return options_.memory > one ? options_.memory - one : 0;
  }
  sweep swept(const graph& g, activation_cache& cache) const {
    sweep run(g, data_, options_.count, *table_, cache);
    run.threads = options_.threads;
    return run;
  }

  graph real_, quantized_, fixed_;  // fixed: quantized, of known extents
  samples data_;
  const kernels::kernel_table* table_;
  sweep_options options_;
  quantization::real_layers layers_;
};

}  // namespace ptq::recovering
