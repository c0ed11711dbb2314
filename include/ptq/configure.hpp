#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: a configuration file → options. JSON with comments, in POT's schema, so that a file made for
// it works as it is; options that POT lacks stand beside its own, in the same places.
//
//   model        model_name, model                       (weights: of no use to ONNX)
//   engine       data_source                             (the rest says how POT runs, and is listed)
//   compression  target_device, model_type, algorithms[0] {name, params}
//   params       preset, stat_subset_size, target_device, model_type, use_fast_bias, ignored {scope,
//                operations, patterns, subgraphs, validate}, weights {bits, mode, granularity},
//                activations {mode, range_estimator}, quantize_outputs, float_squeeze_excite, threads
//
// A key that no one knows is an error: it is misspelt more often than not. What POT knows and this
// library does otherwise is an error where the result would differ, and a warning where it wouldn't.

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <ptq/configure/read.hpp>
#include <ptq/configure/section.hpp>
#include <ptq/core/error.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq {

/// Text → configuration.
///
/// throws  data_error naming the path of a key that is unknown, of another type, out of range, or
/// of something that this library does not do
inline configuration read_configuration(std::string_view text);

/// The options as such a file; read_configuration gives them back.
inline std::string configuration_text(const quantize_options& options);

// -------------------------------------------------------------------------------------------------

inline configuration read_configuration(std::string_view text) {
  namespace d = detail_configure;
  d::json j;
  try {
    constexpr bool throws = true, comments = true;
    j = d::json::parse(text, nullptr, throws, comments);
  } catch (const d::json::exception& e) {
    throw data_error(std::string("config: not JSON: ") + e.what());
  }
  configuration c;
  d::section s(j, "", c);
  if (s.has("model")) d::read_model(s.child("model"), c);
  if (s.has("engine")) d::read_engine(s.child("engine"), c);
  if (s.has("compression")) d::read_compression(s.child("compression"), c);
  if (s.has("optimizer")) d::section::fail("optimizer", "none", "one; there is no TPE search");
  s.end();
  return c;
}

inline std::string configuration_text(const quantize_options& o) {
  using detail_configure::json;
  json ignored = {{"scope", o.ignored.names},
                  {"patterns", o.ignored.patterns},
                  {"operations", json::array()},
                  {"subgraphs", json::array()},
                  {"validate", o.ignored.validate}};
  for (const auto& type : o.ignored.types) ignored["operations"].push_back({{"type", type}});
  for (const auto& part : o.ignored.subgraphs)
    ignored["subgraphs"].push_back({{"inputs", part.inputs}, {"outputs", part.outputs}});
  const auto& w = o.weights;
  json weights = {{"bits", w.bits}, {"narrow_range", w.narrow_range}};
  if (w.mode != code_mode::automatic)
    weights["mode"] = w.mode == code_mode::symmetric ? "symmetric" : "asymmetric";
  if (w.scales != granularity::automatic)
    weights["granularity"] = w.scales == granularity::per_channel ? "perchannel" : "pertensor";
  json params = {{"preset", o.preset == preset::performance ? "performance" : "mixed"},
                 {"stat_subset_size", o.subset_size},
                 {"bias_correction", name_of(o.correction)},
                 {"weights", weights},
                 {"activations",
                  {{"range_estimator",
                    {{"preset", name_of(o.activations.estimator)},
                     {"percentile_tail", o.activations.percentile_tail}}}}},
                 {"quantize_outputs", o.quantize_outputs},
                 {"float_squeeze_excite", o.float_squeeze_excite},
                 {"threads", o.threads},
                 {"ignored", ignored}};
  json compression = {{"target_device", o.target == target_device::any ? "any" : "cpu"},
                      {"algorithms", {{{"name", "DefaultQuantization"}, {"params", params}}}}};
  if (o.model_type == model_type::transformer) compression["model_type"] = "transformer";
  return json{{"compression", compression}}.dump(2);
}

}  // namespace ptq
