#pragma once
// SPDX-License-Identifier: Apache-2.0
// Largest magnitude of every channel of some values, over samples: what equalisation goes by.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/equalize.hpp>

namespace ptq::recovering {

inline quantization::channel_magnitudes magnitudes_of(
    const graph& g, const std::vector<quantization::channel_group>& groups, samples data,
    const kernels::kernel_table& table, int threads) {
  quantization::channel_magnitudes seen;
  std::map<std::string, int, std::less<>> axes;
  for (const auto& group : groups)
    for (const auto& m : group.members) axes.emplace(m.value, m.axis);
  const auto u = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  const auto larger = [](float m, float x) { return std::max(m, std::fabs(x)); };
  runner run(g, table, {.threads = threads, .keep_values = true});
  const tap_function tap = [&](const tapped& t) {
    const auto it = axes.find(t.value);
    if (it == axes.end() || t.type != dtype::f32 || t.dims.rank() <= it->second) return;
    auto& most = seen[it->first];
    const auto channels = t.dims[it->second];
    most.resize(static_cast<std::size_t>(channels));
    const auto stride = lowering::strides_in(t.dims, t.memory)[static_cast<std::size_t>(it->second)];
    const auto* x = static_cast<const float*>(t.data);
    const auto size = t.size();
    if (stride == 1) {
      for (const auto* end = x + size; x < end; x += channels)
        for (std::int64_t c = 0; c < channels; ++c) most[u(c)] = larger(most[u(c)], x[c]);
      return;
    }
    for (std::int64_t i = 0; i < size; i += stride) {
      auto& m = most[u(i / stride % channels)];
      for (std::int64_t k = 0; k < stride; ++k) m = larger(m, x[i + k]);
    }
  };
  data.rewind();
  for (auto s = data.next(); s; s = data.next()) run.run(*s, tap);
  return seen;
}

}  // namespace ptq::recovering
