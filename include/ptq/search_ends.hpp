#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: the ends of the search for layers to give back: what it starts from, and what correction makes
// of the model that it ends with.

#include <algorithm>
#include <utility>

#include <ptq/calibrate.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize.hpp>
#include <ptq/quantize/groups.hpp>
#include <ptq/recovery/flow.hpp>

namespace ptq::control {

/// quantize's two stages, observing what a mover yields as well: it needs a range of its own once the
/// mover runs in float.
struct watching_quantizer {
  calibrate_options observations(const graph& g, const quantize_options& o) const {
    auto watch = ptq::observations(g, o);
    for (const auto& group : quantization::revertible_groups(quantization::place(g, o)))
      for (const auto& v : group.values)
        if (g.find(v) != none &&
            std::find(watch.values.begin(), watch.values.end(), v) == watch.values.end())
          watch.values.push_back(v);
    return watch;
  }
  graph quantized(const graph& g, const statistics& s, const quantize_options& o) const {
    return ptq::quantize(g, s, o);
  }
};

/// The float network, statistics and options that the search quantizes with.
template <class = void>
quantize_result starting_point(const graph& g, const kernels::kernel_table& table,
                               samples calibration, const quantize_options& o) {
  const watching_quantizer quantizer;
  if (o.effort.level == effort::fast && !o.effort.tune)
    return {g, calibrate(g, table, std::move(calibration), quantizer.observations(g, o)), {}, o};
  auto r = recovering::flow(g, table, std::move(calibration), o, quantizer).prepared();
  return {std::move(r.network), std::move(r.observed), std::move(r.report), std::move(r.options)};
}

/// A network that was quantized from `real`, biases and weights corrected as `quantize` does it with the same effort.
///
/// returns  recovery.steps: those that were tried, and whether samples held back from calibration say to keep them
template <class = void>
quantize_result finished(const graph& real, graph q, const kernels::kernel_table& table, samples calibration,
                         const quantize_options& o) {
  auto r = recovering::flow(real, table, std::move(calibration), o, watching_quantizer()).finished(std::move(q));
  return {std::move(r.network), {}, std::move(r.report), std::move(r.options)};
}

}  // namespace ptq::control
