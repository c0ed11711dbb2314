// SPDX-License-Identifier: Apache-2.0
// Output error of the models that are no classifiers: one Markdown row each, and with --json all of
// it, both lists of inputs included.
//
//   SQNR = 10 log10(sum y^2 / sum (y - q)^2), sums over all evaluation samples; the lowest output
//
// usage: zoo_bench [--only NAME]... [--effort E] [--preset P] [--range-estimator E] [--json FILE]
//        [--layers] [--steps] [--attribute SAMPLES] [--model-type transformer]
//        [--weight-bits N] [--activation-bits N] [--float-macs PERCENT]; models and data are found
//        through PTQ_DATA_DIR

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/report.hpp>

#include "zoo/inputs.hpp"
#include "zoo/pictures.hpp"
#include "zoo/sounds.hpp"
#include "zoo/texts.hpp"

namespace {

/// A model, the best figure of other quantizers on like inputs, and what this one must reach.
struct subject {
  std::string file;
  double peer, bar;
  std::function<zoo::inputs(const zoo::context&)> make;
};

std::vector<subject> subjects() {
  const auto photos = [](const zoo::picture_rule& r) {
    return [r](const zoo::context& c) { return zoo::pictures(c, r); };
  };
  const std::vector<float> half{127.5F};
  return {
      {"detection/nanodet_m_416", 13.4, 20,
       photos({.height = 416,
               .width = 416,
               .bgr = true,
               .mean = {103.53F, 116.28F, 123.675F},
               .std = {57.375F, 57.12F, 58.395F}})},
      {"face/ultraface-RFB-320", 44.9, 0,
       photos({.height = 240, .width = 320, .mean = {127}, .std = {128}})},
      {"face/ultraface-RFB-320_simplified", 19.1, 26,
       photos({.height = 240, .width = 320, .mean = {127}, .std = {128}})},
      {"face/yunet_s_320_320", 13.1, 20, photos({.height = 320, .width = 320, .bgr = true})},
      {"face/blazeface_front_128x128", 13.7, 20,
       photos({.height = 128, .width = 128, .nhwc = true, .mean = half, .std = half})},
      {"image2image/super_resolution_10", 25.1, 30,
       photos({.height = 224, .width = 224, .gray = true, .std = {255}})},
      {"mlperf_tiny/vww_mobilenet_v1_0.25_96", 33.1, 0,
       photos({.height = 96, .width = 96, .std = {255}})},
      {"ocr/ch_PP-OCRv4_rec_infer", 9.5, 18, zoo::text_lines},
      {"audio/dtln_model_1", 41.6, 42, zoo::magnitudes},
      {"audio/silero_vad_16k_op15", 18.1, 26, zoo::voice_frames},
      {"misc/magika_standard_v3_3", 1.3, 20, zoo::files},
      {"lm/stories260k_llama", 26.6, 30, zoo::stories},
      {"whisper/whisper_tiny_encoder", 19.9, 22, zoo::mel_pictures},
  };
}

struct arguments {
  std::vector<std::string> only;
  std::string json;
  bool layers = false, steps = false;
  std::int64_t attribute = 0;  // samples; 0: none
  ptq::quantize_options options;
};

nlohmann::json number(double v) {
  return std::isfinite(v) ? nlohmann::json(v) : nlohmann::json(nullptr);
}

nlohmann::json names(const std::vector<zoo::named_sample>& list) {
  nlohmann::json j = nlohmann::json::array();
  for (const auto& s : list) j.push_back(s.name);
  return j;
}

/// Layers with products that stay in float, by reason.
std::string float_layers(const ptq::report& r) {
  std::map<std::string, int> reasons;
  for (const auto& l : r.layers)
    if (!l.integer && l.macs > 0) ++reasons[l.what + ": " + (l.note.empty() ? "float" : l.note)];
  std::string text;
  for (const auto& [why, n] : reasons)
    text += (text.empty() ? "" : "; ") + std::to_string(n) + " " + why;
  return text.empty() ? "none" : text;
}

nlohmann::json measure(const subject& s, const std::filesystem::path& root, const arguments& a) {
  nlohmann::json j = {{"model", s.file}, {"peer_db", s.peer}, {"bar_db", s.bar}};
  const auto network =
      ptq::fuse(ptq::fold(ptq::import_model(root / "models" / (s.file + ".onnx"))));
  const auto data = s.make({root, network});
  const auto made = ptq::quantize(network, ptq::dispatched_kernels(),
                                  zoo::samples_of(data.calibration), a.options);
  ptq::runner before(network, ptq::dispatched_kernels(), {.keep_values = true});
  ptq::runner after(made.network, ptq::dispatched_kernels());
  const auto c = ptq::compare(before, after, zoo::samples_of(data.evaluation),
                              {.layers = a.layers, .report = {}});
  auto r = ptq::make_report(s.file, after.current_program());
  ptq::add(r, made.network);
  ptq::add(r, c);
  j["sqnr_db"] = number(c.output_sqnr_db());
  j["integer_macs_percent"] = r.integer_share();
  j["float_layers"] = float_layers(r);
  for (const auto& o : c.outputs) j["outputs"][o.name] = number(o.error.sqnr_db());
  j["calibration"] = names(data.calibration);
  j["evaluation"] = names(data.evaluation);
  if (a.attribute > 0) {
    const auto few = ptq::take(zoo::samples_of(data.evaluation), a.attribute);
    const auto causes = ptq::attribute(network, made.network, ptq::dispatched_kernels(), few);
    std::cout << ptq::text(causes);
    j["attribution"] = ptq::json<nlohmann::json>(causes);
  }
  for (const auto& step : made.recovery.steps) {
    j["steps"].push_back({{"what", step.what},
                          {"before_db", number(step.before_db)},
                          {"after_db", number(step.after_db)},
                          {"kept", step.kept},
                          {"note", step.note}});
    if (a.steps)
      std::printf("  %6.2f -> %6.2f dB  %s%s%s\n", step.before_db, step.after_db,
                  step.kept ? "kept  " : "      ", step.what.c_str(),
                  step.note.empty() ? "" : (": " + step.note).c_str());
  }
  if (a.layers)
    for (const auto& l : r.layers)
      std::printf("  %-8s %6.2f dB  %-22s %-40s %s\n", l.integer ? "int8" : "float",
                  l.error ? l.error->sqnr_db : NAN, l.what.c_str(), l.name.c_str(), l.note.c_str());
  return j;
}

void print_row(const nlohmann::json& j) {
  const auto text = [](double v) {
    char s[32];
    std::snprintf(s, sizeof s, "%.1f", v);
    return std::string(s);
  };
  std::string row = "| " + j["model"].get<std::string>() + " | ";
  if (j.contains("error")) {
    row +=
        "does not run: " + j["error"].get<std::string>() + " | " + text(j["peer_db"]) + " | | | |";
  } else {
    const auto& db = j["sqnr_db"];
    row += (db.is_null() ? "equal" : text(db)) + " | " + text(j["peer_db"]) + " | " +
           (j["bar_db"] == 0.0 ? "" : text(j["bar_db"])) + " | " + text(j["integer_macs_percent"]) +
           " | " + j["float_layers"].get<std::string>() + " |";
  }
  std::cout << row << std::endl;
}

arguments read_arguments(int argc, char** argv) {
  arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--layers" || flag == "--steps") {
      (flag == "--layers" ? a.layers : a.steps) = true;
      continue;
    }
    if (++i == argc) throw ptq::error(flag + ": expected a value");
    const std::string text = argv[i];
    if (flag == "--only") {
      a.only.push_back(text);
    } else if (flag == "--attribute") {
      a.attribute = std::stoll(text);
    } else if (flag == "--float-macs") {
      a.options.effort.float_macs = std::stod(text) / 100;
    } else if (flag == "--wide-macs") {
      a.options.effort.wide_macs = std::stod(text) / 100;
    } else if (flag == "--enough-db") {
      a.options.effort.enough_db = std::stod(text);
    } else if (flag == "--weight-bits") {
      a.options.weights.bits = std::stoi(text);
    } else if (flag == "--activation-bits") {
      a.options.activations.bits = std::stoi(text);
    } else if (flag == "--json") {
      a.json = text;
    } else if (flag == "--effort") {
      bool known = false;
      for (auto e : {ptq::effort::fast, ptq::effort::balanced, ptq::effort::best})
        if (text == ptq::name_of(e)) {
          a.options.effort.level = e;
          known = true;
        }
      if (!known) throw ptq::error("--effort: '" + text + "' is none");
    } else if (flag == "--preset" && (text == "mixed" || text == "performance")) {
      a.options.preset = text == "mixed" ? ptq::preset::mixed : ptq::preset::performance;
    } else if (flag == "--model-type" && text == "transformer") {
      a.options.model_type = ptq::model_type::transformer;
    } else if (flag == "--range-estimator") {
      bool known = false;
      for (auto e : {ptq::range_estimator::minmax, ptq::range_estimator::mean_minmax,
                     ptq::range_estimator::percentile, ptq::range_estimator::mse,
                     ptq::range_estimator::entropy, ptq::range_estimator::automatic})
        if (text == ptq::name_of(e)) {
          a.options.activations.estimator = e;
          known = true;
        }
      if (!known) throw ptq::error("--range-estimator: '" + text + "' is none");
    } else {
      throw ptq::error("'" + flag + " " + text + "' is no option");
    }
  }
  return a;
}

int run(const arguments& a) {
  const char* root = std::getenv("PTQ_DATA_DIR");
  if (root == nullptr || *root == '\0') throw ptq::error("PTQ_DATA_DIR names no folder");
  nlohmann::json all = nlohmann::json::array();
  std::cout << "| model | SQNR, dB | best peer | bar | integer MACs, % | products in float |\n"
               "|---|---|---|---|---|---|"
            << std::endl;
  for (const auto& s : subjects()) {
    bool wanted = a.only.empty();
    for (const auto& o : a.only) wanted = wanted || s.file.find(o) != std::string::npos;
    if (!wanted) continue;
    nlohmann::json j;
    try {
      j = measure(s, root, a);
    } catch (const ptq::error& e) {
      j = {{"model", s.file}, {"peer_db", s.peer}, {"bar_db", s.bar}, {"error", e.what()}};
    }
    print_row(j);
    all.push_back(std::move(j));
  }
  if (!a.json.empty()) std::ofstream(a.json) << all.dump(1) << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  return run(read_arguments(argc, argv));
} catch (const std::exception& e) {
  std::cerr << "zoo_bench: " << e.what() << "\n";
  return 1;
}
