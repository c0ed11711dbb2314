#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: quantize until the drop fits the bound. The quantizer groups whose error the bound can't
// bear go back to float, those first that remove the most error per microsecond; see
// accuracy_control/search.hpp for the way, accuracy_control/statistics.hpp for what "fits" means
// where the samples can't tell the bound.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/accuracy_control/budget.hpp>
#include <ptq/accuracy_control/detection.hpp>
#include <ptq/accuracy_control/front.hpp>
#include <ptq/accuracy_control/journal.hpp>
#include <ptq/accuracy_control/judge.hpp>
#include <ptq/accuracy_control/metrics.hpp>
#include <ptq/accuracy_control/outcome.hpp>
#include <ptq/accuracy_control/search.hpp>
#include <ptq/accuracy_control/statistics.hpp>
#include <ptq/quantize.hpp>
#include <ptq/recovery/relief.hpp>
#include <ptq/trial.hpp>

namespace ptq {

enum class drop_type : std::uint8_t { absolute, relative };

struct accuracy_control_options {
  quantize_options quantize = {};
  double max_drop = 0.01;             // of the score; 0.01 is one point
  ptq::drop_type drop = drop_type::absolute;
  control::metric metric = control::top_k(1);
  /// The float model's own answers are the labels; labels that are given are not looked at.
  bool annotation_free = false;
  std::int64_t ranking_subset_size = 32;
  int max_iterations = 12;            // validations on all samples
  double max_latency_ms = std::numeric_limits<double>::infinity();
  double min_speedup = 1;             // over float
  double max_float_macs = 1;          // share of the multiply-accumulates
  std::optional<control::cost_table> costs = {};  // measured where absent
  std::filesystem::path journal = {};             // none where empty
  int threads = 1;
  std::size_t memory = std::size_t{1} << 30;
  progress report = {};
  /// Told before the search where the samples can't tell the bound.
  std::function<void(const std::string&)> warn = {};
};

/// Labelled samples for the search.
struct labelled_samples {
  samples data;
  std::vector<tensor> labels;  // one per sample; empty if annotation_free
};

/// One class per sample as labels.
inline std::vector<tensor> class_labels(std::span<const std::int64_t> classes) {
  std::vector<tensor> labels;
  for (auto c : classes) labels.push_back(tensor::scalar(c));
  return labels;
}

struct accuracy_control_result {
  graph network;
  statistics observed;
  control::outcome found;
  recovery_report recovery = {};   // before the search, with more effort than `fast`
  quantize_options options = {};   // those that the search quantized with
};

namespace control {

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

/// Everything that an answer of the search depends on, as a number.
template <class = void>
std::string identity_of(const graph& g, const statistics& observed,
                        const labelled_samples& data, const accuracy_control_options& o) {
  std::uint64_t h = 1469598103934665603u;  // FNV-1a
  const auto bytes = [&](const void* at, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      h = (h ^ static_cast<const unsigned char*>(at)[i]) * 1099511628211u;
  };
  const auto text = [&](const std::string& s) { bytes(s.data(), s.size() + 1); };
  const auto number = [&](double x) { bytes(&x, sizeof x); };
  for (const auto& n : g.nodes) text(n.name);
  for (const auto& v : g.values)
    if (v.constant) bytes(v.constant->data(), v.constant->byte_count());
  for (const auto& [name, s] : observed.values) {
    text(name);
    number(static_cast<double>(s.range.min));
    number(static_cast<double>(s.range.max));
    for (double m : s.channel_means) number(m);
  }
  for (const auto& l : data.labels) bytes(l.data(), l.byte_count());
  for (double x : {o.max_drop, static_cast<double>(o.drop), static_cast<double>(o.annotation_free),
                   static_cast<double>(o.ranking_subset_size),
                   static_cast<double>(o.max_iterations), o.max_latency_ms, o.min_speedup,
                   o.max_float_macs, static_cast<double>(o.quantize.preset),
                   static_cast<double>(o.quantize.correction),
                   static_cast<double>(o.quantize.effort.level),
                   static_cast<double>(o.quantize.effort.tune)})
    number(x);
  text(o.metric.name);
  if (o.costs) text(cost_text(*o.costs));
  char hex[20];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(h));
  return hex;
}

/// From the journal where it has them; else measured, and written there.
template <class = void>
cost_table costs_of(const trial& models, journal& notes) {
  cost_table t;
  if (const auto* known = notes.find("costs")) {
    std::size_t at = 2;
    t.real_us = known->at(0);
    t.integer_us = known->at(1);
    for (const auto& n : models.network().nodes) {
      t.layers[n.name] = {known->at(at), known->at(at + 1)};
      at += 2;
    }
    return t;
  }
  constexpr int repeats = 10;
  const auto sum = [](const std::map<std::string, double>& us) {
    double s = 0;
    for (const auto& [name, x] : us) s += x;
    return s;
  };
  const auto all = models.quantized({});
  const auto real = models.step_microseconds(models.network(), false, repeats);
  const auto codes = models.step_microseconds(all, false, repeats);
  t.real_us = rounded_cost(sum(models.step_microseconds(models.network(), true, repeats)));
  t.integer_us = rounded_cost(sum(codes));
  std::vector<double> flat{t.real_us, t.integer_us};
  const auto at = [](const std::map<std::string, double>& us, const std::string& name) {
    const auto it = us.find(name);
    return it == us.end() ? 0.0 : rounded_cost(it->second);
  };
  for (const auto& n : models.network().nodes) {
    t.layers[n.name] = {at(real, n.name), at(codes, n.name)};
    flat.insert(flat.end(), {t.layers[n.name].real_us, t.layers[n.name].integer_us});
  }
  notes.add("costs", std::move(flat));
  return t;
}

/// A latency bound is kept by measurement: while the chosen model is over it, the best of the cheaper
/// ones takes its place.
template <class = void>
void settle(const trial& models, search_result& r, double allowed_us,
            const accuracy_control_options& o, outcome& f) {
  if (!std::isfinite(o.max_latency_ms) && o.min_speedup <= 1) return;
  while (true) {
    double us = 0;
    for (const auto& [name, x] :
         models.step_microseconds(models.quantized(r.points[r.best].groups), false, 20))
      us += x;
    f.measured_us = us;
    if (us <= allowed_us) return;
    std::size_t next = r.best;
    for (std::size_t i = 0; i < r.points.size(); ++i)
      if (r.points[i].cost.us < r.points[r.best].cost.us &&
          (next == r.best || better(r.points[i], r.points[next])))
        next = i;
    r.fine = false;
    if (next == r.best) {
      r.limited_by = "the time limit of " + std::to_string(allowed_us) +
                     " us: the fastest model was measured at " + std::to_string(us);
      return;
    }
    r.best = next;
    r.fine = r.points[next].found.fine;
    if (!r.fine) r.limited_by = "the time limit of " + std::to_string(allowed_us) + " us, by measurement";
  }
}

}  // namespace control

/// Quantizes, and gives groups back to float until the drop fits the bound.
///
/// g        float, folded and fused
/// calibration  as for quantize; with more effort than `fast`, what flow::prepared does comes first
/// data     to judge on
/// returns  the model; found.status says whether the bound is met, and what limits it otherwise
/// throws   as quantize; data_error where labels and samples don't fit, or the journal or the costs
///          are of another search
/// exact    a pure function of its inputs, for any number of threads, where costs are given and
///          max_latency_ms is not
template <class = void>
accuracy_control_result quantize_with_accuracy_control(const graph& g,
                                                       const kernels::kernel_table& table,
                                                       samples calibration,
                                                       const labelled_samples& data,
                                                       const accuracy_control_options& o = {}) {
  using namespace control;
  accuracy_control_result r;
  auto start = starting_point(g, table, std::move(calibration), o.quantize);
  r.observed = std::move(start.observed);
  r.recovery = std::move(start.recovery);
  r.options = std::move(start.options);
  const trial models(std::move(start.network), r.observed, table, data.data,
                     {.quantize = r.options, .threads = o.threads, .memory = o.memory, .report = o.report});
  judge<trial> ask(models, data.labels,
                   {.metric = o.metric,
                    .max_drop = o.max_drop,
                    .relative = o.drop == drop_type::relative,
                    .annotation_free = o.annotation_free,
                    .ranking_subset_size = o.ranking_subset_size,
                    .report = o.report});
  if (!o.journal.empty()) ask.open(journal(o.journal, identity_of(models.network(), r.observed, data, o)));
  const auto costs = o.costs ? *o.costs : costs_of(models, ask.notes());
  const auto shares = recovering::macs_of(models.network(), models.at(0), table);
  const auto scope = [&](const group_set& s) {
    return quantization::scope_of(models.groups(), s, "").nodes;
  };
  search_questions questions;
  questions.errors = [&](const std::vector<group_set>& sets) { return ask.errors(sets); };
  questions.validate = [&](const group_set& s) { return ask.validate(s); };
  questions.price_of = [&](const group_set& s) {
    price p;
    for (const auto& [name, why] : scope(s)) {
      p.us += given_back(costs, name);
      if (const auto it = shares.find(name); it != shares.end()) p.macs += it->second;
    }
    return p;
  };
  questions.all_but = [&](int i) {
    const auto& all = models.groups();
    const auto& own = all[static_cast<std::size_t>(i)].nodes;
    group_set others;
    for (std::size_t k = 0; k < all.size(); ++k)
      if (std::none_of(own.begin(), own.end(), [&](const std::string& n) {
            return std::find(all[k].nodes.begin(), all[k].nodes.end(), n) != all[k].nodes.end();
          }))
        others.push_back(static_cast<int>(k));
    return others;
  };
  const auto first = ask.validate({});
  ask.choose_subset({});
  auto& f = r.found;
  f.resolved = ask.resolves(first);
  f.samples_needed = samples_to_resolve(first.n, first.drop.half_width, ask.bound());
  if (o.warn && !f.resolved) o.warn(resolution_warning(first.n, first.drop, ask.bound()));
  // Faster than float by more than the costs are rounded.
  const double allowed = std::min({costs.real_us * 0.98, costs.real_us / o.min_speedup, o.max_latency_ms * 1e3});
  auto found = search(models.local_errors(ask.subset()), questions,
                      {.within = {.cost = allowed - costs.integer_us, .macs = o.max_float_macs},
                       .max_validations = o.max_iterations});
  settle(models, found, allowed, o, f);
  const auto& best = found.points[found.best];
  r.network = models.quantized(best.groups);
  describe(models, found, costs, f);
  f.metric = o.metric.name;
  f.samples = models.count();
  f.float_score = ask.float_score();
  f.max_drop = ask.bound();
  f.min_agreement = ask.min_agreement();
  for (const auto& [name, why] : scope(best.groups)) f.nodes.push_back(name);
  r.network.metadata.push_back({"ptq.accuracy_control", note(f.chosen, costs)});
  return r;
}

}  // namespace ptq
