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
    const graph& g, const std::vector<quantization::scalable>& values, samples data,
    const kernels::kernel_table& table, int threads) {
  quantization::channel_magnitudes seen;
  std::map<std::string, bool, std::less<>> last;
  for (const auto& s : values) {
    last.emplace(s.value, s.last);
    seen[s.value].resize(static_cast<std::size_t>(s.channels));
  }
  runner run(g, table, {.threads = threads, .keep_values = true});
  const tap_function tap = [&](const tapped& t) {
    const auto it = last.find(t.value);
    if (it == last.end() || t.type != dtype::f32 || t.dims.rank() < 2) return;
    auto& most = seen.find(t.value)->second;
    const int axis = it->second ? t.dims.rank() - 1 : 1;
    if (t.dims[axis] != static_cast<std::int64_t>(most.size())) return;
    const auto stride = lowering::strides_in(t.dims, t.memory)[static_cast<std::size_t>(axis)];
    const auto* x = static_cast<const float*>(t.data);
    for (std::int64_t i = 0; i < t.size(); ++i) {
      auto& m = most[static_cast<std::size_t>(i / stride % t.dims[axis])];
      m = std::max(m, std::fabs(x[i]));
    }
  };
  data.rewind();
  for (auto s = data.next(); s; s = data.next()) run.run(*s, tap);
  return seen;
}

}  // namespace ptq::recovering
