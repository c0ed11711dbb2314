#pragma once
// SPDX-License-Identifier: Apache-2.0
// Mean average precision of boxes, averaged over the overlaps 0.5, 0.55 … 0.95, as COCO defines it
// (101 points of recall, at most 100 boxes per image, no crowds).
//
// Output 0: [.., n, 6] rows x1 y1 x2 y2 score class, after non-maximum suppression; a negative score
// or class is no box. Label: [m, 5] rows class x1 y1 x2 y2; a negative class is none.

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <numeric>
#include <span>
#include <vector>

#include <ptq/accuracy_control/metrics.hpp>
#include <ptq/core/tensor.hpp>

namespace ptq::control {

namespace detail_metric {

struct box {
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0, score = 1, label = 0;
};

inline double overlap_of(const box& a, const box& b) {
  const double w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const double h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (w <= 0 || h <= 0) return 0;
  const double both = w * h;
  return both / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - both);
}

inline std::vector<box> found_boxes(const tensor& t) {
  const auto x = t.view<float>();
  std::vector<box> boxes;
  for (std::size_t i = 0; i + 6 <= x.size(); i += 6) {
    const auto at = [&](std::size_t k) { return static_cast<double>(x[i + k]); };
    if (at(4) >= 0 && at(5) >= 0) boxes.push_back({at(0), at(1), at(2), at(3), at(4), at(5)});
  }
  std::stable_sort(boxes.begin(), boxes.end(), [](auto& a, auto& b) { return a.score > b.score; });
  if (boxes.size() > 100) boxes.resize(100);
  return boxes;
}

inline std::vector<box> true_boxes(const tensor& t) {
  if (t.type() != dtype::f32)
    throw data_error("accuracy_control: metric 'map': labels: expected real numbers, got " +
                     std::string(name_of(t.type())));
  const auto x = t.view<float>();
  std::vector<box> boxes;
  for (std::size_t i = 0; i + 5 <= x.size(); i += 5) {
    const auto at = [&](std::size_t k) { return static_cast<double>(x[i + k]); };
    if (at(0) >= 0) boxes.push_back({at(1), at(2), at(3), at(4), 1, at(0)});
  }
  return boxes;
}

inline constexpr std::size_t overlaps = 10;

/// [class, score, one 0 or 1 per overlap] of every box found, and [−1 − class, count, 0…] of the true
/// ones.
inline counts match(const std::vector<box>& found, const std::vector<box>& truth) {
  counts c;
  std::array<std::vector<bool>, overlaps> used;
  for (auto& u : used) u.resize(truth.size());
  for (const auto& f : found) {
    c.insert(c.end(), {f.label, f.score});
    for (std::size_t k = 0; k < overlaps; ++k) {
      double best = 0.5 + 0.05 * static_cast<double>(k);
      std::size_t at = truth.size();
      for (std::size_t t = 0; t < truth.size(); ++t) {
        if (truth[t].label != f.label || used[k][t]) continue;
        const double o = overlap_of(f, truth[t]);
        if (o >= best && (at == truth.size() || o > best)) {
          best = o;
          at = t;
        }
      }
      if (at < truth.size()) used[k][at] = true;
      c.push_back(at < truth.size() ? 1 : 0);
    }
  }
  std::map<double, double> present;
  for (const auto& t : truth) ++present[t.label];
  for (const auto& [label, n] : present) {
    c.insert(c.end(), {-1 - label, n});
    c.insert(c.end(), overlaps, 0.0);
  }
  return c;
}

/// Precision at 101 points of recall; right: by falling score.
inline double average_precision(const std::vector<bool>& right, double present) {
  std::vector<double> precision, recall;
  double hits = 0;
  for (std::size_t i = 0; i < right.size(); ++i) {
    hits += right[i];
    precision.push_back(hits / static_cast<double>(i + 1));
    recall.push_back(hits / present);
  }
  for (std::size_t i = precision.size(); i-- > 1;)
    precision[i - 1] = std::max(precision[i - 1], precision[i]);
  double sum = 0;
  for (int p = 0; p <= 100; ++p) {
    const auto at = std::lower_bound(recall.begin(), recall.end(), p / 100.0);
    if (at != recall.end()) sum += precision[static_cast<std::size_t>(at - recall.begin())];
  }
  return sum / 101;
}

inline double mean_average_precision(std::span<const counts> all) {
  constexpr std::size_t width = 2 + overlaps;
  std::map<double, double> present;
  std::map<double, std::vector<const double*>> found;
  for (const auto& c : all)
    for (std::size_t i = 0; i < c.size(); i += width) {
      if (c[i] < 0)
        present[-1 - c[i]] += c[i + 1];
      else
        found[c[i]].push_back(&c[i]);
    }
  double sum = 0;
  for (const auto& [label, n] : present) {
    auto& rows = found[label];
    std::stable_sort(rows.begin(), rows.end(), [](auto* a, auto* b) { return a[1] > b[1]; });
    for (std::size_t k = 0; k < overlaps; ++k) {
      std::vector<bool> right;
      for (const auto* r : rows) right.push_back(r[2 + k] != 0);
      sum += average_precision(right, n) / static_cast<double>(overlaps);
    }
  }
  return present.empty() ? 0 : sum / static_cast<double>(present.size());
}

}  // namespace detail_metric

/// mAP@0.5:0.95. Its own label: the boxes with a score of at least `confident`.
inline metric mean_average_precision(double confident = 0.5) {
  using namespace detail_metric;
  return {.name = "map",
          .observe =
              [](std::span<const tensor> outputs, const tensor& label) {
                reals(outputs, "map");
                return match(found_boxes(outputs[0]), true_boxes(label));
              },
          .score = [](std::span<const counts> all) {
            return detail_metric::mean_average_precision(all);
          },
          .own_label =
              [confident](std::span<const tensor> outputs) {
                reals(outputs, "map");
                std::vector<float> rows;
                for (const auto& b : found_boxes(outputs[0]))
                  if (b.score >= confident)
                    for (double v : {b.label, b.x1, b.y1, b.x2, b.y2})
                      rows.push_back(static_cast<float>(v));
                if (rows.empty()) rows.assign(5, -1.0f);
                return tensor::from<float>({static_cast<std::int64_t>(rows.size()) / 5, 5},
                                           std::span<const float>(rows));
              }};
}

}  // namespace ptq::control
