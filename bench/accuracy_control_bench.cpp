// SPDX-License-Identifier: Apache-2.0
// Accuracy control on the labelled models of a folder with zoo.json (PTQ_DATA_DIR): searched on one
// half of the samples, judged on the other, both ways round, beside a plain greedy search.
//
//   accuracy_control_bench [--max-drop 0.005] [--float-macs PERCENT] [--effort fast|balanced]
//                          [--no-tune] [--greedy] [--threads N] [NAME…]
//
// NAME: part of a model's path; without any, the models of kind `difficult`. One line per fold, and one
// for both: agreement on unseen samples, share of the products in float, and the work of the search in
// inferences of the whole network (a part of it counts as that part). With --greedy beside it what a
// plain greedy search from the same start, without a limit on floats, would need.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <ptq/compiled.hpp>
#include <ptq/data/open.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/ptq.hpp>

namespace {

using namespace ptq;
using clock_type = std::chrono::steady_clock;

struct arguments {
  double max_drop = 0.005, float_macs = 1;
  bool greedy = false, balanced = false, tune = true;
  int threads = 1;
  std::vector<std::string> names;
};

double seconds_since(clock_type::time_point begin) {
  return std::chrono::duration<double>(clock_type::now() - begin).count();
}

samples opened(const std::filesystem::path& root, const nlohmann::json& m, const std::string& key) {
  sample_options o;
  o.paths = {(root / m[key].get<std::string>()).string()};
  auto& p = o.preprocessing;
  p.resize = m.value("resize", 0);
  p.crop = m.value("crop", 0);
  p.channels = m["channels"] == "bgr" ? channel_order::bgr : channel_order::rgb;
  p.scale = m["scale"].get<float>();
  p.mean = m["mean"].get<std::vector<float>>();
  p.std = m["std"].get<std::vector<float>>();
  return open_samples(o);
}

struct half {
  labelled_samples search, unseen;
};

half halves(const samples& all, const std::vector<std::int64_t>& labels, std::size_t fold) {
  std::vector<std::int64_t> order[2], classes[2];
  for (std::size_t i = 0; i < labels.size(); ++i) {
    order[i % 2].push_back(static_cast<std::int64_t>(i));
    classes[i % 2].push_back(labels[i]);
  }
  const auto part = [&](std::size_t k) {
    return labelled_samples{detail_samples::reordered(all, order[k]), class_labels(classes[k])};
  };
  return {part(fold), part(1 - fold)};
}

/// Agreement and drop on samples that no search has seen.
control::verdict judged(const graph& real, const graph& made, const labelled_samples& on) {
  runner a(real, dispatched_kernels()), b(made, dispatched_kernels());
  const auto metric = control::top_k(1);
  control::verdict v;
  std::vector<double> d;
  for (std::size_t i = 0; i < on.labels.size(); ++i) {
    const auto s = *on.data.at(static_cast<std::int64_t>(i));
    const auto y = a.run(s), q = b.run(s);
    d.push_back(metric.observe(y, on.labels[i])[0] - metric.observe(q, on.labels[i])[0]);
    v.agreement += metric.observe(q, metric.own_label(y))[0] / static_cast<double>(on.labels.size());
  }
  v.drop = control::paired_mean(d);
  return v;
}

/// What a plain greedy search costs: it ranks all groups once by reverting each, then gives back one
/// after the other, validating each time; NNCF's way, without its turns back.
struct greedy_work {
  int ranked = 0, validated = 0;
  std::int64_t inferences = 0;
};
greedy_work greedy(const trial& models, control::judge<trial>& ask) {
  const auto subset = static_cast<std::int64_t>(ask.subset().size());
  greedy_work w;
  const auto fine = [&](const control::group_set& s) {
    ++w.validated;
    w.inferences += models.count();
    return ask.validate(s).fine;
  };
  if (fine({})) return w;
  std::vector<control::group_set> alone{{}};
  const int n = static_cast<int>(models.groups().size());
  for (int i = 0; i < n; ++i) alone.push_back({i});
  const auto errors = ask.errors(alone);
  w.ranked = n;
  w.inferences += n * subset;
  std::vector<int> order;
  for (int i = 0; i < n; ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return errors[static_cast<std::size_t>(a) + 1] < errors[static_cast<std::size_t>(b) + 1];
  });
  control::group_set s;
  for (int i : order) {
    s.insert(std::lower_bound(s.begin(), s.end(), i), i);
    if (fine(s)) break;
  }
  return w;
}

struct fold_figures {
  double before = 0, after = 0, macs = 0, seconds = 0, inferences = 0, greedy = 0;
};

fold_figures run_fold(const graph& g, const samples& calibration, const half& h, const arguments& a,
                      const std::string& name) {
  accuracy_control_options o;
  o.max_drop = a.max_drop;
  o.max_float_macs = a.float_macs;
  o.threads = o.quantize.threads = a.threads;
  if (a.balanced) o.quantize.effort.level = effort::balanced;
  o.tune_hyperparams = a.tune;
  const auto begin = clock_type::now();
  const auto r = quantize_with_accuracy_control(g, dispatched_kernels(), calibration, h.search, o);
  const double wall = seconds_since(begin);
  const auto& f = r.found;
  const auto before = judged(g, quantize(r.real, r.observed, r.options), h.unseen);
  const auto after = judged(g, r.network, h.unseen);
  std::printf("%-22s %-7s seen %5.2f %%  unseen %5.2f -> %5.2f %%  drop %+.2f +- %.2f  float MACs %5.1f %%  "
              "%d+%d models, %.0f inferences  %5.1f s  us %.0f (int8 %.0f, float %.0f)%s%s\n",
              name.c_str(), f.status == control::status::met ? "met" : "not met",
              100 * f.chosen.agreement, 100 * before.agreement, 100 * after.agreement,
              100 * after.drop.estimate, 100 * after.drop.half_width, 100 * f.chosen.float_macs,
              f.confirmations, f.validations, f.inferences, wall, f.chosen.us, f.costs.integer_us,
              f.costs.real_us, f.tuned ? " tuned" : "",
              f.limited_by.empty() ? "" : (", limited by " + f.limited_by).c_str());
  fold_figures figures{before.agreement, after.agreement, f.chosen.float_macs, wall, f.inferences, 0};
  if (a.greedy) {
    const auto start = clock_type::now();
    const trial models(r.real, r.observed, dispatched_kernels(), h.search.data,
                       {.quantize = r.options, .threads = a.threads});
    control::judge<trial> ask(models, h.search.labels, {.bounds = {{control::top_k(1), a.max_drop}}});
    const auto w = greedy(models, ask);
    figures.greedy = static_cast<double>(w.inferences);
    std::printf("%-22s greedy: %d+%d models, %lld inferences  %5.1f s\n", name.c_str(), w.ranked,
                w.validated, static_cast<long long>(w.inferences), seconds_since(start));
  }
  std::fflush(stdout);
  return figures;
}

void print_mean(const std::string& name, const fold_figures& x, const fold_figures& y) {
  std::printf("%-22s mean    unseen %5.2f -> %5.2f %%  float MACs %5.1f %%  %5.1f s  %.0f inferences",
              name.c_str(), 50 * (x.before + y.before), 50 * (x.after + y.after),
              50 * (x.macs + y.macs), (x.seconds + y.seconds) / 2, (x.inferences + y.inferences) / 2);
  if (x.greedy > 0)
    std::printf(", %.0f %% of greedy's %.0f", 100 * (x.inferences + y.inferences) / (x.greedy + y.greedy),
                (x.greedy + y.greedy) / 2);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) try {
  arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string s = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::atof(argv[++i]) : 0.0; };
    if (s == "--max-drop") a.max_drop = number();
    else if (s == "--float-macs") a.float_macs = number() / 100;
    else if (s == "--threads") a.threads = static_cast<int>(number());
    else if (s == "--greedy") a.greedy = true;
    else if (s == "--no-tune")
      a.tune = false;
    else if (s == "--effort") {
      const std::string effort = i + 1 < argc ? argv[++i] : "";
      if (effort != "fast" && effort != "balanced")
        throw ptq::error("--effort: expected fast or balanced, got '" + effort + "'");
      a.balanced = effort == "balanced";
    }
    else a.names.push_back(s);
  }
  const char* dir = std::getenv("PTQ_DATA_DIR");
  if (dir == nullptr) {
    std::fprintf(stderr, "PTQ_DATA_DIR: expected a folder with zoo.json, got nothing\n");
    return 2;
  }
  const std::filesystem::path root(dir);
  std::ifstream in(root / "zoo.json");
  const auto zoo = nlohmann::json::parse(in);
  for (const auto& m : zoo["models"]) {
    const auto path = m["model"].get<std::string>();
    bool wanted = a.names.empty() && m.value("kind", "") == "difficult";
    for (const auto& n : a.names) wanted = wanted || path.find(n) != std::string::npos;
    if (!wanted || !m.contains("calibration") || m.contains("record_dtype")) continue;
    const auto g = fuse(fold(import_model(root / path)));
    const auto all = opened(root, m, "samples");
    auto labels_at = root / m["samples"].get<std::string>();
    if (std::filesystem::exists(labels_at / "labels.csv")) labels_at /= "labels.csv";
    const auto labels = open_labels(labels_at, all, m["label_offset"].get<std::int64_t>());
    const auto name = std::filesystem::path(path).stem().string().substr(0, 20);
    const auto fold = [&](std::size_t k) {
      return run_fold(g, opened(root, m, "calibration"), halves(all, labels, k), a,
                      name + (k ? "/2" : "/1"));
    };
    const auto first = fold(0);
    print_mean(name, first, fold(1));
  }
} catch (const ptq::error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
