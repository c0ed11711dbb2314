#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: a configuration file → options. JSON with comments, in POT's schema, so that a file made for
// it works as it is; options that POT lacks stand beside its own, in the same places.
//
//   model        model_name, model                       (weights: of no use to ONNX)
//   engine       data_source                             (the rest says how POT runs, and is listed)
//   compression  target_device, model_type, algorithms[0] {name, params}
//   params       preset, stat_subset_size, target_device, model_type, use_fast_bias, saturation_fix,
//                ignored {scope, operations, patterns, subgraphs, validate},
//                weights {bits, mode, granularity, narrow_range},
//                activations {bits, mode, signedness, range_estimator {preset | min, max}},
//                shuffle_data, seed, threads
//   ours, there  mode (int8, fp8_e4m3, fp8_e5m2), bias_correction, quantize_outputs,
//                float_squeeze_excite, effort (fast, balanced, best), tune_hyperparams, fixed (of preset,
//                range_estimator, bias_correction, placement), float_macs, wide_macs (shares), enough_db, cache_mb
//
// A key that no one knows is an error: it is misspelt more often than not. What POT knows and this
// library does otherwise is an error where the result would differ, and a warning where it wouldn't.

#include <cmath>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <ptq/configure/read.hpp>
#include <ptq/configure/section.hpp>
#include <ptq/core/error.hpp>
#include <ptq/quantize/devices.hpp>
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
  json weights = {{"narrow_range", w.narrow_range}};
  if (w.bits != 0) weights["bits"] = w.bits;
  if (w.mode != code_mode::automatic)
    weights["mode"] = w.mode == code_mode::symmetric ? "symmetric" : "asymmetric";
  if (w.scales != granularity::automatic)
    weights["granularity"] = w.scales == granularity::per_channel ? "perchannel" : "pertensor";
  const auto& a = o.activations;
  json estimator = {{"percentile_tail", a.percentile_tail}, {"outlier_prob", a.outlier_prob}};
  const auto side = [&](const char* name, const range_side& r) {
    estimator[name] = {{"type", name_of(r.statistic)},
                       {"aggregator", name_of(r.aggregator)},
                       {"outlier_prob", r.outlier_prob}};
    if (std::isfinite(r.clipping_value)) estimator[name]["clipping_value"] = r.clipping_value;
  };
  if (a.estimator == range_estimator::custom) {
    side("min", a.min);
    side("max", a.max);
  } else {
    estimator["preset"] = name_of(a.estimator);
  }
  json activations = {{"range_estimator", estimator}};
  if (a.bits != 0) activations["bits"] = a.bits;
  if (a.mode != code_mode::automatic)
    activations["mode"] = a.mode == code_mode::symmetric ? "symmetric" : "asymmetric";
  if (a.sign != signedness::automatic)
    activations["signedness"] = a.sign == signedness::signed_codes ? "signed" : "unsigned";
  const auto& e = o.effort;
  json fixed = json::array();
  if (e.fixed_preset) fixed.push_back("preset");
  if (e.fixed_estimator) fixed.push_back("range_estimator");
  if (e.fixed_correction) fixed.push_back("bias_correction");
  if (e.fixed_placement) fixed.push_back("placement");
  constexpr const char* modes[] = {"int8", "fp8_e4m3", "fp8_e5m2"};
  constexpr const char* presets[] = {"performance", "mixed", "accuracy"};
  constexpr const char* fixes[] = {"no", "first_layer", "all", "automatic"};
  json params = {{"preset", presets[static_cast<std::size_t>(o.preset)]},
                 {"saturation_fix", fixes[static_cast<std::size_t>(o.weights.fix)]},
                 {"stat_subset_size", o.subset_size},
                 {"bias_correction", name_of(o.correction)},
                 {"weights", weights},
                 {"activations", activations},
                 {"mode", modes[static_cast<std::size_t>(o.mode)]},
                 {"effort", name_of(e.level)},
                 {"tune_hyperparams", e.tune},
                 {"fixed", fixed},
                 {"float_macs", e.float_macs},
                 {"wide_macs", e.wide_macs},
                 {"enough_db", e.enough_db},
                 {"cache_mb", e.cache_mb},
                 {"quantize_outputs", o.quantize_outputs},
                 {"float_squeeze_excite", o.float_squeeze_excite},
                 {"threads", o.threads},
                 {"ignored", ignored}};
  json compression = {{"target_device", quantization::row_of(o.target).name},
                      {"algorithms", {{{"name", "DefaultQuantization"}, {"params", params}}}}};
  if (o.model_type == model_type::transformer) compression["model_type"] = "transformer";
  return json{{"compression", compression}}.dump(2);
}

}  // namespace ptq
