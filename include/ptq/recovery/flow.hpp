#pragma once
// SPDX-License-Identifier: Apache-2.0
// Quantization that looks at what it does: a step (another preset, another range rule, equalised
// channels, corrected biases …) is tried, judged on samples held back, and kept only if it lowers
// the error there; in the end these samples count for the ranges too. Steps that change the float
// network are tried on a few samples; then one pass over all gathers evidence that every preset and
// range estimator can be judged by.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ptq/calibrate.hpp>
#include <ptq/data/kept_samples.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/quantize/devices.hpp>
#include <ptq/quantize/groups.hpp>
#include <ptq/quantize/placement.hpp>
#include <ptq/quantize/scheme.hpp>
#include <ptq/quantize/settings.hpp>
#include <ptq/recovery/decisions.hpp>
#include <ptq/recovery/held_back.hpp>
#include <ptq/recovery/layer_sweeps.hpp>
#include <ptq/recovery/network_steps.hpp>
#include <ptq/recovery/real_sums.hpp>
#include <ptq/recovery/relief.hpp>
#include <ptq/recovery/wide_layers.hpp>

namespace ptq::recovering {

/// Samples that a step is tried on, and that correction sweeps over: means and ranges settle long
/// before, and a sweep costs two inferences of each.
inline constexpr std::int64_t scout_count = 32, sweep_count = 40;

/// What quantizes from statistics: observations(g, o) and quantized(g, statistics, o).
template <class Q>
class flow {
 public:
  flow(const graph& g, const kernels::kernel_table& table, samples data,
       const quantize_options& options, Q quantizer)
      : table_(table),
        quantizer_(quantizer),
        network_(g),
        options_(options),
        bytes_(static_cast<std::size_t>(std::max<std::int64_t>(options.effort.cache_mb, 0)) << 20),
        all_(kept_samples(std::move(data), options.subset_size, bytes_ / 2)),
        parts_(split(all_)),
        judge_(g, table, parts_.held, options.threads, bytes_ / 8),
        caller_report_(options.report) {
    options_.report = {};  // of the stages inside; this one counts its steps
    steps_.report.held_back = judge_.count();
    steps_.report.samples = parts_.used.count().value_or(0);
  }

  struct outcome {
    graph network;  // quantized; of prepared(): float
    statistics observed;
    recovery_report report;
    quantize_options options;  // those that were kept
  };

  outcome run() {
    auto observed = prepare();
    auto q = quantizer_.quantized(network_, observed, options_);
    if (tries() || wants_sequential()) steps_.start(judge_.errors(q));
    if (tries()) {
      q = with_real_sums(std::move(q), observed);
      if (options_.effort.wide_macs > 0)
        q = relieved(std::move(q), observed, "16-bit inputs", wide_step);
      if (options_.effort.float_macs > 0 && may_use_float(options_))
        q = relieved(std::move(q), observed, "layers in float", float_step);
    }
    if (wants_sequential()) q = corrected(std::move(q));
    record_settings(q, options_);
    return {std::move(q), std::move(observed), std::move(steps_.report), std::move(options_)};
  }

  /// What comes after ranges are chosen, for a network that was quantized from this one elsewhere.
  outcome finished(graph q) {
    steps_.start(judge_.errors(q));
    if (wants_sequential()) q = corrected(std::move(q));
    record_settings(q, options_);
    return {std::move(q), {}, std::move(steps_.report), std::move(options_)};
  }

  /// What a search for layers to give back to float starts from: the float network as the kept steps changed it, its
  /// statistics, and the values with 16-bit codes.
  outcome prepared() {
    auto observed = prepare();
    if (tries()) {
      auto q = quantizer_.quantized(network_, observed, options_);
      if (options_.effort.wide_macs > 0 || !sums_before_functions(q).empty()) steps_.start(judge_.errors(q));
      q = with_real_sums(std::move(q), observed);
      if (options_.effort.wide_macs > 0) relieved(std::move(q), observed, "16-bit inputs", wide_step);
    }
    return {std::move(network_), std::move(observed), std::move(steps_.report), std::move(options_)};
  }

 private:
  void progress(const char* what) {
    if (caller_report_) caller_report_(what, 0, 0);
  }

  bool tries() const { return options_.effort.level != effort::fast; }

  statistics prepare() {
    const bool tunes = tries() || options_.effort.tune;
    if (tries()) {
      progress("equalise");
      const auto attempt = [this](const graph& g, const std::vector<double>& rival) { return tried(g, rival); };
      network_ = network_steps(std::move(network_), options_, table_, few(), steps_, attempt).run();
    }
    progress("calibrate");
    auto request = quantizer_.observations(network_, options_);
    request.keep_all = tunes;
    seen_ = collect(network_, table_, parts_.used, request);
    if (tunes) choose_ranges();
    look_at_the_rest(request);
    return resolve(seen_, quantizer_.observations(network_, options_).observer);
  }

  bool wants_sequential() const {
    return forces_sequential() || (tries() && !options_.effort.fixed_correction);
  }

  samples few() const {
    return take(parts_.used, std::min(scout_count, parts_.used.count().value_or(0)));
  }

  /// The error of a changed float network. Ranges are those that are likely to be chosen later: a
  /// range that cuts off too much hides what happens within it.
  ///
  /// rival  of what it is tried against
  std::vector<double> tried(const graph& g, const std::vector<double>& rival) {
    auto o = options_;
    if (!o.effort.fixed_estimator) o.activations.estimator = range_estimator::automatic;
    const auto s = calibrate(g, table_, few(), quantizer_.observations(g, o));
    return judge_.errors(quantizer_.quantized(g, s, o), rival);
  }

  /// Quantized by other options, from what calibration has seen.
  graph settled(const quantize_options& o) const {
    return quantizer_.quantized(
        network_, resolve(seen_, quantizer_.observations(network_, o).observer), o);
  }

  /// All pairs of preset and estimator that the user left open: asymmetric codes often pay off with
  /// one estimator alone.
  void choose_ranges() {
    const auto from = options_;
    steps_.start(judge_.errors(settled(from)));
    std::vector<preset> presets{from.preset};
    if (!from.effort.fixed_preset)
      presets.push_back(from.preset == preset::mixed ? preset::performance : preset::mixed);
    std::vector<range_estimator> estimators{from.activations.estimator};
    if (!from.effort.fixed_estimator)
      for (auto e : {range_estimator::automatic, range_estimator::minmax})
        if (e != estimators[0]) estimators.push_back(e);
    for (auto p : presets)
      for (auto e : estimators) {
        if (p == from.preset && e == from.activations.estimator) continue;
        auto o = from;
        o.preset = p;
        o.activations.estimator = e;
        const auto what = std::string("preset ") +
                          (p == preset::mixed ? "mixed" : "performance") + ", ranges " +
                          name_of(e);
        if (steps_.keep(what, judge_.errors(settled(o), steps_.errors()))) options_ = std::move(o);
      }
  }

  /// The choice is made: what judged it may widen the ranges now.
  void look_at_the_rest(const calibrate_options& request) {
    const auto used = parts_.used.count().value_or(0), all = all_.count().value_or(0);
    if (used == all) return;  // a single sample served both
    seen_ = calibration::merged(std::move(seen_), collect(network_, table_, parts_.held, request));
    steps_.report.samples = all;
  }

  /// Where the error is large: runtimes that fuse Q/DQ with the convolution alone then run it in float.
  graph with_real_sums(graph q, const statistics& observed) {
    const auto sums = sums_before_functions(q);
    if (options_.effort.fixed_placement || sums.empty() || steps_.error_db() >= options_.effort.enough_db) return q;
    auto o = options_;
    o.real_sums = sums;
    auto better = quantizer_.quantized(network_, observed, o);
    const auto what = std::to_string(sums.size()) + " functions of sums before rounding";
    if (!steps_.keep(what, judge_.errors(better, steps_.errors()))) return q;
    options_ = std::move(o);
    return better;
  }

  /// Where the error is large: `propose` (of relief_ground) changes the costliest inputs of layers.
  template <class Propose>
  graph relieved(graph q, statistics& observed, const char* what, Propose propose) {
    if (steps_.error_db() >= options_.effort.enough_db) return q;
    progress(what);
    const auto step = propose(q, relief_ground{network_, options_, *parts_.used.at(0), table_, judge_});
    if (!step) return q;
    auto roomy = with_room(observed, resolve(seen_, {.estimator = range_estimator::minmax}),
                           step->options.wide_values);
    auto better = quantizer_.quantized(network_, roomy, step->options);
    const bool kept =
        steps_.keep(step->what, judge_.errors(better, steps_.errors()), least_float_gain);
    steps_.report.steps.back().layers = step->layers;
    if (!kept) return q;
    options_ = step->options;
    observed = std::move(roomy);
    return better;
  }

  /// A step that goes through the network layer by layer, where it can be cut into parts.
  ///
  /// change  layer_sweeps → graph
  template <class Change>
  std::optional<graph> swept(const char* what, const graph& q, Change change) {
    progress(what);
    try {
      const sweep_options how{.count = swept_count(),
                              .memory = bytes_ - bytes_ / 2 - bytes_ / 8,
                              .threads = options_.threads};
      if (!sweeps_) sweeps_.emplace(network_, q, parts_.used, table_, how);
      return change(*sweeps_);
    } catch (const unsupported& e) {
      steps_.skip(what, e.what());
    } catch (const shape_error& e) {
      steps_.skip(what, e.what());
    }
    return {};
  }
  bool forces_sequential() const { return options_.correction == bias_correction::sequential; }
  std::int64_t swept_count() const {
    const auto used = parts_.used.count().value_or(0);
    return forces_sequential() ? used : std::min(sweep_count, used);
  }

  graph corrected(graph q) {
    const bool forced = forces_sequential();
    auto better = swept("sequential bias correction", q,
                        [](const layer_sweeps& s) { return s.corrected(); });
    if (better && steps_.keep("sequential bias correction", judge_.errors(*better), least_gain, forced)) {
      options_.correction = bias_correction::sequential;
      q = std::move(*better);
    }
    const int limit = quantization::weight_grid_of(options_).highest();
    const auto reconstruct = [&](const char* what, auto change) {
      better = swept(what, q, change);
      if (better && steps_.keep(what, judge_.errors(*better, steps_.errors()))) q = std::move(*better);
    };
    if (tries())
      reconstruct("rounding of small convolutions",
                  [&](const layer_sweeps& s) { return s.rounded_where_small(limit); });
    if (options_.effort.level == effort::best)
      reconstruct("weight reconstruction", [&](const layer_sweeps& s) { return s.rounded(limit); });
    return q;
  }

  const kernels::kernel_table& table_;
  Q quantizer_;
  graph network_;  // float, as the kept steps changed it
  quantize_options options_;
  std::size_t bytes_;
  samples all_;
  split_samples parts_;
  held_back judge_;
  decisions steps_;
  calibration::evidence seen_;  // of network_, on parts_.used
  std::optional<layer_sweeps> sweeps_;  // of network_ and what was quantized from it
  ptq::progress caller_report_;
};

}  // namespace ptq::recovering
