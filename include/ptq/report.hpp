#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: what was quantized, with what, at what cost → text and JSON. The last stage: it measures
// nothing but latency itself, and puts together what the others found.
//
//   report r = make_report("model.onnx", program);   the layers, and what stays in float
//   add(r, options, samples); add(r, comparison);     settings, errors
//   text(r), json(r)

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/quantize.hpp>
#include <ptq/report/contents.hpp>
#include <ptq/report/json.hpp>
#include <ptq/report/text.hpp>
#include <ptq/validate.hpp>

namespace ptq {

/// The steps of a program, with the kernels that run them.
///
/// model    its name, for the heading
inline report make_report(std::string_view model, const program& p) {
  report r;
  r.model = model;
  r.isa = p.isa;
  r.notes = p.notes;
  r.activation_bytes = p.arena_bytes;
  r.scratch_bytes = p.scratch_bytes;
  for (const auto& s : p.steps)
    r.layers.push_back({.name = s.node,
                        .what = s.what,
                        .value = p.slots[static_cast<std::size_t>(s.dst)].value,
                        .kernel = s.kernel.name,
                        .integer = s.integer,
                        .macs = s.macs,
                        .note = s.note});
  return r;
}

/// Reasons that quantization left in the graph, for layers that have none: a file does not keep
/// them, so the program of an imported one lacks them. And what its weights would do in other
/// runtimes.
inline void add(report& r, const graph& quantized) {
  for (auto& l : quantization::overflow_census(quantized))
    r.overflow.push_back({std::move(l.layer), l.census.pairs, l.census.saturating});
  std::map<std::string_view, const std::string*> reason;
  for (const auto& n : quantized.nodes)
    if (!n.note.empty()) reason.emplace(n.name, &n.note);
  const auto wide = std::count_if(quantized.values.begin(), quantized.values.end(), [](const value& v) {
    return v.quant && !v.constant && (v.quant->type == dtype::u16 || v.quant->type == dtype::s16);
  });
  if (wide > 0)
    r.notes.push_back(std::to_string(wide) +
                      " values have 16-bit codes: the file needs opset 21, and runtimes that have it");
  for (auto& l : r.layers)
    if (const auto it = reason.find(l.name); it != reason.end() && !l.integer && l.note.empty())
      l.note = *it->second;
}

/// What was chosen, and how many samples calibration read.
inline void add(report& r, const quantize_options& o, std::int64_t samples) {
  r.samples = samples;
  r.settings = settings_of(o);
}

/// What recovery tried.
inline void add(report& r, const recovery_report& tried) {
  r.held_back = tried.held_back;
  r.recovery = tried.steps;
}

/// Errors of outputs and of the layers whose values both programs have.
inline void add(report& r, const comparison& c) {
  const auto of = [](const distortion& d) { return report_error{d.sqnr_db(), d.cosine()}; };
  r.compared = c.n;
  r.agreement = c.agreement;
  r.outputs.clear();
  for (const auto& o : c.outputs) r.outputs.push_back({o.name, of(o.error)});
  std::map<std::string_view, const value_error*> errors;
  for (const auto& v : c.layers) errors.emplace(v.name, &v);
  // A value may pass through several steps (its copy, its rounding): the first is its layer.
  for (auto& l : r.layers)
    if (const auto it = errors.find(l.value); it != errors.end()) {
      l.error = of(it->second->error);
      errors.erase(it);
    }
}

/// Accuracy of the float and of the quantized model on the same samples.
inline void add(report& r, const accuracy& before, const accuracy& after) {
  const auto of = [](const accuracy& a) { return report_accuracy{a.n, a.top1, a.top5}; };
  r.accuracy = {of(before), of(after)};
}

struct latency_options {
  int warm_up = 3;
  int repeats = 20;
  double warm_up_ms = 50;    // at least so long: clocks and caches settle
  double budget_ms = 1e300;  // no further repeat once it is spent
};

/// Wall time of one run after another.
///
/// inputs   as session::run takes them
/// returns  min and median over the repeats that the budget allowed, at least one
inline report_latency measure_latency(session& s, std::span<const tensor> inputs,
                                      const latency_options& options = {}) {
  using clock = std::chrono::steady_clock;
  const auto run = [&] {
    const auto begin = clock::now();
    s.run(inputs);
    return std::chrono::duration<double, std::milli>(clock::now() - begin).count();
  };
  double spent = 0;
  for (int i = 0; i < options.warm_up || (spent < options.warm_up_ms && i < 1000); ++i) {
    spent += run();
    if (spent > options.budget_ms) break;
  }
  std::vector<double> times;
  spent = 0;
  do {
    times.push_back(run());
    spent += times.back();
  } while (static_cast<int>(times.size()) < options.repeats && spent < options.budget_ms);
  std::sort(times.begin(), times.end());
  report_latency l;
  l.min_ms = times.front();
  const auto half = times.size() / 2;
  l.median_ms = times.size() % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
  l.repeats = static_cast<int>(times.size());
  return l;
}

}  // namespace ptq
