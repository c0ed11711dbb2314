// SPDX-License-Identifier: Apache-2.0
// What quantization costs the labelled classifiers of zoo.json in the folder PTQ_DATA_DIR, at each
// effort: one Markdown table on standard output, and the same as JSON where a file is named.
//
//   PTQ_DATA_DIR=… accuracy [--model PART] [--effort fast,balanced,best] [--weight-bits N] [--limit N]
//                            [--wide-macs PERCENT] [--enough-db DB] [--json FILE]
//
// Calibration: the samples that zoo.json names, 300 at most. Evaluation: its labelled samples, which
// are others (but for the keyword model, as zoo.json says). Samples are decoded once, outside the
// times. Seconds are those of `quantize`, also as a multiple of 300 float inferences.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/compiled.hpp>
#include <ptq/data/kept_samples.hpp>
#include <ptq/data/open.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/graph/scores.hpp>

namespace {

using nlohmann::json;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct arguments {
  std::string model, efforts = "fast,balanced,best", json;
  std::int64_t limit = 1 << 30;
  int weight_bits = 8;
  double wide_macs = 0, enough_db = ptq::effort_options{}.enough_db;
};

ptq::sample_options options_of(const json& m, const std::string& root, const char* what) {
  ptq::sample_options o;
  o.paths = {root + m[what].get<std::string>()};
  auto& p = o.preprocessing;
  p.resize = m.value("resize", std::int64_t{0});
  p.crop = m.value("crop", std::int64_t{0});
  const auto channels = m.value("channels", std::string("rgb"));
  p.channels = channels == "bgr"    ? ptq::channel_order::bgr
               : channels == "gray" ? ptq::channel_order::gray
                                    : ptq::channel_order::rgb;
  p.scale = m["scale"].get<float>();
  p.mean = m["mean"].get<std::vector<float>>();
  p.std = m["std"].get<std::vector<float>>();
  p.layout = m.value("layout", "") == "nhwc" ? ptq::image_layout::nhwc : ptq::image_layout::nchw;
  if (m.contains("record_dtype")) {
    o.record_dtype = m["record_dtype"].get<std::string>();
    o.record_shape = ptq::shape(m["record_shape"].get<std::vector<std::int64_t>>());
  }
  return o;
}

struct subject {
  ptq::graph network;
  ptq::samples evaluation, calibration;
  std::vector<std::int64_t> labels;
  std::string output;               // what a final softmax reads, if there is one
  std::vector<ptq::tensor> scores;  // of the float model
  double float_seconds = 0;         // of one inference
};

/// The network that ends with the named value.
ptq::graph ending_with(ptq::graph g, const std::string& name) {
  g.outputs = {g.find(name)};
  return ptq::pruned(std::move(g));
}

subject opened(const json& m, const std::string& root, std::int64_t limit) {
  constexpr std::int64_t calibration_samples = 300;  // NNCF's default subset
  constexpr std::size_t memory = std::size_t{1} << 30;
  subject s;
  s.network = ptq::fuse(ptq::fold(ptq::import_model(root + m["model"].get<std::string>())));
  const auto all = ptq::open_samples(options_of(m, root, "samples"));
  const auto labels = m.value("labels", m["samples"].get<std::string>());  // or stored with them
  s.labels = ptq::open_labels(root + labels, all, m.value("label_offset", std::int64_t{0}));
  s.evaluation = ptq::kept_samples(all, limit, memory);
  s.calibration = ptq::kept_samples(ptq::open_samples(options_of(m, root, "calibration")),
                                    m.value("calibration_records", calibration_samples), memory);
  s.output = s.network[ptq::scores_of(s.network, ptq::uses(s.network), s.network.outputs[0])].name;
  ptq::runner run(ending_with(s.network, s.output), ptq::dispatched_kernels());
  run.bind(*s.evaluation.at(0));
  const auto n = *s.evaluation.count();
  const auto start = seconds();
  for (std::int64_t i = 0; i < n; ++i) s.scores.push_back(run.run(*s.evaluation.at(i))[0]);
  s.float_seconds = (seconds() - start) / static_cast<double>(n);
  return s;
}

/// Percent of the samples whose top class is the labelled one.
double top1(const subject& s, const std::vector<ptq::tensor>& scores) {
  std::int64_t right = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) right += ptq::top_class(scores[i]) == s.labels[i];
  return 100.0 * static_cast<double>(right) / static_cast<double>(scores.size());
}

json measured(const subject& s, ptq::effort level, const arguments& a) {
  ptq::quantize_options options;
  options.effort.level = level;
  options.effort.wide_macs = a.wide_macs;
  options.effort.enough_db = a.enough_db;
  options.weights.bits = a.weight_bits;
  const auto start = seconds();
  const auto made = ptq::quantize(s.network, ptq::dispatched_kernels(), s.calibration, options);
  const auto spent = seconds() - start;
  ptq::runner run(ending_with(made.network, s.output), ptq::dispatched_kernels());
  std::vector<ptq::tensor> scores;
  ptq::distortion error;
  std::int64_t same = 0;
  for (std::size_t i = 0; i < s.scores.size(); ++i) {
    scores.push_back(run.run(*s.evaluation.at(static_cast<std::int64_t>(i)))[0]);
    error.add(s.scores[i].view<float>(), scores[i].view<float>());
    same += ptq::top_class(scores[i]) == ptq::top_class(s.scores[i]);
  }
  const double before = top1(s, s.scores), after = top1(s, scores);
  json j = {{"effort", ptq::name_of(level)},
            {"samples", s.scores.size()},
            {"calibrated_on", made.observed.samples},
            {"float_top1", before},
            {"int8_top1", after},
            {"drop", before - after},
            {"agreement", 100.0 * static_cast<double>(same) / static_cast<double>(scores.size())},
            {"sqnr_db", error.sqnr_db()},
            {"integer_macs_percent", ptq::make_report("", run.current_program()).integer_share()},
            {"seconds", spent},
            {"per_300_float_inferences", spent / (300 * s.float_seconds)},
            {"steps", json::array()}};
  for (const auto& step : made.recovery.steps)
    j["steps"].push_back({{"step", step.what},
                          {"before_db", step.before_db},
                          {"after_db", step.after_db},
                          {"kept", step.kept},
                          {"note", step.note}});
  return j;
}

void print_row(const json& r) {
  const auto number = [&](const char* key) { return r[key].get<double>(); };
  std::printf("| %s | %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n",
              r["model"].get<std::string>().c_str(), r["effort"].get<std::string>().c_str(),
              number("float_top1"), number("int8_top1"), number("drop"), number("agreement"),
              number("sqnr_db"), number("integer_macs_percent"), number("seconds"),
              number("per_300_float_inferences"));
  std::fflush(stdout);
}

int run(const arguments& a) {
  const char* dir = std::getenv("PTQ_DATA_DIR");
  if (dir == nullptr || *dir == '\0') {
    std::fputs("accuracy: PTQ_DATA_DIR is not set\n", stderr);
    return 1;
  }
  const std::string root = std::string(dir) + "/";
  const auto zoo = json::parse(std::ifstream(root + "zoo.json"));
  json rows = json::array();
  std::puts(
      "| model | effort | float top-1 | int8 top-1 | drop | agreement | logit SQNR dB | integer "
      "MACs % "
      "| seconds | of 300 float inferences |\n|---|---|---|---|---|---|---|---|---|---|");
  for (const auto& m : zoo["models"]) {
    const auto name = m["model"].get<std::string>();
    if (m.value("quantized", false) || name.find(a.model) == std::string::npos) continue;
    const auto s = opened(m, root, a.limit);
    for (auto level : {ptq::effort::fast, ptq::effort::balanced, ptq::effort::best}) {
      if (("," + a.efforts + ",").find(std::string(",") + ptq::name_of(level) + ",") ==
          std::string::npos)
        continue;
      auto row = measured(s, level, a);
      row["model"] = std::filesystem::path(name).stem().string();
      print_row(row);
      rows.push_back(std::move(row));
    }
  }
  if (!a.json.empty()) std::ofstream(a.json) << rows.dump(1) << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  arguments a;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string option = argv[i];
    if (option == "--model") a.model = argv[i + 1];
    if (option == "--effort") a.efforts = argv[i + 1];
    if (option == "--weight-bits") a.weight_bits = std::atoi(argv[i + 1]);
    if (option == "--wide-macs") a.wide_macs = std::stod(argv[i + 1]) / 100;
    if (option == "--enough-db") a.enough_db = std::stod(argv[i + 1]);
    if (option == "--limit") a.limit = std::atoll(argv[i + 1]);
    if (option == "--json") a.json = argv[i + 1];
  }
  return run(a);
} catch (const std::exception& e) {
  std::fprintf(stderr, "accuracy: %s\n", e.what());
  return 1;
}
