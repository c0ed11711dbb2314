#pragma once
// SPDX-License-Identifier: Apache-2.0
// The chosen options as names and texts: what reports print, and what a quantized model keeps in its
// metadata beside the library's version, so that a file says how it was made.

#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/version.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/quantize/devices.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq {

using setting_list = std::vector<std::pair<std::string, std::string>>;

/// Every choice that has a value; lists of the ignored scope only where they hold something.
inline setting_list settings_of(const quantize_options& o) {
  setting_list s = {
      {"preset", o.preset == preset::performance ? "performance"
                 : o.preset == preset::mixed     ? "mixed"
                                                 : "accuracy"},
      {"target_device", std::string(quantization::row_of(o.target).name)},
      {"range_estimator", name_of(o.activations.estimator)},
      {"effort", name_of(o.effort.level)},
      {"bias_correction", name_of(o.correction)},
      {"subset_size", std::to_string(o.subset_size)},
  };
  if (o.effort.tune) s.emplace_back("tune_hyperparams", "true");
  const auto number = [](double v) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", v);
    return std::string(text);
  };
  const auto& e = o.effort;
  std::string fixed;
  for (const auto& [is, what] : {std::pair(e.fixed_preset, "preset"),
                                 std::pair(e.fixed_estimator, "range_estimator"),
                                 std::pair(e.fixed_correction, "bias_correction"),
                                 std::pair(e.fixed_placement, "placement")})
    if (is) fixed += (fixed.empty() ? "" : " ") + std::string(what);
  if (!fixed.empty()) s.emplace_back("fixed", fixed);
  if (e.float_macs > 0) s.emplace_back("float_macs", number(e.float_macs));
  if (e.wide_macs > 0) s.emplace_back("wide_macs", number(e.wide_macs));
  // Functions of sums go by it too, where the user left them open.
  if (e.float_macs > 0 || e.wide_macs > 0 || e.enough_db != effort_options{}.enough_db)
    s.emplace_back("enough_db", number(e.enough_db));
  const auto side = [&](const range_side& r) {
    std::string text = std::string(name_of(r.statistic)) + "/" + name_of(r.aggregator);
    if (std::isfinite(r.clipping_value)) text += " clipped at " + number(r.clipping_value);
    const bool quantile = r.statistic == range_statistic::quantile ||
                          r.statistic == range_statistic::abs_quantile;
    if (quantile) text += " without " + number(r.outlier_prob);
    return text;
  };
  if (o.activations.estimator == range_estimator::percentile)
    s.emplace_back("percentile_tail", number(o.activations.percentile_tail));
  if (o.activations.estimator == range_estimator::mean_quantile)
    s.emplace_back("outlier_prob", number(o.activations.outlier_prob));
  if (o.activations.estimator == range_estimator::custom) {
    s.emplace_back("range_min", side(o.activations.min));
    s.emplace_back("range_max", side(o.activations.max));
  }
  if (o.mode != quantize_mode::integer)
    s.emplace_back("mode", o.mode == quantize_mode::fp8_e4m3 ? "fp8_e4m3" : "fp8_e5m2");
  const auto& w = o.weights;
  if (w.bits != 0 && w.bits != 8) s.emplace_back("weight_bits", std::to_string(w.bits));
  if (w.mode == code_mode::asymmetric) s.emplace_back("weight_mode", "asymmetric");
  if (w.scales == granularity::per_tensor) s.emplace_back("weight_granularity", "per_tensor");
  if (!w.narrow_range) s.emplace_back("weight_range", "full");
  constexpr const char* fixes[] = {"none", "first_layer", "all", "automatic"};
  if (w.fix != overflow_fix::none)
    s.emplace_back("overflow_fix", fixes[static_cast<std::size_t>(w.fix)]);
  const auto& a = o.activations;
  if (a.bits != 0 && a.bits != 8) s.emplace_back("activation_bits", std::to_string(a.bits));
  if (a.mode != code_mode::automatic)
    s.emplace_back("activation_mode", a.mode == code_mode::symmetric ? "symmetric" : "asymmetric");
  if (a.sign != signedness::automatic)
    s.emplace_back("activation_signedness",
                   a.sign == signedness::signed_codes ? "signed" : "unsigned");
  if (o.model_type == model_type::transformer) s.emplace_back("model_type", "transformer");
  if (o.quantize_outputs) s.emplace_back("quantize_outputs", "true");
  if (o.restored.activations_only) s.emplace_back("restored", "activations");
  if (o.float_squeeze_excite) s.emplace_back("float_squeeze_excite", "true");
  const auto joined = [](const std::vector<std::string>& entries, const char* between) {
    std::string all;
    for (const auto& e : entries) all += (all.empty() ? "" : between) + e;
    return all;
  };
  const auto list = [&](const char* what, const std::string& entries) {
    if (!entries.empty()) s.emplace_back(what, entries);
  };
  list("ignored_names", joined(o.ignored.names, " "));
  list("ignored_patterns", joined(o.ignored.patterns, " "));
  list("ignored_types", joined(o.ignored.types, " "));
  std::string parts;
  for (const auto& part : o.ignored.subgraphs)
    parts +=
        (parts.empty() ? "" : " ") + joined(part.inputs, ",") + "=>" + joined(part.outputs, ",");
  list("ignored_subgraphs", parts);
  return s;
}

/// Metadata keys of the library begin with this.
inline constexpr const char* metadata_prefix = "ptq.";

/// Writes version and settings into the graph's metadata, over those of an earlier run.
inline void record_settings(graph& g, const quantize_options& o) {
  std::erase_if(g.metadata,
                [](const metadata_entry& e) { return e.key.starts_with(metadata_prefix); });
  const auto add = [&](const std::string& key, std::string text) {
    g.metadata.push_back({metadata_prefix + key, std::move(text)});
  };
  add("version", version);
  for (auto& [key, text] : settings_of(o)) add(key, text);
}

}  // namespace ptq
