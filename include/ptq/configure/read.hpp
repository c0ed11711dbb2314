#pragma once
// SPDX-License-Identifier: Apache-2.0
// The sections of a configuration file, one function each.

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include <ptq/configure/section.hpp>
#include <ptq/core/value_range.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::detail_configure {

/// OpenVINO's names of operators that ONNX names otherwise.
inline std::string onnx_type(const std::string& type) {
  static constexpr const char* names[][2] = {
      {"Convolution", "Conv"},    {"GroupConvolution", "Conv"},
      {"Multiply", "Mul"},        {"Subtract", "Sub"},
      {"Divide", "Div"},          {"Power", "Pow"},
      {"ReLU", "Relu"},           {"SoftMax", "Softmax"},
      {"Clamp", "Clip"},          {"FullyConnected", "MatMul"},
      {"Minimum", "Min"},         {"Maximum", "Max"},
      {"Interpolate", "Resize"},  {"HSwish", "HardSwish"},
      {"StridedSlice", "Slice"},  {"AvgPool", "AveragePool"},
      {"VariadicSplit", "Split"}, {"MVN", "LayerNormalization"}};
  for (const auto& n : names)
    if (type == n[0]) return n[1];
  return type;
}

inline void read_ignored(section s, ignored_scope& scope) {
  scope.names = s.list("scope");
  scope.patterns = s.list("patterns");
  scope.validate = s.flag("validate", true);
  s.idle("skip_model", "there is one model");
  if (s.has("operations")) {
    if (!s["operations"].is_array())
      section::fail(s.at("operations"), "a list", s["operations"].dump());
    for (const auto& o : s["operations"]) {
      const bool plain = o.is_object() && o.contains("type") && o["type"].is_string() &&
                         (!o.contains("attributes") || o["attributes"].empty());
      if (!plain)
        section::fail(s.at("operations"), "objects {\"type\": NAME}, without attributes", o.dump());
      scope.types.push_back(onnx_type(o["type"].get<std::string>()));
    }
  }
  if (s.has("subgraphs"))
    for (const auto& part : s["subgraphs"]) {
      configuration unused;
      section ends(part, s.at("subgraphs"), unused);
      scope.subgraphs.push_back({ends.list("inputs"), ends.list("outputs")});
      ends.end();
    }
  s.end();
}

/// One side of POT's explicit form: {type, aggregator, outlier_prob, clipping_value}.
struct estimator_side {
  std::string type, aggregator;
  double tail = 1e-4;
  double clipping = std::numeric_limits<double>::infinity();
};
inline estimator_side read_side(section s) {
  estimator_side e{s.text("type"), s.text("aggregator")};
  e.tail = s.real("outlier_prob", e.tail);
  e.clipping = s.real("clipping_value", e.clipping);
  s.only("granularity", "pertensor", "activations have one scale");
  s.end();
  return e;
}

/// A side by the names of its statistic and aggregator; nothing if either is none.
inline std::optional<range_side> named_side(const estimator_side& e) {
  for (const auto& [statistic, type] : range_statistics)
    for (const auto& [aggregator, name] : range_aggregators)
      if (e.type == type && e.aggregator == name)
        return range_side{statistic, aggregator, e.clipping, e.tail};
  return std::nullopt;
}

inline void read_estimator(section s, activation_options& a) {
  using enum range_estimator;
  if (s.has("min") || s.has("max")) {
    if (!s.has("min") || !s.has("max")) section::fail(s.at("min"), "both min and max", "one");
    const auto low = read_side(s.child("min")), high = read_side(s.child("max"));
    const auto min_side = named_side(low), max_side = named_side(high);
    const bool clipped = std::isfinite(low.clipping) || std::isfinite(high.clipping);
    const bool ends = !clipped && low.type == "min" && (high.type == "max" || high.type == "abs_max");
    const bool quantiles = !clipped && low.aggregator.empty() && high.aggregator.empty() &&
                           low.type.ends_with("quantile") && high.type.ends_with("quantile");
    if (ends && low.aggregator == "min" && high.aggregator == "max")
      a.estimator = minmax;
    else if (ends && high.aggregator == "mean" &&
             (low.aggregator == "mean" || low.aggregator == "min"))
      a.estimator = mean_minmax;
    else if (quantiles && low.tail == high.tail)
      a.estimator = percentile, a.percentile_tail = low.tail;
    else if (min_side && max_side)
      a.estimator = custom, a.min = *min_side, a.max = *max_side;
    else
      section::fail(s.at("min"), "a type and an aggregator on either side, or two quantiles",
                    low.type + "/" + low.aggregator + " with " + high.type + "/" + high.aggregator);
  }
  if (const auto preset = s.text("preset"); !preset.empty() && preset != "default") {
    bool found = preset == "quantile";
    if (found) a.estimator = percentile;
    for (const auto& [e, name] : range_estimators)
      if (preset == name && e != custom) {
        a.estimator = e;
        found = true;
      }
    if (!found) section::fail(s.at("preset"), "default, quantile or an estimator of ours", preset);
  }
  a.percentile_tail = s.real("percentile_tail", a.percentile_tail);
  a.outlier_prob = s.real("outlier_prob", a.outlier_prob);
  s.end();
}

inline void read_target(section& s, quantize_options& o) {
  if (s.has("target_device")) {
    using enum target_device;
    constexpr target_device of[] = {any, cpu, gpu, npu, npu, gna};
    o.target = of[s.word("target_device", {"any", "cpu", "gpu", "npu", "vpu", "gna"})];
  }
  if (s.has("model_type")) {
    s.word("model_type", {"transformer"});
    o.model_type = model_type::transformer;
    o.preset = preset::mixed;  // unless the file names one
  }
}

inline void read_weights(section s, weight_options& w) {
  const auto bits = static_cast<int>(s.count("bits", 2, w.bits == 0 ? 8 : w.bits));
  if (bits > 8 && bits != 16) section::fail(s.at("bits"), "2 to 8, or 16", std::to_string(bits));
  if (s.has("bits")) w.bits = bits;
  if (s.has("mode"))
    w.mode = s.word("mode", {"symmetric", "asymmetric"}) == 0 ? code_mode::symmetric
                                                              : code_mode::asymmetric;
  if (s.has("granularity"))
    w.scales = s.word("granularity", {"perchannel", "pertensor"}) == 0 ? granularity::per_channel
                                                                       : granularity::per_tensor;
  w.narrow_range = s.flag("narrow_range", w.narrow_range);
  if (s.has("level_low") && s["level_low"] == -(1 << (bits - 1))) w.narrow_range = false;
  const int top = (1 << (bits - 1)) - 1, low = w.narrow_range ? -top : -top - 1;
  s.only("level_low", low, "the lowest code");
  s.only("level_high", top, "the highest code");
  s.idle("range_estimator", "the range of weights is that of their magnitudes");
  s.end();
}

inline void read_activations(section s, quantize_options& o) {
  const auto bits = static_cast<int>(s.count("bits", 2, 8));
  if (bits != 8 && bits != 16) section::fail(s.at("bits"), "8 or 16", std::to_string(bits));
  if (s.has("bits")) o.activations.bits = bits;
  if (s.has("mode"))
    o.activations.mode = s.word("mode", {"symmetric", "asymmetric"}) == 0 ? code_mode::symmetric
                                                                          : code_mode::asymmetric;
  if (s.has("signedness"))
    o.activations.sign = s.word("signedness", {"signed", "unsigned"}) == 0
                             ? signedness::signed_codes
                             : signedness::unsigned_codes;
  s.only("granularity", "pertensor", "activations have one scale");
  s.only("level_low", 0, "the lowest code");
  s.only("level_high", (1 << bits) - 1, "the highest code");
  if (s.has("range_estimator")) read_estimator(s.child("range_estimator"), o.activations);
  s.end();
}

/// What POT has no word for: how much is tried, and what of it may not be changed.
inline void read_effort(section& s, configuration& c) {
  auto& e = c.options.effort;
  if (s.has("effort")) {
    using enum effort;
    e.level = std::array{fast, balanced, best}.at(s.word("effort", {"fast", "balanced", "best"}));
    c.names_effort = true;
  }
  e.tune = s.flag("tune_hyperparams", e.tune);
  const auto share = [&](const char* key, double& to) {
    to = s.real(key, to);
    if (!(to >= 0 && to <= 1))
      section::fail(s.at(key), "a share of the products, 0 to 1", s[key].dump());
  };
  share("float_macs", e.float_macs);
  share("wide_macs", e.wide_macs);
  e.enough_db = s.real("enough_db", e.enough_db);
  e.cache_mb = s.count("cache_mb", 0, e.cache_mb);
  for (const auto& what : s.list("fixed")) {
    if (what == "preset")
      e.fixed_preset = true;
    else if (what == "range_estimator")
      e.fixed_estimator = true;
    else if (what == "bias_correction")
      e.fixed_correction = true;
    else if (what == "placement")
      e.fixed_placement = true;
    else
      section::fail(s.at("fixed"), "preset, range_estimator, bias_correction or placement", "'" + what + "'");
  }
}

inline void read_params(section s, configuration& c) {
  auto& o = c.options;
  read_target(s, o);
  read_effort(s, c);
  if (s.has("mode")) {
    using enum quantize_mode;
    constexpr quantize_mode of[] = {integer, integer, fp8_e4m3, fp8_e5m2};
    o.mode = of[s.word("mode", {"int8", "integer", "fp8_e4m3", "fp8_e5m2"})];
  }
  if (s.has("preset")) {
    using enum preset;
    constexpr ptq::preset of[] = {performance, performance, mixed, accuracy, mixed};
    o.preset =
        of[s.word("preset", {"performance", "symmetric", "mixed", "accuracy", "asymmetric"})];
  }
  o.subset_size = s.count("stat_subset_size", 1, o.subset_size);
  c.shuffle = s.flag("shuffle_data", false);
  c.seed = static_cast<std::uint64_t>(s.count("seed", 0, 0));
  o.threads = static_cast<int>(s.count("threads", 1, 1));
  o.quantize_outputs = s.flag("quantize_outputs", false);
  o.float_squeeze_excite = s.flag("float_squeeze_excite", false);
  if (s.has("ignored")) read_ignored(s.child("ignored"), o.ignored);
  if (s.has("weights")) read_weights(s.child("weights"), o.weights);
  if (s.has("activations")) read_activations(s.child("activations"), o);
  s.only("use_fast_bias", true, "see --bias-correction for the others");
  if (s.has("saturation_fix")) {
    using enum overflow_fix;
    constexpr overflow_fix of[] = {first_layer, all, none, none, automatic};
    o.weights.fix = of[s.word("saturation_fix", {"first_layer", "all", "no", "none", "automatic"})];
  }
  if (s.has("bias_correction"))
    o.correction =
        std::array{bias_correction::fast, bias_correction::none, bias_correction::sequential}.at(
            s.word("bias_correction", {"fast", "none", "sequential"}));
  s.only("apply_for_all_nodes", false, "layers without bias get one wherever it helps");
  s.only("use_layerwise_tuning", false, "there is no gradient-based tuning of scales");
  s.idle("threshold", "a bias moves as far as the measured shift says");
  s.idle("inplace_statistics", "statistics are always taken in place");
  s.idle("dump_intermediate_model", "there is no intermediate model");
  s.end();
}

inline void read_compression(section s, configuration& c) {
  read_target(s, c.options);
  s.idle("dump_intermediate_model", "there is no intermediate model");
  s.idle("inplace_statistics", "statistics are always taken in place");
  if (s.has("algorithms")) {
    const auto& list = s["algorithms"];
    if (!list.is_array() || list.size() != 1)
      section::fail(s.at("algorithms"), "a list of one algorithm", list.dump());
    section a(list[0], s.at("algorithms") + "[0]", c);
    const auto name = a.text("name");
    if (name != "DefaultQuantization" && name != "MinMaxQuantization")
      section::fail(a.at("name"), "DefaultQuantization or MinMaxQuantization", "'" + name + "'");
    if (name == "MinMaxQuantization") c.options.correction = bias_correction::none;
    if (a.has("params")) read_params(a.child("params"), c);
    a.end();
  }
  s.end();
}

inline void read_model(section s, configuration& c) {
  c.model_name = s.text("model_name");
  c.model = s.text("model");
  s.idle("weights", "an ONNX model holds its weights");
  if (s.has("cascade"))
    section::fail(s.at("cascade"), "one model", "a cascade; quantize its models one by one");
  s.end();
}

/// Data come from data_source, or from that of the first of the accuracy checker's datasets.
inline void read_engine(section s, configuration& c) {
  c.data_source = s.text("data_source");
  if (s.has("type"))
    c.data_free = s.word("type", {"simplified", "accuracy_checker", "data_free"}) == 2;
  if (s.has("datasets") && s["datasets"].is_array() && !s["datasets"].empty()) {
    const auto& d = s["datasets"][0];
    if (c.data_source.empty() && d.is_object() && d.contains("data_source") &&
        d["data_source"].is_string())
      c.data_source = d["data_source"].get<std::string>();
    c.warnings.push_back(
        "config: engine.datasets: only data_source is read; preprocessing and labels "
        "are options of the command line");
  }
  const char* const how =
      "says how POT runs the model; --threads, --layout and the like say it here";
  for (const char* key : {"launchers", "stat_requests_number", "eval_requests_number", "layout",
                          "config", "device", "name", "models", "module"})
    s.idle(key, how);
  s.end();
}

}  // namespace ptq::detail_configure
