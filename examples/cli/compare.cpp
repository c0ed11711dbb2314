// SPDX-License-Identifier: Apache-2.0
// ptq compare: how far one model's values are from another's.

#include <cmath>
#include <string>

#include <nlohmann/json.hpp>

#include "measure.hpp"

namespace cli {

namespace {

nlohmann::json object(const ptq::value_error& v) {
  const double sqnr = v.error.sqnr_db();
  return {{"name", v.name},
          {"sqnr_db", std::isfinite(sqnr) ? nlohmann::json(sqnr) : nlohmann::json(nullptr)},
          {"cosine", v.error.cosine()},
          {"largest_error", v.error.largest}};
}

}  // namespace

void compare(const compare_arguments& a) {
  require_writable(a.json);
  const auto reference = load_model(a.reference);
  const auto other = load_model(a.other);
  const auto data = open_data(a.data, a.samples, reference);
  auto result = comparison_of(reference, other, data, a);
  result.report.model = a.other;
  say(a, ptq::text(result.report));
  const auto& c = result.figures;
  const double lowest = c.output_sqnr_db();
  nlohmann::json j = {
      {"n", c.n},
      {"agreement", c.agreement},
      {"output_sqnr_db", std::isfinite(lowest) ? nlohmann::json(lowest) : nlohmann::json(nullptr)},
      {"outputs", nlohmann::json::array()},
      {"layers", nlohmann::json::array()}};
  for (const auto& o : c.outputs) j["outputs"].push_back(object(o));
  for (const auto& l : c.layers) {
    auto layer = object(l);
    layer["operator"] = l.what;
    layer["precision"] = l.integer ? "int8" : "float";
    j["layers"].push_back(std::move(layer));
  }
  if (a.attribute) {
    const auto causes = attribution_of(reference, other, data, a);
    say(a, "\n" + ptq::text(causes));
    j["attribution"] = ptq::json<nlohmann::json>(causes);
  }
  write_result(a, j);
}

}  // namespace cli
