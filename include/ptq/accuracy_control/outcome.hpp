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

/// A model of the accuracy/latency front.
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
  std::string metric;
  std::int64_t samples = 0;
  double float_score = 0, score = 0;
  double max_drop = 0, min_agreement = 0;
  bool resolved = true;               // the samples tell the bound
  std::int64_t samples_needed = 0;    // that would
  front_model chosen;
  std::vector<std::string> nodes;     // in float
  std::vector<front_model> front;     // in the order of time, none both slower and worse than another
  cost_table costs;
  int groups = 0, confirmations = 0, validations = 0;
  double measured_us = 0;             // of the chosen model, where it was measured; else 0
};

/// Said before the search, where the bound lies below the noise; "" otherwise.
inline std::string resolution_warning(std::int64_t n, const interval& drop, double bound) {
  if (drop.half_width <= bound) return "";
  char text[320];
  std::snprintf(text, sizeof text,
                "a drop of %.4f can't be told from %lld samples, whose interval is +-%.4f; %lld would "
                "tell it: the search goes by agreement and output error",
                bound, static_cast<long long>(n), drop.half_width,
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
Json json(const outcome& o) {
  Json j = {{"status", o.status == status::met ? "met" : "not_met"},
            {"metric", o.metric},
            {"samples", o.samples},
            {"float_score", o.float_score},
            {"score", o.score},
            {"max_drop", o.max_drop},
            {"min_agreement", o.min_agreement},
            {"resolved", o.resolved},
            {"samples_needed", o.samples_needed},
            {"chosen", json<Json>(o.chosen)},
            {"float_nodes", o.nodes},
            {"groups", o.groups},
            {"confirmations", o.confirmations},
            {"validations", o.validations},
            {"float_us", o.costs.real_us},
            {"int8_us", o.costs.integer_us},
            {"front", Json::array()}};
  if (!o.limited_by.empty()) j["limited_by"] = o.limited_by;
  if (o.measured_us > 0) j["measured_us"] = o.measured_us;
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
  std::snprintf(line, sizeof line,
                "  %s %.4f -> %.4f: drop %.4f +- %.4f (95 %%, %lld samples), bound %.4f\n"
                "  agreement %.4f (wanted %.4f), output error %.3g\n",
                o.metric.c_str(), o.float_score, o.score, o.chosen.drop, o.chosen.half_width,
                static_cast<long long>(o.samples), o.max_drop, o.chosen.agreement, o.min_agreement,
                o.chosen.error);
  s += line;
  std::snprintf(line, sizeof line,
                "  %zu of %d groups given back (%.2f %% of the multiply-accumulates): %d confirmations, "
                "%d validations\n  predicted %.1f us (all integer %.1f, float %.1f)\n",
                o.chosen.restored.size(), o.groups, 100 * o.chosen.float_macs, o.confirmations,
                o.validations, o.chosen.us, o.costs.integer_us, o.costs.real_us);
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
