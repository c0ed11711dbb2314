#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: quantize until the drop fits the bound. The quantizer groups whose error the bound can't
// bear go back to float, those first that remove the most error per microsecond; see
// accuracy_control/search.hpp for the way, accuracy_control/statistics.hpp for what "fits" means
// where the samples can't tell the bound.

#include <algorithm>
#include <cmath>
#include <cstdint>
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
#include <ptq/accuracy_control/identity.hpp>
#include <ptq/accuracy_control/journal.hpp>
#include <ptq/accuracy_control/judge.hpp>
#include <ptq/accuracy_control/metrics.hpp>
#include <ptq/accuracy_control/outcome.hpp>
#include <ptq/accuracy_control/search.hpp>
#include <ptq/accuracy_control/statistics.hpp>
#include <ptq/accuracy_control/timing.hpp>
#include <ptq/quantize.hpp>
#include <ptq/recovery/relief.hpp>
#include <ptq/search_ends.hpp>
#include <ptq/trial.hpp>

namespace ptq {

enum class drop_type : std::uint8_t { absolute, relative };

/// What a group gets back.
enum class restore : std::uint8_t {
  activations_and_weights,
  activations  // weights stay rounded, and the file small: it computes in float all the same
};

struct accuracy_control_options {
  quantize_options quantize = {};
  double max_drop = 0.01;             // of the score; 0.01 is one point
  ptq::drop_type drop = drop_type::absolute;
  control::metric metric = control::top_k(1);
  /// Further metrics of the same labels; all bounds have to hold.
  std::vector<control::bound> more = {};
  /// Where the model that the search would start from misses a bound, presets and range estimators
  /// are tried first, on calibration samples held back: they cost nothing at run time. What the user
  /// fixed (effort.fixed_…) stays. NNCF's tune_hyperparams.
  bool tune_hyperparams = true;
  /// The float model's own answers are the labels; labels that are given are not looked at.
  bool annotation_free = false;
  std::int64_t ranking_subset_size = 32;
  int max_iterations = 12;            // validations on all samples
  ptq::restore restore = ptq::restore::activations_and_weights;
  int front_points = 0;               // further models of the front to validate
  double max_latency_ms = std::numeric_limits<double>::infinity();  // median of a run, one thread
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
  graph real;                      // what the search quantized: float, as recovery changed it
  statistics observed;
  control::outcome found;
  recovery_report recovery = {};   // before the search, with more effort than `fast`
  quantize_options options = {};   // those that the search quantized with
};

namespace control {

/// Where the start misses a bound: the preset and ranges that tuning chose, if they are better on the
/// samples of the search too.
///
/// first   of the model that gives nothing back
template <class = void>
verdict tuned(trial& models, judge<trial>& ask, const verdict& first,
              const kernels::kernel_table& table, samples calibration,
              const accuracy_control_options& o, accuracy_control_result& r) {
  const bool tried = o.quantize.effort.level != effort::fast || o.quantize.effort.tune;
  if (first.fine || tried || !o.tune_hyperparams) return first;
  auto options = models.options();
  options.effort.tune = true;
  auto start = starting_point(models.network(), table, std::move(calibration), options);
  r.recovery = start.recovery;
  models.start_from(start.observed, start.options);
  ask.start_anew("tuned");
  const auto second = ask.validate({}, true);
  if (better({{}, {}, second}, {{}, {}, first})) {
    r.observed = std::move(start.observed);
    r.options = std::move(start.options);
    r.found.tuned = true;
    return second;
  }
  for (auto& step : r.recovery.steps) {
    step.kept = false;
    step.note = "no better on the samples of the search";
  }
  models.start_from(r.observed, r.options);
  ask.start_anew("");
  return ask.validate({}, true);
}

/// A model of the search whose biases and weights were corrected, as `quantize` does it with the same effort.
struct corrected_model {
  graph network;
  verdict found;
  std::vector<recovery_step> steps;
};

/// Nothing where no step lowers the error on samples held back from calibration, or the samples of the search say
/// that the model is no better for it.
///
/// plain   of the same groups, uncorrected
template <class = void>
std::optional<corrected_model> corrected(trial& models, judge<trial>& ask, const group_set& groups, const verdict& plain,
                                         const kernels::kernel_table& table, const samples& calibration) {
  auto o = models.options();
  if (o.effort.level == effort::fast) return {};
  o.report = {};
  auto made = finished(models.network(), models.quantized(groups), table, calibration, o);
  auto& steps = made.recovery.steps;
  if (std::none_of(steps.begin(), steps.end(), [](const recovery_step& s) { return s.kept; })) return {};
  models.take_instead(groups, made.network);
  ask.start_anew("corrected");
  auto found = ask.validate(groups, true);
  models.take_own();
  ask.start_anew("");
  if (!better({{}, {}, found}, {{}, {}, plain})) return {};
  return corrected_model{std::move(made.network), std::move(found), std::move(steps)};
}

/// The result's network and what is said of it.
///
/// first    of the model that gives nothing back, uncorrected: as the front can make it again
/// mended   in place of the best point, where there is one
/// returns  the point that was taken
template <class = void>
front_point take(const trial& models, search_result& found, const verdict& first, std::optional<corrected_model>& mended,
                 const cost_table& costs, accuracy_control_result& r) {
  found.points[0].found = first;
  auto chosen = found.points[found.best];
  if (mended) {
    chosen.found = mended->found;
    found.fine = chosen.found.fine;
  }
  describe(models, found, costs, r.found);
  if (!mended) {
    r.network = models.quantized(chosen.groups);
    return chosen;
  }
  r.found.chosen = model_of(models, chosen, costs);
  r.found.corrected = true;
  r.network = std::move(mended->network);
  r.recovery.steps.insert(r.recovery.steps.end(), mended->steps.begin(), mended->steps.end());
  return chosen;
}

template <class = void>
search_questions questions_of(const trial& models, judge<trial>& ask, const cost_table& costs,
                              const recovering::node_macs& shares) {
  search_questions q;
  q.errors = [&](const std::vector<group_set>& sets) { return ask.errors(sets); };
  q.validate = [&](const group_set& s) { return ask.validate(s); };
  q.validate_whole = [&](const group_set& s) { return ask.validate(s, true); };
  q.price_of = [&](const group_set& s) {
    price p;
    for (const auto& [name, why] : quantization::scope_of(models.groups(), s, "").nodes) {
      p.us += given_back(costs, name);
      if (const auto it = shares.find(name); it != shares.end()) p.macs += it->second;
    }
    return p;
  };
  q.all_but = [&](int i) {
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
  return q;
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
  auto from = o.quantize;
  from.restored.activations_only = o.restore == restore::activations;
  auto start = starting_point(g, table, calibration, from);
  r.observed = std::move(start.observed);
  r.recovery = std::move(start.recovery);
  r.options = std::move(start.options);
  trial models(std::move(start.network), r.observed, table, data.data,
               {.quantize = r.options, .threads = o.threads, .memory = o.memory, .report = o.report});
  std::vector<bound> bounds{{o.metric, o.max_drop}};
  bounds.insert(bounds.end(), o.more.begin(), o.more.end());
  judge<trial> ask(models, data.labels,
                   {.bounds = std::move(bounds),
                    .relative = o.drop == drop_type::relative,
                    .annotation_free = o.annotation_free,
                    .ranking_subset_size = o.ranking_subset_size,
                    .report = o.report});
  if (!o.journal.empty())
    ask.open(journal(o.journal, identity_of(models.network(), r.observed, data, o, settings_of(o.quantize))));
  const auto as_chosen = ask.validate({});
  for (std::size_t m = 0; o.warn && m < ask.metrics(); ++m)
    if (!ask.resolves(as_chosen, m))
      o.warn(resolution_warning(ask.metric_name(m), as_chosen.n, as_chosen.metrics[m].drop,
                                ask.bound_of(m)));
  const auto first = tuned(models, ask, as_chosen, table, calibration, o, r);
  // What needs no layer in float comes first, and again for what the search ends with.
  std::optional<corrected_model> whole;
  if (!first.fine) whole = corrected(models, ask, {}, first, table, calibration);
  const auto costs = o.costs ? *o.costs : costs_of(models, ask.notes());
  const auto shares = recovering::macs_of(models.network(), models.at(0), table);
  auto& f = r.found;
  // Faster than float by more than the costs are rounded.
  const double allowed = std::min({costs.real_us * 0.98, costs.real_us / o.min_speedup, o.max_latency_ms * 1e3});
  auto questions = questions_of(models, ask, costs, shares);
  if (whole && whole->found.fine)
    questions.validate = [&](const group_set& s) { return s.empty() ? whole->found : ask.validate(s); };
  auto found = search(static_cast<int>(models.groups().size()), questions,
                      {.within = {.cost = allowed - costs.integer_us, .macs = o.max_float_macs},
                       .max_validations = o.max_iterations,
                       .min_agreement = ask.min_agreement(),
                       .integer_us = costs.integer_us,
                       .front_points = o.front_points});
  if (std::isfinite(o.max_latency_ms) || o.min_speedup > 1)
    f.measured_us = settle(models, found, allowed);
  auto& best = found.points[found.best];
  best.found = ask.validate(best.groups, true);  // what is said of it is said of all samples
  std::optional<corrected_model> mended;
  if (!best.groups.empty() && !best.found.fine)
    mended = corrected(models, ask, best.groups, best.found, table, calibration);
  // A model that was measured keeps its time.
  const bool free = best.groups.empty() || f.measured_us == 0;
  if (whole && free && better({{}, {}, whole->found}, {{}, {}, mended ? mended->found : best.found})) {
    found.best = 0;  // giving back is worth less
    mended = std::move(whole);
  }
  const auto chosen = take(models, found, first, mended, costs, r);
  f.samples = models.count();
  f.metrics = metrics_of(ask, first, chosen.found);
  f.inferences = ask.inferences();
  for (const auto& [name, why] : quantization::scope_of(models.groups(), chosen.groups, "").nodes)
    f.nodes.push_back(name);
  r.network.metadata.push_back({"ptq.accuracy_control", note(f.chosen, costs)});
  r.real = models.network();
  return r;
}

/// The k-th model of the front, made anew.
///
/// k       of r.found.front
/// exact   the network that the search judged
/// throws  data_error if there is no such model
template <class = void>
graph front_network(const accuracy_control_result& r, std::size_t k) {
  const auto& front = r.found.front;
  if (k >= front.size())
    throw data_error("accuracy_control: front: expected a model below " + std::to_string(front.size()) +
                     ", got " + std::to_string(k));
  const auto groups = quantization::revertible_groups(quantization::place(r.real, r.options));
  std::vector<int> chosen;
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (std::find(front[k].restored.begin(), front[k].restored.end(), groups[i].name) !=
        front[k].restored.end())
      chosen.push_back(static_cast<int>(i));
  auto o = r.options;
  o.report = {};
  o.restored = quantization::scope_of(groups, chosen, "given back by accuracy control");
  o.restored.activations_only = r.options.restored.activations_only;
  auto made = quantize(r.real, r.observed, o);
  made.metadata.push_back({"ptq.accuracy_control", control::note(front[k], r.found.costs)});
  return made;
}

}  // namespace ptq
