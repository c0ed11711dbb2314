#pragma once
// SPDX-License-Identifier: Apache-2.0
// A report as JSON, for scripts. Keys that were not measured are absent; a figure that is not
// finite (the SQNR of equal tensors) is null, as JSON has no infinity.
//
// Templates on the JSON type, so that a file that writes none does not compile its library.

#include <cmath>
#include <string>

#include <nlohmann/json.hpp>

#include <ptq/report/contents.hpp>

namespace ptq {

namespace detail_report {

template <class Json>
Json finite(double x) {
  return std::isfinite(x) ? Json(x) : Json(nullptr);
}

template <class Json>
Json object(const report_accuracy& a) {
  return {{"n", a.n}, {"top1", a.top1}, {"top5", a.top5}};
}

template <class Json>
Json object(const report_latency& l) {
  return {{"min_ms", l.min_ms},
          {"median_ms", l.median_ms},
          {"repeats", l.repeats},
          {"threads", l.threads},
          {"isa", l.isa}};
}

template <class Json>
Json object(const report_layer& l) {
  Json j = {{"name", l.name},     {"operator", l.what},
            {"value", l.value},   {"precision", l.integer ? "int8" : "float"},
            {"kernel", l.kernel}, {"macs", l.macs}};
  if (!l.note.empty()) j["note"] = l.note;
  if (l.error) {
    j["sqnr_db"] = finite<Json>(l.error->sqnr_db);
    j["cosine"] = l.error->cosine;
  }
  return j;
}

}  // namespace detail_report

/// The report as one object; numbers keep their full precision, shares are in percent.
template <class Json = nlohmann::json>
Json json(const report& r) {
  using namespace detail_report;
  Json j = {{"model", r.model},
            {"library", r.library},
            {"isa", r.isa},
            {"samples", r.samples},
            {"settings", Json::object()},
            {"macs", r.macs()},
            {"integer_macs", r.integer_macs()},
            {"integer_macs_percent", r.integer_share()},
            {"activation_bytes", r.activation_bytes},
            {"scratch_bytes", r.scratch_bytes},
            {"layers", Json::array()},
            {"notes", r.notes}};
  for (const auto& [name, text] : r.settings) j["settings"][name] = text;
  for (const auto& l : r.layers) j["layers"].push_back(object<Json>(l));
  for (const auto& o : r.overflow)
    j["overflow_census"].push_back(
        {{"layer", o.layer}, {"pairs", o.pairs}, {"saturating", o.saturating}});
  if (!r.recovery.empty()) {
    j["held_back"] = r.held_back;
    j["recovery"] = Json::array();
    for (const auto& step : r.recovery)
      j["recovery"].push_back({{"step", step.what},
                               {"before_db", finite<Json>(step.before_db)},
                               {"after_db", finite<Json>(step.after_db)},
                               {"kept", step.kept},
                               {"layers", step.layers},
                               {"note", step.note}});
  }
  if (r.bytes) j["bytes"] = {{"float", r.bytes->before}, {"int8", r.bytes->after}};
  if (r.accuracy)
    j["accuracy"] = {{"float", object<Json>(r.accuracy->before)},
                     {"int8", object<Json>(r.accuracy->after)}};
  if (r.latency)
    j["latency"] = {{"float", object<Json>(r.latency->before)},
                    {"int8", object<Json>(r.latency->after)}};
  if (r.compared > 0) {
    j["compared"] = r.compared;
    j["agreement"] = r.agreement;
    j["outputs"] = Json::array();
    for (const auto& o : r.outputs)
      j["outputs"].push_back(
          {{"name", o.name},
           {"sqnr_db", finite<Json>(o.error.sqnr_db)},
           {"cosine", o.error.cosine}});
  }
  return j;
}

}  // namespace ptq
