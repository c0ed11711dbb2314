#pragma once
// SPDX-License-Identifier: Apache-2.0
// What correction has to know of the float network: weights and biases of the layers that became
// integer, and the means of what they read, from one pass over the samples.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/sequential_correction.hpp>

namespace ptq::recovering {

inline quantization::real_layer layer_of(const graph& g, const node& n) {
  quantization::real_layer r;
  r.weights = *g.constant_of(n.inputs[1]);
  r.bias.assign(quantization::view_of(n, r.weights.dims()).channels, 0.0);
  if (const auto* b = n.inputs.size() > 2 ? g.constant_of(n.inputs[2]) : nullptr) {
    const auto v = b->view<float>();
    for (std::size_t c = 0; c < r.bias.size(); ++c)
      r.bias[c] = static_cast<double>(v[v.size() == 1 ? 0 : c]);
  }
  return r;
}

/// real       float, every extent known
/// quantized  made from it
inline quantization::real_layers real_layers_of(const graph& real, const graph& quantized,
                                                const samples& data, std::int64_t count,
                                                const kernels::kernel_table& table, int threads) {
  using quantization::window_mean;
  quantization::real_layers layers;
  std::map<std::string, std::vector<std::pair<std::string, window_mean>>, std::less<>> watched;
  std::map<std::string_view, const node*> nodes;
  for (const auto& n : real.nodes) nodes.emplace(n.name, &n);
  for (const auto& q : quantized.nodes) {
    const auto it = nodes.find(q.name);
    if (it == nodes.end() || !quantization::is_integer_layer(quantized, q)) continue;
    const auto& n = *it->second;
    if (!real.constant_of(n.inputs[1])) continue;
    const auto& input = real[n.inputs[0]];
    auto layer = layer_of(real, n);
    watched[input.name].emplace_back(
        n.name, window_mean(quantization::window_of(n, layer.weights.dims(), input.dims)));
    layers.emplace(n.name, std::move(layer));
  }
  runner run(real, table, {.threads = threads, .keep_values = true});
  const tap_function tap = [&](const tapped& t) {
    const auto it = watched.find(t.value);
    if (it == watched.end() || t.type != dtype::f32) return;
    const auto strides = lowering::strides_in(t.dims, t.memory);
    for (auto& [name, mean] : it->second)
      mean.add(static_cast<const float*>(t.data), t.dims, strides);
  };
  for (std::int64_t i = 0; i < count; ++i) run.run(*data.at(i), tap);
  for (auto& [value, list] : watched)
    for (auto& [name, mean] : list) layers.find(name)->second.means = mean.means();
  return layers;
}

}  // namespace ptq::recovering
