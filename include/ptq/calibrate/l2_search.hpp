#pragma once
// SPDX-License-Identifier: Apache-2.0
// The estimator that NNCF calls HISTOGRAM: bounds move inwards bin by bin, the side that loses less
// first, for as long as the squared error of 256 cells does not grow. Source: PyTorch's
// HistogramObserver, which took it from Caffe2 (norm minimisation, non-linear search).

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <ptq/calibrate/histogram.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// Squared error of the bins [0, n), a width apart, in `cells` equal cells over bins [first, last]:
/// a bin's numbers lie evenly in it, those outside go to the end cells, a cell stands for its
/// middle.
inline double cell_error(const std::vector<double>& counts, std::int64_t first, std::int64_t last,
                         int cells) {
  const double cell = static_cast<double>(last - first + 1) / cells;
  const auto middle = [&](std::int64_t c) { return (static_cast<double>(c) + 0.5) * cell; };
  const auto cube = [](double v) { return v * v * v; };
  const auto cell_at = [&](double x) {
    const auto c = static_cast<std::int64_t>(x / cell);
    return x < 0 ? 0 : c >= cells ? cells - 1 : c;
  };
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    double at = static_cast<double>(static_cast<std::int64_t>(i) - first);
    const double end = at + 1;
    double error = 0;
    for (std::int64_t c = cell_at(at); at < end; ++c) {
      const double edge = static_cast<double>(c + 1) * cell;
      const double to = c + 1 < cells && edge < end && edge > at ? edge : end;
      error += (cube(to - middle(c)) - cube(at - middle(c))) / 3;
      at = to;
    }
    sum += counts[i] * error;
  }
  return sum;
}

/// cost  at most 2048 times 2048 bins
inline value_range l2_range(const histogram& h, int codes = 256) {
  const value_range all = h.extremes();
  // The bins in use: the outermost are those of the extremes.
  std::int64_t base = 0, top = histogram::bins - 1;
  while (base < top && h.count(base) == 0) ++base;
  while (top > base && h.count(top) == 0) --top;
  std::vector<double> counts;
  for (auto i = base; i <= top; ++i) counts.push_back(static_cast<double>(h.count(i)));
  std::vector<double> up_to(counts.size());  // numbers in the bins up to and with i
  for (std::size_t i = 0; i < counts.size(); ++i) up_to[i] = counts[i] + (i ? up_to[i - 1] : 0.0);

  const auto total = static_cast<double>(h.total());
  const double step = 1e-5;
  double alpha = 0, beta = 1, least = std::numeric_limits<double>::infinity();
  std::int64_t first = 0, last = static_cast<std::int64_t>(counts.size()) - 1;
  while (alpha < beta) {
    std::int64_t left = first, right = last;
    while (left < last && up_to[static_cast<std::size_t>(left)] < (alpha + step) * total) ++left;
    while (right > first && up_to[static_cast<std::size_t>(right)] > (beta - step) * total) --right;
    std::int64_t next_first = first, next_last = last;
    if (left - first > last - right) {
      next_first = left;
      alpha += step;
    } else {
      next_last = right;
      beta -= step;
    }
    if (next_first == first && next_last == last) continue;
    if (next_first >= next_last) break;
    const double e = cell_error(counts, next_first, next_last, codes);
    if (e > least) break;
    least = e;
    first = next_first;
    last = next_last;
  }
  return {std::max(all.min, static_cast<float>(h.edge(base + first))),
          std::min(all.max, static_cast<float>(h.edge(base + last) + h.width()))};
}

}  // namespace ptq::calibration
