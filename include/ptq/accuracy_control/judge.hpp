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
  control::metric metric = top_k(1);
  double max_drop = 0.01;
  bool relative = false;         // max_drop is a share of the float score
  bool annotation_free = false;  // the float model's own answers are the labels
  std::int64_t ranking_subset_size = 32;
  progress report = {};
};

/// What one sample says of a model.
struct sample_result {
  counts scored;         // against the label
  double agreement = 0;  // with float's own answer
  double error = 0;      // Σ(y − ŷ)² / Σy² over the outputs; of probabilities, over their scores
};

/// Answers the search's questions by running models, and remembers.
template <class Trial>
class judge {
 public:
  judge(const Trial& models, std::vector<tensor> labels, judge_options o)
      : models_(models), o_(std::move(o)), labels_(std::move(labels)) {
    ask_float();
  }

  void open(journal j) { journal_ = std::move(j); }
  journal& notes() { return journal_; }
  double float_score() const { return o_.metric.score(float_counts_); }
  double bound() const {
    return o_.relative ? o_.max_drop * float_score() : o_.max_drop;
  }
  double min_agreement() const { return agreement_for(bound()); }
  std::span<const std::int64_t> subset() const { return subset_; }

  verdict validate(const group_set& s);
  std::vector<double> errors(const std::vector<group_set>& sets);
  /// Chooses the ranking subset: the samples that the model of `s` changes most.
  void choose_subset(const group_set& s);
  /// Whether the spread seen for `v` tells the bound.
  bool resolves(const verdict& v) const { return v.drop.half_width <= bound(); }

  static std::string key_of(const group_set& s) {
    std::string k;
    for (int i : s) k += (k.empty() ? "" : ",") + std::to_string(i);
    return k;
  }

 private:
  static double squared_error(std::span<const tensor> y, std::span<const tensor> q) {
    double signal = 0, noise = 0;
    for (std::size_t i = 0; i < y.size() && i < q.size(); ++i) {
      if (y[i].type() != dtype::f32 || y[i].dims() != q[i].dims()) continue;
      const auto a = y[i].view<float>(), b = q[i].view<float>();
      for (std::size_t k = 0; k < a.size(); ++k) {
        const double d = static_cast<double>(a[k]) - static_cast<double>(b[k]);
        signal += static_cast<double>(a[k]) * static_cast<double>(a[k]);
        noise += d * d;
      }
    }
    return signal > 0 ? noise / signal : noise;
  }
  void ask_float();
  /// Parts of the samples: as soon as the rest can't save a model, it is given up.
  static constexpr std::int64_t part = 64;
  std::vector<sample_result> results(const group_set& s, std::int64_t begin);
  interval drop_of(const std::vector<sample_result>& all) const;
  verdict summary(const std::vector<sample_result>& all) const;

  const Trial& models_;
  judge_options o_;
  std::vector<tensor> labels_;
  std::vector<std::vector<tensor>> float_outputs_;
  std::vector<tensor> own_;
  std::vector<counts> float_counts_;
  std::vector<std::int64_t> subset_;
  bool steered_ = false;  // by agreement: the samples can't tell the bound
  journal journal_;
};

template <class Trial>
void judge<Trial>::ask_float() {
  const auto n = static_cast<std::size_t>(models_.count());
  if (!o_.annotation_free && labels_.size() != n)
    throw data_error("accuracy_control: labels: expected " + std::to_string(n) +
                     ", one per sample, got " + std::to_string(labels_.size()));
  if (o_.annotation_free && !o_.metric.own_label)
    throw data_error("accuracy_control: metric '" + o_.metric.name +
                     "': expected one that makes labels of outputs, got one that needs annotations");
  float_outputs_.resize(n);
  own_.resize(n);
  float_counts_.resize(n);
  labels_.resize(n);
  models_.run(models_.network(), work_range{0, models_.count()}, [&](std::int64_t i, const auto& a) {
    const auto k = static_cast<std::size_t>(i);
    if (o_.metric.own_label) own_[k] = o_.metric.own_label(a.outputs);
    if (o_.annotation_free) labels_[k] = own_[k];
    float_counts_[k] = o_.metric.observe(a.outputs, labels_[k]);
    float_outputs_[k] = a.judged;
  });
}

template <class Trial>
std::vector<sample_result> judge<Trial>::results(const group_set& s, std::int64_t begin) {
  const work_range range{begin, std::min(begin + part, models_.count())};
  std::vector<sample_result> all(static_cast<std::size_t>(range.end - range.begin));
  const std::string key = "validate:" + key_of(s) + ":" + std::to_string(range.begin) + "-" +
                          std::to_string(range.end);
  if (const auto* known = journal_.find(key)) {
    std::size_t at = 0;
    for (auto& r : all) {
      const auto n = static_cast<std::size_t>(known->at(at++));
      for (std::size_t i = 0; i < n; ++i) r.scored.push_back(known->at(at++));
      r.agreement = known->at(at++);
      r.error = known->at(at++);
    }
    return all;
  }
  models_.run(models_.quantized(s), range, [&](std::int64_t i, const auto& a) {
    const auto k = static_cast<std::size_t>(i);
    auto& r = all[static_cast<std::size_t>(i - range.begin)];
    r.scored = o_.metric.observe(a.outputs, labels_[k]);
    r.error = squared_error(float_outputs_[k], a.judged);
    if (!o_.metric.own_label) {
      r.agreement = 1 - std::min(1.0, std::sqrt(r.error));
      return;
    }
    const auto same = o_.metric.observe(a.outputs, own_[k]);
    r.agreement = o_.metric.score({&same, 1});
  });
  std::vector<double> flat;
  for (const auto& r : all) {
    flat.push_back(static_cast<double>(r.scored.size()));
    flat.insert(flat.end(), r.scored.begin(), r.scored.end());
    flat.insert(flat.end(), {r.agreement, r.error});
  }
  journal_.add(key, std::move(flat));
  return all;
}

/// Paired differences where the score is a mean; else a jackknife over blocks of samples.
template <class Trial>
interval judge<Trial>::drop_of(const std::vector<sample_result>& all) const {
  const std::size_t n = all.size();
  if (o_.metric.is_mean) {
    std::vector<double> d;
    for (std::size_t i = 0; i < n; ++i)
      d.push_back(o_.metric.score({&float_counts_[i], 1}) - o_.metric.score({&all[i].scored, 1}));
    return paired_mean(d);
  }
  const auto drop = [&](std::size_t skip, std::size_t blocks) {
    std::vector<counts> a, b;
    for (std::size_t i = 0; i < n; ++i) {
      if (blocks > 0 && i % blocks == skip) continue;
      a.push_back(float_counts_[i]);
      b.push_back(all[i].scored);
    }
    return o_.metric.score(a) - o_.metric.score(b);
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
  std::vector<counts> scored;
  for (const auto& r : all) {
    v.agreement += r.agreement / static_cast<double>(v.n);
    v.error += r.error / static_cast<double>(v.n);
    scored.push_back(r.scored);
  }
  v.score = o_.metric.score(scored);
  v.drop = drop_of(all);
  v.fine = v.whole && fine(v.drop, v.agreement, bound(), min_agreement());
  return v;
}

template <class Trial>
verdict judge<Trial>::validate(const group_set& s) {
  std::vector<sample_result> all;
  double missed = 0, error = 0;
  std::vector<verdict::part> parts;
  for (std::int64_t begin = 0; begin < models_.count(); begin += part) {
    for (auto& r : results(s, begin)) {
      missed += 1 - r.agreement;
      error += r.error;
      all.push_back(std::move(r));
    }
    const auto n = static_cast<double>(all.size());
    parts.push_back({static_cast<std::int64_t>(all.size()), 1 - missed / n, error / n});
    if (o_.report)
      o_.report("validate", static_cast<std::int64_t>(all.size()), models_.count());
    if (steered_ && !s.empty() && !can_reach(min_agreement(), missed, models_.count())) break;
  }
  auto v = summary(all);
  v.parts = std::move(parts);
  if (s.empty()) steered_ = !resolves(v);
  return v;
}

template <class Trial>
void judge<Trial>::choose_subset(const group_set& s) {
  std::vector<sample_result> all;
  for (std::int64_t begin = 0; begin < models_.count(); begin += part)
    for (auto& r : results(s, begin)) all.push_back(std::move(r));
  std::vector<std::int64_t> order(all.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
    const auto &x = all[static_cast<std::size_t>(a)], &y = all[static_cast<std::size_t>(b)];
    return x.agreement != y.agreement ? x.agreement < y.agreement : x.error > y.error;
  });
  order.resize(std::min(order.size(),
                        static_cast<std::size_t>(std::max<std::int64_t>(1, o_.ranking_subset_size))));
  std::sort(order.begin(), order.end());
  subset_ = std::move(order);
}

template <class Trial>
std::vector<double> judge<Trial>::errors(const std::vector<group_set>& sets) {
  std::vector<double> mean(sets.size(), -1);
  std::vector<std::size_t> open;
  const auto key = [&](std::size_t i) { return "rank:" + key_of(sets[0]) + ":" + key_of(sets[i]); };
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
  models_.run_changed(
      models_.quantized(sets[0]), candidates,
      [](const graph& a, const graph& b) {
        return parting_of(a, b);
      },
      subset_, [&](std::size_t c, std::size_t k, const auto& a) {
        error[c][k] = squared_error(float_outputs_[static_cast<std::size_t>(subset_[k])], a.judged);
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
