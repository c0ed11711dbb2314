#pragma once
// SPDX-License-Identifier: Apache-2.0
// The judge: answers the search's questions by running models on labelled samples, and remembers the
// answers in the journal.
//
// `Trial` runs quantizations of one network (ptq/trial.hpp); it comes as a parameter, so that this
// floor needs no executor.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ptq/accuracy_control/answers.hpp>
#include <ptq/accuracy_control/changes.hpp>
#include <ptq/accuracy_control/journal.hpp>
#include <ptq/accuracy_control/metrics.hpp>
#include <ptq/accuracy_control/search.hpp>
#include <ptq/accuracy_control/statistics.hpp>
#include <ptq/core/parallel.hpp>
#include <ptq/core/progress.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq::control {

struct judge_options {
  std::vector<bound> bounds = {bound{}};  // all have to hold
  bool relative = false;         // max_drop is a share of the float score
  bool annotation_free = false;  // the float model's own answers are the labels
  std::int64_t ranking_subset_size = 32;
  progress report = {};
};

/// Answers the search's questions by running models, and remembers.
template <class Trial>
class judge {
 public:
  /// throws  data_error if there is no bound, or labels and samples don't fit
  judge(const Trial& models, std::vector<tensor> labels, judge_options o)
      : models_(models), o_(std::move(o)), labels_(std::move(labels)) {
    if (o_.bounds.empty()) throw data_error("accuracy_control: metrics: expected at least 1, got none");
    ask_float();
    choose_subset();
  }

  void open(journal j) { journal_ = std::move(j); }
  journal& notes() { return journal_; }
  /// The trial starts from other ranges now: what was asked of it is no answer any more.
  void start_anew(const std::string& name) {
    start_ = name.empty() ? "" : name + ":";
    steered_ = false;
  }

  std::size_t metrics() const { return o_.bounds.size(); }
  const std::string& metric_name(std::size_t m) const { return o_.bounds[m].metric.name; }
  double float_score(std::size_t m = 0) const {
    std::vector<counts> scored;
    for (const auto& of : floats_) scored.push_back(of.scored[m]);
    return o_.bounds[m].metric.score(scored);
  }
  double bound_of(std::size_t m) const {
    const double d = o_.bounds[m].max_drop;
    return o_.relative ? d * float_score(m) : d;
  }
  double min_agreement(std::size_t m = 0) const { return agreement_for(bound_of(m)); }
  std::span<const std::int64_t> subset() const { return subset_; }
  /// Inferences run so far; of what was re-executed in part, that part.
  double inferences() const { return inferences_; }

  /// whole  all samples, also where the first ones rule the model out
  verdict validate(const group_set& s, bool whole = false);
  std::vector<double> errors(const std::vector<group_set>& sets);
  /// Whether the spread seen for `v` tells the bound.
  bool resolves(const verdict& v, std::size_t m) const {
    return v.metrics[m].drop.half_width <= bound_of(m);
  }
  bool resolves(const verdict& v) const {
    for (std::size_t m = 0; m < metrics(); ++m)
      if (!resolves(v, m)) return false;
    return true;
  }

  static std::string key_of(const group_set& s) {
    std::string k;
    for (int i : s) k += (k.empty() ? "" : ",") + std::to_string(i);
    return k;
  }

 private:
  void ask_float();
  void choose_subset();
  /// Parts of the samples: as soon as the rest can't save a model, it is given up.
  static constexpr std::int64_t part = 64;
  std::vector<sample_result> results(const group_set& s, std::int64_t begin);
  interval drop_of(const std::vector<sample_result>& all, std::size_t m) const;
  verdict summary(const std::vector<sample_result>& all) const;

  /// What float answers to a sample.
  struct float_answer {
    std::vector<tensor> outputs;
    std::vector<tensor> own;     // the label that they stand for; of each metric
    std::vector<counts> scored;  // of each metric
  };

  const Trial& models_;
  judge_options o_;
  std::vector<tensor> labels_;
  std::vector<float_answer> floats_;
  std::vector<std::int64_t> subset_;
  bool steered_ = false;  // by agreement: the samples can't tell the bound
  std::string start_;
  double inferences_ = 0;
  journal journal_;
};

template <class Trial>
void judge<Trial>::ask_float() {
  const auto n = static_cast<std::size_t>(models_.count());
  if (!o_.annotation_free && labels_.size() != n)
    throw data_error("accuracy_control: labels: expected " + std::to_string(n) +
                     ", one per sample, got " + std::to_string(labels_.size()));
  for (const auto& b : o_.bounds)
    if (o_.annotation_free && !b.metric.own_label)
      throw data_error("accuracy_control: metric '" + b.metric.name +
                       "': expected one that makes labels of outputs, got one that needs annotations");
  floats_.resize(n);
  models_.run(models_.network(), work_range{0, models_.count()}, [&](std::int64_t i, const auto& a) {
    const auto k = static_cast<std::size_t>(i);
    auto& f = floats_[k];
    f.outputs = a.judged;
    for (const auto& b : o_.bounds) {
      f.own.push_back(b.metric.own_label ? b.metric.own_label(a.outputs) : tensor());
      f.scored.push_back(b.metric.observe(a.outputs, o_.annotation_free ? f.own.back() : labels_[k]));
    }
  });
}

/// Evenly spread. The samples that a model changes most, which other tools take, have another mixture of
/// errors than the rest: what is chosen by them holds on them alone (squeezenet1.1, 10 % of the
/// products in float: a fifth of the output's error goes on unseen samples in place of a third).
template <class Trial>
void judge<Trial>::choose_subset() {
  const auto n = models_.count();
  const auto wanted = std::min(n, std::max<std::int64_t>(1, o_.ranking_subset_size));
  for (std::int64_t i = 0; i < wanted; ++i) subset_.push_back(i * n / wanted);
}

template <class Trial>
std::vector<sample_result> judge<Trial>::results(const group_set& s, std::int64_t begin) {
  const work_range range{begin, std::min(begin + part, models_.count())};
  std::vector<sample_result> all(static_cast<std::size_t>(range.end - range.begin));
  const std::string key = start_ + "validate:" + key_of(s) + ":" + std::to_string(range.begin) + "-" +
                          std::to_string(range.end);
  if (const auto* known = journal_.find(key)) return remembered(*known, all.size(), metrics());
  inferences_ += static_cast<double>(all.size());
  models_.run(models_.quantized(s), range, [&](std::int64_t i, const auto& a) {
    const auto k = static_cast<std::size_t>(i);
    const auto& f = floats_[k];
    auto& r = all[static_cast<std::size_t>(i - range.begin)];
    r.error = squared_error(f.outputs, a.judged);
    for (std::size_t m = 0; m < metrics(); ++m) {
      const auto& metric = o_.bounds[m].metric;
      auto& to = r.metrics.emplace_back();
      to.scored = metric.observe(a.outputs, o_.annotation_free ? f.own[m] : labels_[k]);
      if (!metric.own_label) {
        to.agreement = 1 - std::min(1.0, std::sqrt(r.error));
        continue;
      }
      const auto same = metric.observe(a.outputs, f.own[m]);
      to.agreement = metric.score({&same, 1});
    }
  });
  journal_.add(key, flattened(all));
  return all;
}

/// Paired differences where the score is a mean; else a jackknife over blocks of samples.
template <class Trial>
interval judge<Trial>::drop_of(const std::vector<sample_result>& all, std::size_t m) const {
  const std::size_t n = all.size();
  const auto& metric = o_.bounds[m].metric;
  if (metric.is_mean) {
    std::vector<double> d;
    for (std::size_t i = 0; i < n; ++i)
      d.push_back(metric.score({&floats_[i].scored[m], 1}) - metric.score({&all[i].metrics[m].scored, 1}));
    return paired_mean(d);
  }
  const auto drop = [&](std::size_t skip, std::size_t blocks) {
    std::vector<counts> a, b;
    for (std::size_t i = 0; i < n; ++i) {
      if (blocks > 0 && i % blocks == skip) continue;
      a.push_back(floats_[i].scored[m]);
      b.push_back(all[i].metrics[m].scored);
    }
    return metric.score(a) - metric.score(b);
  };
  // Twenty blocks: the half-width is then known to a sixth of itself.
  const std::size_t blocks = std::min<std::size_t>(20, n);
  std::vector<double> without;
  for (std::size_t k = 0; k < blocks; ++k) without.push_back(drop(k, blocks));
  return jackknife(drop(0, 0), without);
}

template <class Trial>
verdict judge<Trial>::summary(const std::vector<sample_result>& all) const {
  verdict v;
  v.n = static_cast<std::int64_t>(all.size());
  v.whole = v.n == models_.count();
  v.fine = v.whole;
  for (const auto& r : all) v.error += r.error / static_cast<double>(v.n);
  for (std::size_t m = 0; m < metrics(); ++m) {
    auto& of = v.metrics.emplace_back();
    std::vector<counts> scored;
    for (const auto& r : all) {
      of.agreement += r.metrics[m].agreement / static_cast<double>(v.n);
      scored.push_back(r.metrics[m].scored);
    }
    of.score = o_.bounds[m].metric.score(scored);
    of.drop = drop_of(all, m);
    of.fine = fine(of.drop, of.agreement, bound_of(m), min_agreement(m));
    v.fine = v.fine && of.fine;
  }
  v.agreement = v.metrics[0].agreement;
  v.drop = v.metrics[0].drop;
  v.score = v.metrics[0].score;
  return v;
}

template <class Trial>
verdict judge<Trial>::validate(const group_set& s, bool whole) {
  std::vector<sample_result> all;
  std::vector<double> missed(metrics());
  double error = 0;
  std::vector<verdict::part> parts;
  for (std::int64_t begin = 0; begin < models_.count(); begin += part) {
    for (auto& r : results(s, begin)) {
      for (std::size_t m = 0; m < metrics(); ++m) missed[m] += 1 - r.metrics[m].agreement;
      error += r.error;
      all.push_back(std::move(r));
    }
    const auto n = static_cast<double>(all.size());
    parts.push_back({static_cast<std::int64_t>(all.size()), 1 - missed[0] / n, error / n});
    if (o_.report)
      o_.report("validate", static_cast<std::int64_t>(all.size()), models_.count());
    bool lost = false;
    for (std::size_t m = 0; m < metrics(); ++m)
      lost = lost || !can_reach(min_agreement(m), missed[m], models_.count());
    if (steered_ && lost && !whole && !s.empty()) break;
  }
  auto v = summary(all);
  v.parts = std::move(parts);
  if (s.empty()) steered_ = !resolves(v);
  return v;
}

template <class Trial>
std::vector<double> judge<Trial>::errors(const std::vector<group_set>& sets) {
  std::vector<double> mean(sets.size(), -1);
  std::vector<std::size_t> open;
  const auto key = [&](std::size_t i) {
    return start_ + "rank:" + key_of(sets[0]) + ":" + key_of(sets[i]);
  };
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (const auto* known = journal_.find(key(i)))
      mean[i] = known->at(0);
    else
      open.push_back(i);
  }
  if (open.empty()) return mean;
  std::vector<graph> candidates;
  for (auto i : open) candidates.push_back(models_.quantized(sets[i]));
  std::vector<std::vector<double>> error(open.size(), std::vector<double>(subset_.size()));
  inferences_ += models_.run_changed(
      models_.quantized(sets[0]), candidates,
      [](const graph& a, const graph& b) {
        return parting_of(a, b);
      },
      subset_, [&](std::size_t c, std::size_t k, const auto& a) {
        error[c][k] = squared_error(floats_[static_cast<std::size_t>(subset_[k])].outputs, a.judged);
      });
  for (std::size_t c = 0; c < open.size(); ++c) {
    double sum = 0;
    for (double e : error[c]) sum += e;
    mean[open[c]] = sum / static_cast<double>(subset_.size());
    journal_.add(key(open[c]), {mean[open[c]]});
  }
  return mean;
}

}  // namespace ptq::control
