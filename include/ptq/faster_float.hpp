#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: which layers this machine computes faster in float than on codes. Both are measured, conversions included; a
// group of layers counts where the whole program is faster with it in float. Decided once, when the model is quantized,
// and recorded in it: every machine computes the same then.
//
//   o.restored = layers_faster_in_float(g, table, data, o).scope;
//   quantize(g, table, data, o);

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/accuracy_control.hpp>
#include <ptq/execute.hpp>
#include <ptq/quantize.hpp>
#include <ptq/trial.hpp>

namespace ptq {

struct faster_float_options {
  int repeats = 20;        // runs of each program that is compared; the least counts
  int max_candidates = 32; // groups that are tried, the most promising first
};

/// A layer that stays in float, in microseconds of one run on one thread.
struct faster_layer {
  std::string name;
  double float_us = 0, int8_us = 0;
};

struct faster_float {
  restored_scope scope = {};              // for quantize_options::restored
  std::vector<faster_layer> layers = {};
  double before_us = 0, after_us = 0;     // the whole program
};

namespace detail_faster {

/// Microseconds of two programs run in turn: the sum of every step's least.
template <class = void>
std::pair<double, double> in_turn(const graph& a, const graph& b, const sample& s, const kernels::kernel_table& table,
                                  int repeats) {
  runner first(a, table), second(b, table);
  const auto inputs = first.bind(s), same = second.bind(s);
  std::vector<double> least_a, least_b;
  const auto run = [](runner& r, const std::vector<tensor>& x, std::vector<double>& least) {
    const auto ns = r.current_session().step_times(x);
    if (least.empty()) least = ns;
    for (std::size_t i = 0; i < ns.size(); ++i) least[i] = std::min(least[i], ns[i]);
  };
  for (int i = 0; i < repeats; ++i) {
    run(first, inputs, least_a);
    run(second, same, least_b);
  }
  const auto sum = [](const std::vector<double>& ns) {
    double s = 0;
    for (double x : ns) s += x;
    return s * 1e-3;
  };
  return {sum(least_a), sum(least_b)};
}

}  // namespace detail_faster

/// Layers that are faster in float here.
///
/// g        float, folded and fused
/// data     samples for calibration, of which the first eight are read
/// options  that the model will be quantized with
/// throws   as quantize
template <class = void>
faster_float layers_faster_in_float(const graph& g, const kernels::kernel_table& table, const samples& data,
                                    const quantize_options& options, const faster_float_options& how = {}) {
  quantize_options quick = options;  // times depend on no range
  quick.effort.level = effort::fast;
  quick.effort.tune = false;
  quick.correction = bias_correction::none;
  quick.subset_size = std::min<std::int64_t>(options.subset_size, 8);
  quick.report = {};
  const auto observed = calibrate(g, table, data, control::watching_quantizer{}.observations(g, quick));
  const trial models(g, observed, table, take(data, 1), {.quantize = quick});
  auto best = models.quantized({});
  const auto times = models.step_microseconds({{g}, {best}}, how.repeats);
  const auto &real = times[0], &codes = times[1];
  const auto time_of = [](const std::map<std::string, double>& us, const std::string& node) {
    const auto it = us.find(node);
    return it == us.end() ? 0.0 : it->second;
  };
  std::vector<std::pair<double, int>> promising;  // microseconds saved, group
  for (std::size_t i = 0; i < models.groups().size(); ++i) {
    double saved = 0;
    for (const auto& n : models.groups()[i].nodes) saved += time_of(codes, n) - time_of(real, n);
    if (saved > 0) promising.emplace_back(saved, static_cast<int>(i));
  }
  std::stable_sort(promising.begin(), promising.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  if (promising.size() > static_cast<std::size_t>(how.max_candidates))
    promising.resize(static_cast<std::size_t>(how.max_candidates));

  faster_float r;
  for (const auto& [node, us] : codes) r.before_us += us;
  r.after_us = r.before_us;
  trial::group_set chosen;
  for (const auto& [saved, group] : promising) {
    auto more = chosen;
    more.push_back(group);
    auto changed = models.quantized(more);
    const auto [without, with] = detail_faster::in_turn(best, changed, models.at(0), table, how.repeats);
    // Half of what was hoped for: neighbours may have to convert now.
    if (without - with < saved / 2) continue;
    chosen = std::move(more);
    best = std::move(changed);
    r.after_us = with;
  }
  r.scope = quantization::scope_of(models.groups(), chosen, "");
  for (auto& [node, reason] : r.scope.nodes) {
    const faster_layer l{node, time_of(real, node), time_of(codes, node)};
    char text[96];
    std::snprintf(text, sizeof text, "faster in float: %.1f us, in INT8 %.1f", l.float_us, l.int8_us);
    reason = text;
    r.layers.push_back(l);
  }
  return r;
}

/// The decision as JSON, for the model's metadata under faster_float_key.
template <class Json = nlohmann::json>
std::string note(const faster_float& found) {
  Json layers = Json::object();
  for (const auto& l : found.layers) layers[l.name] = {{"float_us", l.float_us}, {"int8_us", l.int8_us}};
  return Json{{"layers", layers}}.dump();
}
inline constexpr const char* faster_float_key = "ptq.faster_float";

}  // namespace ptq
