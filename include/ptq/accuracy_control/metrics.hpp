#pragma once
// SPDX-License-Identifier: Apache-2.0
// Metrics: what is counted of one sample, and how counts become a score. Every score lies in
// [0, 1] and is higher for better models; word error rate is turned round.
//
// A metric also says what label a model's own outputs stand for. Two uses: without annotations the
// float model's confident answers are the labels, and with them the share of float's own answers
// that the quantized model gives too (the agreement) shows damage that labels hide.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/tensor.hpp>

namespace ptq::control {

using counts = std::vector<double>;

struct metric {
  std::string name;
  /// Outputs of one sample, in the model's order, and its label → what is counted.
  std::function<counts(std::span<const tensor>, const tensor&)> observe;
  /// Counts of all samples → score.
  std::function<double(std::span<const counts>)> score;
  /// The label that outputs stand for; absent for a user's metric that has none.
  std::function<tensor(std::span<const tensor>)> own_label = {};
  /// The score is the mean of the samples' own scores: its interval needs no jackknife.
  bool is_mean = false;
};

namespace detail_metric {

inline std::span<const float> reals(std::span<const tensor> outputs, const std::string& metric) {
  if (outputs.empty() || outputs[0].type() != dtype::f32 || outputs[0].size() == 0)
    throw data_error("accuracy_control: metric '" + metric +
                     "': first output: expected real numbers, got " +
                     (outputs.empty() ? std::string("none")
                                      : name_of(outputs[0].type()) + (" " + outputs[0].dims().text())));
  return outputs[0].view<float>();
}

/// Integers of a label of any integer type, or integral reals.
inline std::vector<std::int64_t> integers(const tensor& t, const std::string& metric) {
  std::vector<std::int64_t> v;
  const auto all = [&](auto x) {
    for (auto e : x) v.push_back(static_cast<std::int64_t>(e));
  };
  switch (t.type()) {
    case dtype::s64: all(t.view<std::int64_t>()); break;
    case dtype::s32: all(t.view<std::int32_t>()); break;
    case dtype::s16: all(t.view<std::int16_t>()); break;
    case dtype::u16: all(t.view<std::uint16_t>()); break;
    case dtype::s8: all(t.view<std::int8_t>()); break;
    case dtype::u8: all(t.view<std::uint8_t>()); break;
    case dtype::f32: all(t.view<float>()); break;
    case dtype::boolean: all(t.view<bool>()); break;
    default:
      throw data_error("accuracy_control: metric '" + metric + "': expected labels of integers, got " +
                       name_of(t.type()));
  }
  if (v.empty()) throw data_error("accuracy_control: metric '" + metric + "': a label is empty");
  return v;
}

inline tensor label_of(std::vector<std::int64_t> v) {
  return tensor::from<std::int64_t>({static_cast<std::int64_t>(v.size())},
                                    std::span<const std::int64_t>(v));
}

/// Σ first / Σ second; 0 of nothing.
inline double ratio(std::span<const counts> all) {
  double a = 0, b = 0;
  for (const auto& c : all) {
    a += c[0];
    b += c[1];
  }
  return b > 0 ? a / b : 0;
}

/// The largest over the axis of classes at every place, the first of equals. Classes lie on the
/// last axis, or on axis 1 of a plane [1, classes, h, w].
inline std::vector<std::int64_t> classes_of(const tensor& t) {
  const auto x = t.view<float>();
  const bool plane = t.dims().rank() == 4;
  const auto n = static_cast<std::size_t>(t.dims().rank() == 0 ? 1 : t.dims()[plane ? 1 : t.dims().rank() - 1]);
  const std::size_t places = x.size() / n;
  std::vector<std::int64_t> best(places);
  for (std::size_t p = 0; p < places; ++p)
    for (std::size_t c = 1; c < n; ++c) {
      const auto at = [&](std::size_t k) { return plane ? x[k * places + p] : x[p * n + k]; };
      if (at(c) > at(static_cast<std::size_t>(best[p]))) best[p] = static_cast<std::int64_t>(c);
    }
  return best;
}

inline tensor own_classes(std::span<const tensor> outputs) {
  reals(outputs, "classes");
  return label_of(classes_of(outputs[0]));
}

}  // namespace detail_metric

/// Share of samples whose class is among the `k` highest of the first output; a tie goes to the
/// first class. Label: one class.
inline metric top_k(int k) {
  using namespace detail_metric;
  const std::string name = "top" + std::to_string(k);
  return {.name = name,
          .observe =
              [k, name](std::span<const tensor> outputs, const tensor& label) {
                const auto v = reals(outputs, name);
                const auto l = integers(label, name)[0];
                if (l < 0 || l >= static_cast<std::int64_t>(v.size())) return counts{0, 1};
                const float own = v[static_cast<std::size_t>(l)];
                std::int64_t before = 0;
                for (std::size_t i = 0; i < v.size(); ++i)
                  before += v[i] > own || (v[i] == own && static_cast<std::int64_t>(i) < l);
                return counts{before < k ? 1.0 : 0.0, 1};
              },
          .score = ratio,
          .own_label =
              [name](std::span<const tensor> outputs) {
                const auto v = reals(outputs, name);
                return label_of({std::max_element(v.begin(), v.end()) - v.begin()});
              },
          .is_mean = true};
}

/// Share of places (tokens) whose class is right. Label: a class per place; a negative one is left
/// out. The interval takes the sample, not the token, as what is independent.
inline metric token_accuracy() {
  using namespace detail_metric;
  return {.name = "token_accuracy",
          .observe =
              [](std::span<const tensor> outputs, const tensor& label) {
                reals(outputs, "token_accuracy");
                const auto have = classes_of(outputs[0]);
                const auto want = integers(label, "token_accuracy");
                counts c{0, 0};
                for (std::size_t i = 0; i < want.size(); ++i) {
                  if (want[i] < 0) continue;
                  ++c[1];
                  c[0] += i < have.size() && have[i] == want[i];
                }
                return c;
              },
          .score = ratio,
          .own_label = own_classes};
}

namespace detail_metric {

/// [class, true positives, false positives, false negatives]… of the classes that occur.
inline counts confusion(const std::vector<std::int64_t>& have, const std::vector<std::int64_t>& want) {
  counts c;
  const auto row = [&](std::int64_t k) {
    for (std::size_t i = 0; i < c.size(); i += 4)
      if (c[i] == static_cast<double>(k)) return i;
    c.insert(c.end(), {static_cast<double>(k), 0, 0, 0});
    return c.size() - 4;
  };
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (want[i] < 0) continue;
    const std::int64_t h = i < have.size() ? have[i] : -1;
    if (h == want[i]) {
      ++c[row(h) + 1];
      continue;
    }
    ++c[row(want[i]) + 3];
    if (h >= 0) ++c[row(h) + 2];
  }
  return c;
}

/// Mean over the classes that occur of weight · tp / (weight · tp + fp + fn).
inline double mean_overlap(std::span<const counts> all, double weight) {
  std::vector<std::array<double, 4>> classes;
  for (const auto& c : all)
    for (std::size_t i = 0; i < c.size(); i += 4) {
      auto it = std::find_if(classes.begin(), classes.end(), [&](const auto& k) { return k[0] == c[i]; });
      if (it == classes.end()) it = classes.insert(it, {c[i], 0, 0, 0});
      for (std::size_t j = 1; j < 4; ++j) (*it)[j] += c[i + j];
    }
  double sum = 0;
  for (const auto& k : classes) sum += weight * k[1] / (weight * k[1] + k[2] + k[3]);
  return classes.empty() ? 0 : sum / static_cast<double>(classes.size());
}

inline metric overlap(const std::string& name, double weight) {
  return {.name = name,
          .observe =
              [name](std::span<const tensor> outputs, const tensor& label) {
                reals(outputs, name);
                return confusion(classes_of(outputs[0]), integers(label, name));
              },
          .score = [weight](std::span<const counts> all) { return mean_overlap(all, weight); },
          .own_label = own_classes};
}

}  // namespace detail_metric

/// Macro F1: mean over the classes that occur of 2tp / (2tp + fp + fn). Label: a class per place.
inline metric f1() { return detail_metric::overlap("f1", 2); }

/// Mean over the classes of tp / (tp + fp + fn), places counted over all samples. Label: a class
/// per place; a negative one is left out.
inline metric mean_iou() { return detail_metric::overlap("mean_iou", 1); }

/// 1 − word error rate: words are the classes of the places (after a CTC collapse: repeats and
/// `blank` are dropped), errors are edits to the label.
inline metric word_accuracy(std::int64_t blank = -1) {
  using namespace detail_metric;
  const auto words = [blank](std::span<const tensor> outputs) {
    reals(outputs, "word_error_rate");
    auto v = classes_of(outputs[0]);
    if (blank < 0) return v;
    v.erase(std::unique(v.begin(), v.end()), v.end());
    std::erase(v, blank);
    return v;
  };
  return {.name = "word_error_rate",
          .observe =
              [words](std::span<const tensor> outputs, const tensor& label) {
                const auto have = words(outputs);
                auto want = integers(label, "word_error_rate");
                std::erase_if(want, [](std::int64_t w) { return w < 0; });
                std::vector<std::size_t> row(have.size() + 1);
                for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
                for (std::size_t i = 0; i < want.size(); ++i) {
                  std::size_t corner = row[0]++;
                  for (std::size_t j = 0; j < have.size(); ++j) {
                    const std::size_t swap = corner + (want[i] != have[j]);
                    corner = row[j + 1];
                    row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, swap});
                  }
                }
                return counts{static_cast<double>(row.back()), static_cast<double>(want.size())};
              },
          .score = [](std::span<const counts> all) { return std::max(0.0, 1 - ratio(all)); },
          .own_label =
              [words](std::span<const tensor> outputs) {
                auto v = words(outputs);
                if (v.empty()) v.push_back(-1);
                return label_of(std::move(v));
              }};
}

}  // namespace ptq::control
