// SPDX-License-Identifier: Apache-2.0
// ptq quantize: a float model and samples in, an INT8 model and a report of what it costs out.

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#ifdef PTQ_CLI_DISPATCH
#include <ptq/compiled.hpp>
#else
#include <ptq/export.hpp>
#include <ptq/faster_float.hpp>
#endif

#include "calibration.hpp"
#include "config.hpp"
#include "control.hpp"
#include "measure.hpp"

namespace cli {

namespace {

/// The entry of a table of names that is called so.
template <class Table>
auto named(const Table& table, const std::string& name, const char* option) {
  for (const auto& [value, called] : table)
    if (name == called) return value;
  throw ptq::error(std::string(option) + ": '" + name + "' is none");
}

/// "STATISTIC,AGGREGATOR" or "" for the default.
ptq::range_side side_of(const quantize_arguments& a, const std::vector<std::string>& parts,
                        ptq::range_side side) {
  side.clipping_value = a.clipping_value;
  side.outlier_prob = a.outlier_prob;
  if (parts.empty()) return side;
  side.statistic = named(ptq::range_statistics, parts.at(0), "--range-min/--range-max");
  side.aggregator = named(ptq::range_aggregators, parts.at(1), "--range-min/--range-max");
  return side;
}

/// "A,B=>C,D"
ptq::ignored_subgraph subgraph_of(const std::string& text) {
  const auto arrow = text.find("=>");
  if (arrow == std::string::npos)
    throw ptq::data_error("--ignore-subgraph: expected A,B=>C,D, got '" + text + "'");
  const auto names = [](const std::string& list) {
    std::vector<std::string> all(1);
    for (char c : list) {
      if (c == ',')
        all.emplace_back();
      else
        all.back() += c;
    }
    return all;
  };
  return {names(text.substr(0, arrow)), names(text.substr(arrow + 2))};
}

ptq::code_mode mode_named(const std::string& name) {
  return name == "symmetric"    ? ptq::code_mode::symmetric
         : name == "asymmetric" ? ptq::code_mode::asymmetric
                                : ptq::code_mode::automatic;
}

ptq::activation_options activations_of(const quantize_arguments& a) {
  const bool sides = !a.range_min.empty() || !a.range_max.empty();
  return {.estimator = sides ? ptq::range_estimator::custom
                       : a.estimator.empty()
                           ? ptq::range_estimator::mean_minmax
                           : named(ptq::range_estimators, a.estimator, "--range-estimator"),
          .percentile_tail = a.percentile_tail,
          .outlier_prob = a.outlier_prob,
          .min = side_of(a, a.range_min, {}),
          .max = side_of(a, a.range_max, {.statistic = ptq::range_statistic::max}),
          .bits = a.activation_bits,
          .mode = mode_named(a.activation_mode),
          .sign = a.signedness == "signed"     ? ptq::signedness::signed_codes
                  : a.signedness == "unsigned" ? ptq::signedness::unsigned_codes
                                               : ptq::signedness::automatic};
}

ptq::overflow_fix fix_named(const std::string& name) {
  return name == "first_layer" ? ptq::overflow_fix::first_layer
         : name == "all"       ? ptq::overflow_fix::all
         : name == "automatic" ? ptq::overflow_fix::automatic
                               : ptq::overflow_fix::none;
}

ptq::bias_correction correction_named(const std::string& name) {
  if (name == "none") return ptq::bias_correction::none;
  return name == "sequential" ? ptq::bias_correction::sequential : ptq::bias_correction::fast;
}

ptq::quantize_options options_of(const quantize_arguments& a) {
  std::vector<ptq::ignored_subgraph> subgraphs;
  for (const auto& text : a.ignored_subgraphs) subgraphs.push_back(subgraph_of(text));
  const bool transformer = a.model_type == "transformer";
  const bool configured = !a.config.empty();  // a file chooses as flags do
  ptq::quantize_options flags;
  flags.mode = a.mode == "fp8_e4m3"   ? ptq::quantize_mode::fp8_e4m3
               : a.mode == "fp8_e5m2" ? ptq::quantize_mode::fp8_e5m2
                                      : ptq::quantize_mode::integer;
  flags.preset = a.preset == "accuracy" ? ptq::preset::accuracy
                 : a.preset == "mixed" || (transformer && !a.given.contains("--preset"))
                     ? ptq::preset::mixed
                     : ptq::preset::performance;
  flags.target = ptq::quantization::device_named(a.target);
  flags.subset_size = a.samples.subset_size;
  flags.activations = activations_of(a);
  flags.weights = {.bits = a.weight_bits,
                   .mode = mode_named(a.weight_mode),
                   .scales = a.weight_scales == "per_tensor" ? ptq::granularity::per_tensor
                                                             : ptq::granularity::per_channel,
                   .narrow_range = !a.weight_full_range,
                   .fix = fix_named(a.overflow_fix)};
  flags.correction = correction_named(a.correction);
  flags.ignored = {.names = a.ignored_names,
                   .patterns = a.ignored_patterns,
                   .types = a.ignored_types,
                   .subgraphs = subgraphs};
  flags.model_type = transformer ? ptq::model_type::transformer : ptq::model_type::none;
  flags.quantize_outputs = a.quantize_outputs;
  flags.effort = {
      .level = a.effort == "fast"   ? ptq::effort::fast
               : a.effort == "best" ? ptq::effort::best
                                    : ptq::effort::balanced,
      .fixed_preset = configured || !a.preset.empty() || a.activation_mode != "automatic",
      .fixed_estimator =
          configured || !a.estimator.empty() || !a.range_min.empty() || !a.range_max.empty(),
      .fixed_correction = configured || !a.correction.empty(),
      .fixed_placement = a.round_before_functions,
      .tune = a.tune,
      .float_macs = a.given.contains("--max-float-macs") ? a.max_float_macs / 100
                                                         : ptq::effort_options{}.float_macs,
      .wide_macs = a.max_wide_macs / 100,
      .cache_mb = a.cache_mb};
  flags.threads = a.threads;
  flags.report = progress_bar(a);
  return merged(a, std::move(flags));
}

/// Labelled samples: all of them, in their own order.
struct labelled {
  ptq::samples data;
  std::vector<std::int64_t> labels;
};

std::optional<labelled> validation_of(const quantize_arguments& a, const ptq::graph& model) {
  if (a.controlled() && !a.by_class()) return {};
  if (a.labels.empty()) {
    if (a.annotation_free) return {};
    if (!a.validation.empty()) throw ptq::data_error("--validation: expected --labels with it");
    return {};
  }
  auto all = a.samples;
  all.subset_size = 0;
  all.shuffle = false;
  labelled v;
  v.data = open_data(a.validation.empty() ? a.data : a.validation, all, model);
  v.labels = open_classes(a.labels, all, v.data);
  return v;
}

/// Model, top-1, bytes and milliseconds of both, for scripts that make a table.
std::string brief_line(const ptq::report& r) {
  const auto number = [](bool known, double x, const char* format) {
    char text[64];
    std::snprintf(text, sizeof text, format, x);
    return "\t" + std::string(known ? text : "-");
  };
  const auto acc = r.accuracy.value_or(ptq::before_after<ptq::report_accuracy>{});
  const auto ms = r.latency.value_or(ptq::before_after<ptq::report_latency>{});
  return std::filesystem::path(r.model).stem().string() +
         number(r.accuracy.has_value(), acc.before.top1, "%.2f") +
         number(r.accuracy.has_value(), acc.after.top1, "%.2f") + "\t" +
         std::to_string(r.bytes ? r.bytes->before : 0) + "\t" +
         std::to_string(r.bytes ? r.bytes->after : 0) +
         number(r.latency.has_value(), ms.before.median_ms, "%.4f") +
         number(r.latency.has_value(), ms.after.median_ms, "%.4f") + "\n";
}

void require_new_model(const quantize_arguments& a) {
  const std::filesystem::path out(a.out);
  if (out.extension() != ".onnx")
    throw ptq::unsupported("export: '" + a.out + "': extension: expected .onnx, got '" +
                           out.extension().string() + "'");
  std::error_code bad;
  if (std::filesystem::equivalent(a.model, out, bad))
    throw ptq::io_error("'" + a.out + "': expected another file than the model itself");
  require_writable(a.out);
  require_writable(a.json);
  if (!a.save_calibration.empty()) require_writable(a.save_calibration);
  if (!a.save_calibration.empty() && !a.calibration.empty())
    throw ptq::data_error("--calibration: expected it without --save-calibration");
}

}  // namespace

int quantize(const quantize_arguments& arguments) {
  const auto a = completed(arguments);
  const auto network = load_model(a.model);
  require_new_model(a);
  const auto data =
      a.data_free ? synthetic_data(a.samples, network) : open_data(a.data, a.samples, network);
  const auto validation = validation_of(a, network);
  auto options = options_of(a);

  const bool keeps = !a.calibration.empty() || !a.save_calibration.empty();
  const bool as_told = keeps || a.data_free;
  if (as_told && a.given.contains("--effort") && a.effort != "fast")
    throw ptq::data_error("--effort " + a.effort +
                          ": expected fast with a calibration file or --data-free");
  if (as_told && a.tune)
    throw ptq::data_error("--tune-hyperparams: expected it without a calibration file or --data-free");
  if (as_told) options.effort.level = ptq::effort::fast;
  if (keeps && a.data_free)
    throw ptq::data_error("--data-free: expected it without a file of calibration");
  if (keeps && a.controlled())
    throw ptq::data_error("--max-drop: expected it without a file of calibration");
  if (!a.front.empty() && !a.controlled())
    throw ptq::data_error("--front: expected it with --max-drop, --max-latency or --min-speedup");
  require_writable(a.costs);
  require_writable(a.journal);
  std::optional<kept_float> kept;
  if (a.given.contains("--keep-faster-float")) {
    if (as_told || a.controlled())
      throw ptq::data_error(
          "--keep-faster-float: expected it without --data-free, a calibration file or a bound on accuracy or time");
    kept = faster_in_float(network, data, options);
    options.restored = kept->scope;
  }
  std::optional<controlled_result> control;
  if (a.controlled()) control = controlled(network, data, options, a);
  auto made = control ? std::move(control->made)
                    : keeps ? quantized_with_file(network, data, options, a)
                    : a.data_free
                        ? quantized_without_data(read_model(a.model), network, data, options)
                        : quantized(network, data, options);
  if (kept) made.network.metadata.push_back({ptq::faster_float_key, kept->note});
  ptq::export_model(made.network, a.out);

  // What is measured is the file that was written.
  const auto shipped = load_model(a.out);
  const auto first = data.at(0).value();
  auto r = a.report_samples > 0
               ? comparison_of(network, shipped, ptq::take(data, a.report_samples), a).report
               : steps_of(shipped, first);
  r.model = a.model;
  ptq::add(r, made.network);
  ptq::add(r, as_told ? options : made.options, made.observed.samples);
  ptq::add(r, made.recovery);
  r.bytes = {std::filesystem::file_size(a.model), std::filesystem::file_size(a.out)};
  if (validation)
    ptq::add(r, accuracy_of(network, validation->data, validation->labels, a),
             accuracy_of(shipped, validation->data, validation->labels, a));
  if (a.latency_repeats > 0) {
    // Large models: a few seconds, not minutes.
    const ptq::latency_options timing{.repeats = a.latency_repeats, .budget_ms = 3000};
    r.latency = {latency_of(network, first, timing, a), latency_of(shipped, first, timing, a)};
  }
  say(a, a.brief ? brief_line(r) : ptq::text(r) + (control ? control->text : "") + (kept ? kept->text : ""));
  auto j = ptq::json(r);
  if (control) j["accuracy_control"] = control->json;
  if (kept) j["faster_float"] = kept->json;
  write_result(a, j);
  return control && !control->met ? 3 : 0;
}

}  // namespace cli
