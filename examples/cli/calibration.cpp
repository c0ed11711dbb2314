// SPDX-License-Identifier: Apache-2.0
// Files of calibration evidence: gathered once, used with many settings, merged, compared.

#include "calibration.hpp"

#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#ifdef PTQ_CLI_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "support.hpp"

namespace cli {

namespace {

using ptq::calibration::artefact;

void require_model(const artefact& found, const std::string& path, const ptq::graph& network) {
  const auto hash = ptq::model_hash(network);
  if (found.model_hash != hash)
    throw ptq::calibration_error("'" + path + "': expected the calibration of model " +
                                 ptq::calibration::hex(hash) + ", got one of model " +
                                 ptq::calibration::hex(found.model_hash));
}

/// What all settings need: every observed value, with channel means.
ptq::calibrate_options complete(const ptq::graph& network, ptq::quantize_options options) {
  options.correction = ptq::bias_correction::fast;
  auto watch = ptq::observations(network, options);
  watch.keep_all = true;
  return watch;
}

/// Evidence of the samples, gathered into the file or gone on with.
artefact gathered(const ptq::graph& network, const ptq::samples& data, ptq::calibrate_options watch,
                  const quantize_arguments& a) {
  const std::string& path = a.save_calibration;
  artefact kept;
  kept.model_hash = ptq::model_hash(network);
  ptq::calibration::evidence start;
  if (std::filesystem::exists(path)) {
    const auto found = ptq::calibration::load(path);
    require_model(found, path, network);
    if (found.seen.samples > watch.subset_size ||
        found.seen.data_hash != ptq::data_hash(data, found.seen.samples))
      throw ptq::calibration_error("'" + path + "': expected the calibration of the first of " +
                                   std::to_string(watch.subset_size) + " samples, got one of " +
                                   std::to_string(found.seen.samples) + " others");
    start = found.seen;
    watch.start = &start;
  }
  watch.checkpoint_every = a.checkpoint_every;
  watch.checkpoint = [&](const ptq::calibration::evidence& e) {
    kept.seen = e;
    ptq::calibration::save(kept, path);
  };
  kept.seen = ptq::collect(network, kernels(), data, watch);
  ptq::calibration::save(kept, path);
  return kept;
}

void require_files(const calibration_arguments& a, std::size_t least) {
  if (a.files.size() < least)
    throw ptq::data_error("calibration: expected at least " + std::to_string(least) +
                          " files, got " + std::to_string(a.files.size()));
}

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", v);
  return text;
}

std::string text_of(ptq::value_range r) {
  return "[" + number(static_cast<double>(r.min)) + ", " + number(static_cast<double>(r.max)) + "]";
}

nlohmann::json about(const artefact& a) {
  return {{"samples", a.seen.samples},
          {"values", a.seen.values.size()},
          {"model", ptq::calibration::hex(a.model_hash)},
          {"data", ptq::calibration::hex(a.seen.data_hash)},
          {"library", a.library}};
}

}  // namespace

ptq::quantize_result quantized_with_file(const ptq::graph& network, const ptq::samples& data,
                                         const ptq::quantize_options& options,
                                         const quantize_arguments& a) {
  const auto watch = complete(network, options);
  artefact found;
  if (a.calibration.empty()) {
    found = gathered(network, data, watch, a);
  } else {
    found = ptq::calibration::load(a.calibration);
    require_model(found, a.calibration, network);
  }
  ptq::quantize_result r;
  r.observed = ptq::resolve(found.seen, watch.observer);
  r.network = ptq::quantize(network, r.observed, options);
  return r;
}

void calibration_merge(const calibration_arguments& a) {
  require_files(a, 2);
  require_writable(a.out);
  require_writable(a.json);
  artefact all = ptq::calibration::load(a.files[0]);
  for (std::size_t i = 1; i < a.files.size(); ++i)
    all = ptq::calibration::merged(std::move(all), ptq::calibration::load(a.files[i]));
  ptq::calibration::save(all, a.out);
  say(a, a.out + ": " + std::to_string(all.seen.samples) + " samples\n");
  write_result(a, about(all));
}

void calibration_diff(const calibration_arguments& a) {
  require_files(a, 2);
  require_writable(a.json);
  const auto first = ptq::calibration::load(a.files[0]);
  const auto second = ptq::calibration::load(a.files[1]);
  ptq::observer_options o;
  bool known = false;
  for (const auto& [e, name] : ptq::range_estimators)
    if (a.estimator == name) {
      o.estimator = e;
      known = true;
    }
  if (!known) throw ptq::data_error("--range-estimator: '" + a.estimator + "' is none");
  nlohmann::json j{{"same_model", first.model_hash == second.model_hash},
                   {"same_data", first.seen.data_hash == second.seen.data_hash},
                   {"samples", {first.seen.samples, second.seen.samples}},
                   {"values", nlohmann::json::array()}};
  std::string s = std::string(j["same_model"] ? "one model" : "two models") + ", " +
                  (j["same_data"] ? "the same samples" : "different samples") + "\n";
  for (const auto& d : ptq::calibration::difference(first.seen, second.seen, o)) {
    s += number(100 * d.moved) + " %  " + d.value + "  " + text_of(d.a) + " -> " + text_of(d.b) +
         "\n";
    j["values"].push_back({{"name", d.value},
                           {"moved", d.moved},
                           {"first", {d.a.min, d.a.max}},
                           {"second", {d.b.min, d.b.max}}});
  }
  say(a, s);
  write_result(a, j);
}

void calibration_show(const calibration_arguments& a) {
  require_files(a, 1);
  require_writable(a.json);
  const auto found = ptq::calibration::load(a.files[0]);
  auto j = about(found);
  j["ranges"] = nlohmann::json::array();
  constexpr double half_step = 1.0 / 510;  // of 8-bit codes
  std::size_t uncertain = 0;
  std::string s;
  for (const auto& v : ptq::calibration::stability(found.seen)) {
    uncertain += v.mean_error > half_step;
    s += "+-" + number(100 * v.mean_error) + " %  " + v.value + "  " + text_of(v.range) + "\n";
    j["ranges"].push_back({{"name", v.value},
                           {"range", {v.range.min, v.range.max}},
                           {"mean_error", v.mean_error},
                           {"exceeding", v.exceeding}});
  }
  j["uncertain"] = uncertain;
  const auto n = found.seen.samples;
  say(a, std::to_string(n) + " samples, " + std::to_string(found.seen.values.size()) +
             " values, model " + ptq::calibration::hex(found.model_hash) + ", ptq " +
             found.library + "\nMean bounds, with their standard error as a share of the range; " +
             std::to_string(uncertain) + " err by more than half a step of 8 bits, and more " +
             "samples would move them.\nOne more sample passes the extremes with a chance of 1/" +
             std::to_string(n + 1) + " a side.\n" + s);
  write_result(a, j);
}

}  // namespace cli
