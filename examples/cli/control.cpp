// SPDX-License-Identifier: Apache-2.0
// The search of `ptq quantize --max-drop`: its samples and labels, its cost file, and what it says.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#ifdef PTQ_CLI_DISPATCH
#include <ptq/compiled.hpp>
#else
#include <ptq/ptq.hpp>
#endif

#include "control.hpp"

namespace cli {

namespace {

ptq::control::metric metric_named(const std::string& name) {
  namespace c = ptq::control;
  if (name == "top5") return c::top_k(5);
  if (name == "token_accuracy") return c::token_accuracy();
  if (name == "f1") return c::f1();
  if (name == "mean_iou") return c::mean_iou();
  if (name == "word_error_rate") return c::word_accuracy();
  if (name == "map") return c::mean_average_precision();
  return c::top_k(1);
}

ptq::labelled_samples labelled_of(const quantize_arguments& a, const ptq::graph& model) {
  auto all = a.samples;
  all.subset_size = 0;
  all.shuffle = false;
  ptq::labelled_samples v;
  v.data = open_data(a.validation.empty() ? a.data : a.validation, all, model);
  if (a.annotation_free) return v;
  if (a.labels.empty())
    throw ptq::data_error("--max-drop: expected --labels or --annotation-free with it");
  if (a.by_class()) {
    v.labels = ptq::class_labels(open_classes(a.labels, all, v.data));
    return v;
  }
  ptq::samples rows = ptq::npy_samples(a.labels);
  for (auto row = rows.next(); row; row = rows.next())
    v.labels.push_back(row->inputs.at(0).value);
  return v;
}

/// Metrics with their bounds: one bound for all, or one each.
std::vector<ptq::control::bound> bounds_of(const quantize_arguments& a) {
  const auto n = a.max_drops.size();
  if (n > 1 && n != a.metrics.size())
    throw ptq::data_error("--max-drop: expected 1 or " + std::to_string(a.metrics.size()) +
                          ", one per metric, got " + std::to_string(n));
  std::vector<ptq::control::bound> bounds;
  for (std::size_t i = 0; i < a.metrics.size(); ++i)
    bounds.push_back({metric_named(a.metrics[i]), n == 0 ? 0 : a.max_drops[n == 1 ? 0 : i]});
  return bounds;
}

/// Every model of the front, and front.json, which names them; the file's own order is by time.
void write_front(const std::string& folder, const ptq::accuracy_control_result& r) {
  namespace fs = std::filesystem;
  std::error_code bad;
  fs::create_directories(folder, bad);
  if (bad) throw ptq::io_error("'" + folder + "': can't be made: " + bad.message());
  auto list = nlohmann::json::array();
  for (std::size_t k = 0; k < r.found.front.size(); ++k) {
    const auto name = "front-" + std::to_string(k) + ".onnx";
    ptq::export_model(ptq::front_network(r, k), fs::path(folder) / name);
    auto j = ptq::control::json(r.found.front[k]);
    j["model"] = name;
    list.push_back(std::move(j));
  }
  common_arguments to;
  to.json = (fs::path(folder) / "front.json").string();
  write_result(to, list);
}

void write_costs(const std::string& path, const ptq::control::cost_table& costs) {
  const auto beside = path + ".partial";
  std::ofstream out(beside, std::ios::binary | std::ios::trunc);
  out << ptq::control::cost_text(costs);
  out.close();
  std::error_code bad;
  if (out) std::filesystem::rename(beside, path, bad);
  if (!out || bad) throw ptq::io_error("'" + path + "': can't be written");
}

}  // namespace

controlled_result controlled(const ptq::graph& network, const ptq::samples& calibration,
                             const ptq::quantize_options& options, const quantize_arguments& a) {
  ptq::accuracy_control_options o;
  o.quantize = options;
  const auto bounds = bounds_of(a);
  o.max_drop = bounds[0].max_drop;
  o.metric = bounds[0].metric;
  o.more.assign(bounds.begin() + 1, bounds.end());
  o.tune_hyperparams = !a.no_tune;
  o.restore = a.restore == "activations" ? ptq::restore::activations
                                         : ptq::restore::activations_and_weights;
  if (!a.front.empty()) o.front_points = a.front_points;
  o.drop = a.drop_type == "relative" ? ptq::drop_type::relative : ptq::drop_type::absolute;
  o.annotation_free = a.annotation_free;
  o.ranking_subset_size = a.ranking_subset_size;
  o.max_iterations = a.max_iterations;
  if (a.max_latency > 0) o.max_latency_ms = a.max_latency;
  if (a.min_speedup > 0) o.min_speedup = a.min_speedup;
  o.max_float_macs = a.max_float_macs / 100;
  const bool known = !a.costs.empty() && std::filesystem::exists(a.costs);
  if (known) o.costs = ptq::control::read_costs(a.costs);
  o.journal = a.journal;
  o.threads = a.threads;
  o.report = options.report;
  std::string warned;
  o.warn = [&](const std::string& text) {
    warned += (warned.empty() ? "" : "; ") + text;
    say(a, "accuracy control: " + text + "\n");
  };
  auto r = ptq::quantize_with_accuracy_control(network, kernels(), calibration,
                                               labelled_of(a, network), o);
  if (!known && !a.costs.empty()) write_costs(a.costs, r.found.costs);
  if (!a.front.empty()) write_front(a.front, r);
  controlled_result c;
  c.made = {std::move(r.network), std::move(r.observed), std::move(r.recovery),
            std::move(r.options)};
  c.met = r.found.status == ptq::control::status::met;
  c.text = ptq::control::text(r.found);
  c.json = ptq::control::json(r.found);
  if (!warned.empty()) c.json["warning"] = warned;
  return c;
}

kept_float faster_in_float(const ptq::graph& network, const ptq::samples& calibration,
                           const ptq::quantize_options& options) {
  auto found = ptq::layers_faster_in_float(network, kernels(), calibration, options);
  kept_float k;
  k.json = {{"before_us", found.before_us},
            {"after_us", found.after_us},
            {"layers", nlohmann::json::array()}};
  char line[256];
  std::snprintf(line, sizeof line,
                "%zu layers stay in float, where they are faster: the network takes %.1f us in place of %.1f\n",
                found.layers.size(), found.after_us, found.before_us);
  k.text = line;
  for (const auto& l : found.layers) {
    std::snprintf(line, sizeof line, "  %.120s: %.1f us, in INT8 %.1f\n", l.name.c_str(), l.float_us, l.int8_us);
    k.text += line;
    k.json["layers"].push_back({{"name", l.name}, {"float_us", l.float_us}, {"int8_us", l.int8_us}});
  }
  k.note = ptq::note(found);
  k.scope = std::move(found.scope);
  return k;
}

}  // namespace cli
