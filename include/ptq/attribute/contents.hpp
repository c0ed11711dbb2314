#pragma once
// SPDX-License-Identifier: Apache-2.0
// Where a network's error comes from, as plain facts, as text and as JSON.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace ptq {

/// The error that one layer adds to the outputs, by its causes: mean over the outputs of
/// Σ(y − ŷ)² / Σy², of a classifier's probabilities over the scores behind them.
struct layer_attribution {
  std::string name, what;  // node, operator
  double weight_rounding = 0, bias = 0, clipping = 0, rounding = 0;
  std::int64_t saturating_pairs = 0;  // in runtimes that add products in 16 bits
  std::string note = {};              // what could not be told
  double sum() const { return weight_rounding + bias + clipping + rounding; }
};

struct attribution {
  std::int64_t samples = 0;
  double error = 0;  // of the network, all roundings together
  double base_error = 0;  // of what the layers' errors are measured against: the network with its roundings
                          // taken off, which is the float one but where layers are no roundings of its own
  std::vector<layer_attribution> layers;  // the costliest first
  double sum() const {
    double s = 0;
    for (const auto& l : layers) s += l.sum();
    return s;
  }
};

/// What would take the largest part of a layer's error away.
inline std::string remedy_of(const layer_attribution& l) {
  const double most = std::max({l.weight_rounding, l.bias, l.clipping, l.rounding});
  if (!(most > 0))
    return l.saturating_pairs > 0 ? "--overflow-fix automatic, for other runtimes" : "none needed";
  if (most == l.weight_rounding) return "--effort best rounds weights for what the layer reads; --weight-bits 16";
  if (most == l.bias) return "--bias-correction sequential";
  if (most == l.clipping) return "a wider range: --range-estimator minmax or automatic";
  return "--activation-bits 16, or leave it in float: --ignore";
}

/// A table; ends with a newline.
///
/// most  layers that are shown
inline std::string text(const attribution& a, std::size_t most = 20) {
  char line[512];
  std::snprintf(line, sizeof line,
                "output error %.3g (%.1f dB) on %lld samples; alone, the roundings add up to %.3g\n"
                "  share   weights      bias  clipping  rounding  layer\n",
                a.error, a.error > 0 ? -10 * std::log10(a.error) : INFINITY,
                static_cast<long long>(a.samples), a.sum());
  std::string s = line;
  if (a.base_error > 0.05 * a.error) {
    std::snprintf(line, sizeof line,
                  "  with its roundings taken off the network still errs by %.3g: that is in no share\n",
                  a.base_error);
    s += line;
  }
  const double all = std::max(a.sum(), 1e-300);
  for (std::size_t i = 0; i < std::min(most, a.layers.size()); ++i) {
    const auto& l = a.layers[i];
    std::snprintf(line, sizeof line, "%6.1f%%  %7.1f%%  %7.1f%%  %7.1f%%  %7.1f%%  %.80s (%.40s)  -> %s",
                  100 * l.sum() / all, 100 * l.weight_rounding / all, 100 * l.bias / all,
                  100 * l.clipping / all, 100 * l.rounding / all, l.name.c_str(), l.what.c_str(),
                  remedy_of(l).c_str());
    s += line;
    if (l.saturating_pairs > 0)
      s += "; " + std::to_string(l.saturating_pairs) + " pairs could saturate elsewhere";
    s += (l.note.empty() ? "" : "; " + l.note) + "\n";
  }
  return s;
}

template <class Json>
Json json(const attribution& a) {
  Json j = {{"samples", a.samples}, {"error", a.error}, {"base_error", a.base_error}, {"sum", a.sum()}, {"layers", Json::array()}};
  for (const auto& l : a.layers) {
    Json of = {{"name", l.name},
               {"operator", l.what},
               {"weight_rounding", l.weight_rounding},
               {"bias", l.bias},
               {"clipping", l.clipping},
               {"rounding", l.rounding},
               {"saturating_pairs", l.saturating_pairs},
               {"remedy", remedy_of(l)}};
    if (!l.note.empty()) of["note"] = l.note;
    j["layers"].push_back(std::move(of));
  }
  return j;
}

}  // namespace ptq
