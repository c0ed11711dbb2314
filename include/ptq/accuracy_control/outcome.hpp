#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a search found, as plain facts, as text and as JSON: a template on the JSON type, so that a
// file that writes none does not compile its library.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/accuracy_control/budget.hpp>
#include <ptq/accuracy_control/statistics.hpp>

namespace ptq::control {

enum class status : std::uint8_t {
  met,     // the bound, and every limit
  not_met  // the best model found is returned; `limited_by` says what limits it
};

/// One metric of a model, beside float's.
struct metric_outcome {
  std::string metric;
  double float_score = 0, score = 0;
  double max_drop = 0, min_agreement = 0;
  double drop = 0, half_width = 0;  // 95 %
  double agreement = 0;
  bool resolved = true;             // the samples tell the bound
  std::int64_t samples_needed = 0;  // that would
  bool fine = false;
};

/// A model of the accuracy/latency front; where there are several metrics, drop and agreement are the
/// first one's.
struct front_model {
  std::vector<std::string> restored;  // names of the groups in float
  double us = 0;                      // predicted from the costs
  double float_macs = 0;              // share of the multiply-accumulates
  double drop = 0, half_width = 0;    // of the score; 95 %
  double agreement = 0, error = 0;
  bool whole = true;                  // judged on all samples
  bool fine = false;
};

struct outcome {
  control::status status = status::met;
  std::string limited_by;
  std::int64_t samples = 0;
  std::vector<metric_outcome> metrics;  // of the chosen model, as they were asked for
  bool tuned = false;                 // it starts from presets and ranges that were tried
  bool corrected = false;             // biases and weights of the chosen model were corrected after the search
  front_model chosen;
  std::vector<std::string> nodes;     // in float
  std::vector<front_model> front;     // in the order of time, none both slower and worse than another
  cost_table costs;
  int groups = 0, confirmations = 0, validations = 0;
  double inferences = 0;              // of quantized models, in this run
  double measured_us = 0;             // of the chosen model, where it was measured; else 0
};

/// Said before the search, where the bound lies below the noise; "" otherwise.
inline std::string resolution_warning(const std::string& metric, std::int64_t n, const interval& drop,
                                      double bound) {
  if (drop.half_width <= bound) return "";
  char text[360];
  std::snprintf(text, sizeof text,
                "%s: a drop of %.4f can't be told from %lld samples, whose interval is +-%.4f; %lld "
                "would tell it: the search goes by agreement and output error",
                metric.c_str(), bound, static_cast<long long>(n), drop.half_width,
                static_cast<long long>(samples_to_resolve(n, drop.half_width, bound)));
  return text;
}

template <class Json = nlohmann::json>
Json json(const front_model& m) {
  return {{"restored", m.restored},    {"predicted_us", m.us},
          {"float_macs_percent", 100 * m.float_macs},
          {"drop", m.drop},            {"drop_half_width", m.half_width},
          {"agreement", m.agreement},  {"output_error", m.error},
          {"all_samples", m.whole},    {"fine", m.fine}};
}

template <class Json = nlohmann::json>
Json json(const metric_outcome& m) {
  return {{"metric", m.metric},
          {"float_score", m.float_score},
          {"score", m.score},
          {"max_drop", m.max_drop},
          {"min_agreement", m.min_agreement},
          {"drop", m.drop},
          {"drop_half_width", m.half_width},
          {"agreement", m.agreement},
          {"resolved", m.resolved},
          {"samples_needed", m.samples_needed},
          {"fine", m.fine}};
}

template <class Json = nlohmann::json>
Json json(const outcome& o) {
  Json j = {{"status", o.status == status::met ? "met" : "not_met"},
            {"samples", o.samples},
            {"metrics", Json::array()},
            {"tuned", o.tuned},
            {"corrected", o.corrected},
            {"chosen", json<Json>(o.chosen)},
            {"float_nodes", o.nodes},
            {"groups", o.groups},
            {"confirmations", o.confirmations},
            {"validations", o.validations},
            {"inferences", o.inferences},
            {"float_us", o.costs.real_us},
            {"int8_us", o.costs.integer_us},
            {"front", Json::array()}};
  if (!o.limited_by.empty()) j["limited_by"] = o.limited_by;
  if (o.measured_us > 0) j["measured_us"] = o.measured_us;
  for (const auto& m : o.metrics) j["metrics"].push_back(json<Json>(m));
  for (const auto& m : o.front) j["front"].push_back(json<Json>(m));
  return j;
}

/// What the model's file keeps of the search.
template <class Json = nlohmann::json>
std::string note(const front_model& chosen, const cost_table& costs) {
  return Json{{"chosen", json<Json>(chosen)}, {"costs", Json::parse(cost_text<Json>(costs))}}.dump();
}

/// A section of the report; ends with a newline.
inline std::string text(const outcome& o) {
  char line[512];
  std::string s = "\naccuracy control: ";
  s += o.status == status::met ? "the bound is met\n" : "the bound is NOT met; limited by " + o.limited_by + "\n";
  for (const auto& m : o.metrics) {
    std::snprintf(line, sizeof line,
                  "  %s %.4f -> %.4f: drop %.4f +- %.4f (95 %%, %lld samples), bound %.4f\n"
                  "    agreement %.4f (wanted %.4f)%s\n",
                  m.metric.c_str(), m.float_score, m.score, m.drop, m.half_width,
                  static_cast<long long>(o.samples), m.max_drop, m.agreement, m.min_agreement,
                  m.fine ? "" : ": NOT fine");
    s += line;
  }
  std::snprintf(line, sizeof line, "  output error %.3g%s%s\n", o.chosen.error,
                o.tuned ? ", from tuned presets and ranges" : "",
                o.corrected ? ", biases and weights corrected" : "");
  s += line;
  std::snprintf(line, sizeof line,
                "  %zu of %d groups given back (%.2f %% of the multiply-accumulates): %d confirmations, "
                "%d validations, %.0f inferences\n  predicted %.1f us (all integer %.1f, float %.1f)\n",
                o.chosen.restored.size(), o.groups, 100 * o.chosen.float_macs, o.confirmations,
                o.validations, o.inferences, o.chosen.us, o.costs.integer_us, o.costs.real_us);
  s += line;
  if (o.measured_us > 0) {
    std::snprintf(line, sizeof line, "  measured %.1f us\n", o.measured_us);
    s += line;
  }
  for (const auto& m : o.front) {
    std::snprintf(line, sizeof line,
                  "  front: %10.1f us  %5.1f %% MACs in float  agreement %.4f  drop %+.4f +- %.4f%s\n",
                  m.us, 100 * m.float_macs, m.agreement, m.drop, m.half_width,
                  m.fine ? "  fine" : "");
    s += line;
  }
  return s;
}

}  // namespace ptq::control
