// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <ptq/accuracy_control.hpp>
#include <ptq/export.hpp>
#include <ptq/fold.hpp>
#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/validate.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "quantize/network.hpp"
#include "recovery/cancelling.hpp"
#include "support/noise.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

const kernels::kernel_table& table() {
#ifdef PTQ_TEST_DISPATCH
  return dispatched_kernels();
#else
  return kernels::reference_kernels();
#endif
}

samples images(std::int64_t n, unsigned seed) {
  return [n, seed](std::int64_t i) -> std::optional<sample> {
    if (i >= n) return std::nullopt;
    tensor t(dtype::f32, {1, 3, 8, 8});
    std::mt19937 random(seed + static_cast<unsigned>(i));
    std::normal_distribution<float> d;
    for (auto& v : t.mutable_view<float>()) v = d(random);
    return sample(std::move(t));
  };
}

/// Logits without their means, so that every class wins somewhere.
void balance(graph& g) {
  runner r(g, table());
  std::vector<double> mean(4);
  auto data = images(64, 500);
  for (auto s = data.next(); s; s = data.next()) {
    const auto out = r.run(*s);
    for (std::size_t i = 0; i < 4; ++i)
      mean[i] += static_cast<double>(out[0].view<float>()[i]) / 64;
  }
  auto bias = g[g.find("logits.b")].constant->mutable_view<float>();
  for (std::size_t i = 0; i < 4; ++i) bias[i] -= static_cast<float>(mean[i]);
}

/// Three pairs conv → ReLU → conv, then four logits. With damage, one channel between each pair is
/// scaled by 64 and undone behind it: in float, powers of two change no bit.
graph pairs(bool damage) {
  network n;
  auto x = n.input("x", {1, 3, 8, 8});
  std::int64_t channels = 3;
  for (const auto* i : {"1", "2", "3"}) {
    x = n.conv(std::string("a") + i, x, channels, 8, positive, 3);
    x = n.conv(std::string("b") + i, x, 8, 8, positive, 3);
    channels = 8;
  }
  n.output(n.linear("logits", n.flatten("flat", x), 8 * 8 * 8, 4));
  graph g = n.done();
  balance(g);
  if (!damage) return g;
  std::mt19937 random(11);
  for (const auto* i : {"1", "2", "3"}) {
    const std::size_t c = random() % 8;
    const auto scale = [&](const std::string& name, std::size_t begin, std::size_t count,
                           std::size_t step, float by) {
      auto v = g[g.find(name)].constant->mutable_view<float>();
      for (; begin < v.size(); begin += step)
        for (std::size_t k = 0; k < count; ++k) v[begin + k] *= by;
    };
    const auto name = std::string(i);
    const std::size_t taps = (name == "1" ? 3 : 8) * 9;
    scale("a" + name + ".w", c * taps, taps, 1u << 20, 64);
    scale("a" + name + ".b", c, 1, 1u << 20, 64);
    scale("b" + name + ".w", c * 9, 9, 72, 1.0f / 64);
  }
  return g;
}

control::cost_table costs(const graph& g) {
  control::cost_table t{1000, 100, {}};
  for (const auto& n : g.nodes) t.layers[n.name] = {2, 1};
  return t;
}

std::vector<std::int64_t> own_classes(const graph& g, samples data) {
  runner r(g, table());
  std::vector<std::int64_t> classes;
  for (auto s = data.next(); s; s = data.next()) classes.push_back(top_class(r.run(*s)[0]));
  return classes;
}

accuracy_control_result controlled(const graph& g, accuracy_control_options o, bool tune = false) {
  const auto data = images(96, 1000);
  if (!o.costs) o.costs = costs(g);
  o.tune_hyperparams = tune;
  return quantize_with_accuracy_control(g, table(), images(32, 1),
                                        {data, class_labels(own_classes(g, data))}, o);
}

/// What the undamaged network loses when all of it is quantized, and one sample of 96 more.
double bound() {
  return 1 - controlled(pairs(false), {.max_drop = 1.0}).found.chosen.agreement + 1.01 / 96;
}

}  // namespace

TEST_CASE("the search gives back the groups that were damaged, and no other") {
  const double most = bound();
  const auto r = controlled(pairs(true), {.max_drop = most});
  MESSAGE("bound " << most << ", damaged " << 1 - r.found.front.front().agreement << ", searched "
                   << 1 - r.found.chosen.agreement);
  // Float is the same network to the bit.
  runner a(pairs(false), table(), {.fast_float = false}),
      b(pairs(true), table(), {.fast_float = false});
  const auto s = *images(1, 5).at(0);
  CHECK(a.run(s)[0].view<float>()[0] == b.run(s)[0].view<float>()[0]);
  CHECK(r.found.status == control::status::met);
  CHECK(std::set<std::string>(r.found.chosen.restored.begin(), r.found.chosen.restored.end()) ==
        std::set<std::string>{"a1", "a2", "a3"});
  CHECK(std::set<std::string>(r.found.nodes.begin(), r.found.nodes.end()) ==
        std::set<std::string>{"b1", "b2", "b3"});
  // Nothing is left behind: the values are real, the weights float, all else is in integers.
  for (const auto* v : {"a1", "a2", "a3"})
    CHECK_FALSE(r.network[r.network.find(v)].quant.has_value());
  for (const auto& n : r.network.nodes) {
    if (n.name[0] == 'b') CHECK_FALSE(r.network[n.inputs[1]].quant.has_value());
    if (n.name[0] == 'a') CHECK(r.network[n.inputs[1]].quant.has_value());
    if (n.name[0] == 'b') CHECK(n.note.find("given back") != std::string::npos);
  }
}

TEST_CASE("with effort balanced the damage is mended before the search, and nothing is given back") {
  accuracy_control_options o{.max_drop = bound()};
  CHECK(!controlled(pairs(true), o).found.chosen.restored.empty());
  o.quantize.effort.level = effort::balanced;
  const auto r = controlled(pairs(true), o);
  CHECK(r.found.status == control::status::met);
  CHECK(r.found.chosen.restored.empty());
  bool equalised = false;
  for (const auto& s : r.recovery.steps)
    equalised = equalised || (s.kept && s.what.starts_with("cross-layer equalisation"));
  CHECK(equalised);
}

TEST_CASE("with effort balanced biases and weights are corrected, before a layer is given back and behind the search") {
  ptq_test::temp_folder dir;
  const auto file = dir.path() / "journal";
  const auto g = pairs(false);
  accuracy_control_options o{.max_drop = 1e-3, .max_float_macs = 0};  // nothing may be given back
  o.quantize.weights.bits = 4;
  o.quantize.effort.level = effort::balanced;
  o.quantize.effort.fixed_correction = true;
  const auto plain = controlled(g, o);
  CHECK_FALSE(plain.found.corrected);
  o.quantize.effort.fixed_correction = false;
  o.journal = file;
  const auto r = controlled(g, o);
  REQUIRE(r.found.corrected);
  CHECK(r.found.chosen.restored.empty());
  CHECK(r.found.chosen.error < 0.9 * plain.found.chosen.error);
  const auto kept = [](const recovery_step& s) {
    return s.kept && (s.what == "sequential bias correction" || s.what == "rounding of small convolutions");
  };
  CHECK(std::ranges::any_of(r.recovery.steps, kept));
  CHECK(text(r.found).find("corrected") != std::string::npos);
  // What is said is of the network that is returned; the front's can be made again, uncorrected.
  const auto data = images(96, 1000);
  runner before(g, table()), after(r.network, table());
  double error = 0;
  for (std::int64_t i = 0; i < 96; ++i) {
    const auto s = *data.at(i);
    const auto x = before.run(s)[0], y = after.run(s)[0];
    double lost = 0, all = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const double a = x.view<float>()[k], b = y.view<float>()[k];
      lost += (a - b) * (a - b);
      all += a * a;
    }
    error += lost / all / 96;
  }
  CHECK(error == doctest::Approx(r.found.chosen.error).epsilon(1e-3));
  CHECK(r.found.front.front().error == doctest::Approx(plain.found.chosen.error));
  // From the journal, on more threads: the same bytes.
  o.threads = 2;
  CHECK((export_onnx(controlled(g, o).network) == export_onnx(r.network)));
  // A bound that correction alone meets: nothing is given back where it may be.
  accuracy_control_options loose = o;
  loose.journal.clear();
  loose.max_float_macs = 1;
  loose.max_drop = 1 - r.found.chosen.agreement + 0.5 / 96;
  const auto met = controlled(g, loose);
  CHECK(met.found.status == control::status::met);
  CHECK(met.found.corrected);
  CHECK(met.found.chosen.restored.empty());
  // One that nothing within the limits meets: what is given back is corrected as well.
  loose.max_drop = 1e-3;
  loose.max_float_macs = 0.2;
  const auto missed = controlled(g, loose);
  CHECK(missed.found.status == control::status::not_met);
  CHECK(missed.found.corrected);
  CHECK(missed.found.chosen.error <= r.found.chosen.error);
}

TEST_CASE("asked to tune, the search starts from the preset and ranges that cost least") {
  accuracy_control_options o{.max_drop = 1.0};
  o.quantize.effort.tune = true;
  const auto r = controlled(pairs(false), o);
  const auto tried = [&](const std::string& what) {
    return std::ranges::any_of(r.recovery.steps,
                               [&](const auto& s) { return s.what.find(what) != std::string::npos; });
  };
  CHECK(tried("preset mixed"));
  CHECK(tried("ranges minmax"));
  CHECK_FALSE(tried("equalisation"));
  const auto kept = std::ranges::count_if(r.recovery.steps, [](const auto& s) { return s.kept; });
  const auto plain = quantize_options{};
  CHECK((kept > 0) == (r.options.preset != plain.preset ||
                       r.options.activations.estimator != plain.activations.estimator));
}

TEST_CASE("behind a change gives the same bits as the whole network") {
  const auto g = pairs(true);
  const quantize_options options;
  const auto observed = calibrate(g, table(), images(16, 1), observations(g, options));
  const trial models(g, observed, table(), images(6, 50), {.quantize = options, .threads = 2});
  std::vector<graph> candidates;
  for (int i = 0; i < static_cast<int>(models.groups().size()); ++i)
    candidates.push_back(models.quantized({i}));
  const std::vector<std::int64_t> subset{0, 2, 5};
  const auto base = models.quantized({});
  std::size_t shorter = 0;
  for (const auto& c : candidates) {
    const auto cut = control::parting_of(base, c);
    shorter += extracted(c, cut).nodes.size() < c.nodes.size();
  }
  CHECK(shorter + 2 >= candidates.size());  // all but those of the input and of its reader
  models.run_changed(base, candidates, control::parting_of, subset,
                     [&](std::size_t c, std::size_t k, const trial::answer& part) {
                       runner whole(candidates[c], table());
                       const auto y = whole.run(models.at(subset[k]));
                       const bool same =
                           std::memcmp(y[0].data(), part.outputs[0].data(), y[0].byte_count()) == 0;
                       REQUIRE(same);
                     });
}

TEST_CASE("cut short anywhere, a search ends with the same bytes, on any number of threads") {
  ptq_test::temp_folder dir;
  const auto g = pairs(true);
  const double most = bound();
  const auto file = dir.path() / "journal";
  const auto whole = controlled(g, {.max_drop = most, .journal = file});
  const auto bytes = export_onnx(whole.network);
  std::ifstream in(file, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  std::mt19937 random(5);
  for (int turn = 0; turn < 10; ++turn) {
    dir.write("journal", text.substr(0, random() % text.size()));
    const auto again = controlled(g, {.max_drop = most, .journal = file, .threads = 1 + turn % 3});
    CHECK((export_onnx(again.network) == bytes));
  }
}

TEST_CASE("what can't be met is returned with what limits it") {
  const auto r = controlled(pairs(true), {.max_drop = bound(), .max_float_macs = 0.01});
  CHECK(r.found.status == control::status::not_met);
  CHECK(r.found.limited_by.find("multiply-accumulates") != std::string::npos);
  CHECK(r.found.chosen.float_macs <= 0.01);
  const auto slow = controlled(pairs(true), {.max_drop = bound(), .min_speedup = 1e6});
  CHECK(slow.found.status == control::status::not_met);
  CHECK(slow.found.limited_by.find("time limit") != std::string::npos);
}

TEST_CASE("without annotations the float model's answers are the labels") {
  const auto g = pairs(true);
  auto o = accuracy_control_options{
      .max_drop = bound(), .tune_hyperparams = false, .annotation_free = true};
  o.costs = costs(g);
  const auto r =
      quantize_with_accuracy_control(g, table(), images(32, 1), {images(96, 1000), {}}, o);
  CHECK(r.found.metrics[0].float_score == 1);
  CHECK(r.found.metrics[0].score == doctest::Approx(r.found.chosen.agreement));
  CHECK(r.found.chosen.restored.size() == 3);
}

TEST_CASE(
    "a bound below the noise is said before the search, with the samples that would tell it") {
  const auto g = pairs(true);
  std::string said;
  auto o = accuracy_control_options{.max_drop = 0.001};
  o.warn = [&](const std::string& text) { said = text; };
  const auto r = controlled(g, o);
  const auto& m = r.found.metrics[0];
  CHECK_FALSE(m.resolved);
  CHECK(m.samples_needed > 96);
  CHECK(said.find(std::to_string(m.samples_needed)) != std::string::npos);

}

TEST_CASE("the warning comes before any group is looked at") {
  ptq_test::temp_folder dir;
  std::string at_warning;
  auto o = accuracy_control_options{.max_drop = 0.001, .journal = dir.path() / "journal"};
  o.warn = [&](const std::string&) {
    std::ifstream in(dir.path() / "journal", std::ios::binary);
    at_warning.assign(std::istreambuf_iterator<char>(in), {});
  };
  controlled(pairs(true), o);
  CHECK(at_warning.find("validate:") != std::string::npos);
  CHECK(at_warning.find("rank:") == std::string::npos);
}

TEST_CASE("a journal is of one search: of other weights it is refused") {
  ptq_test::temp_folder dir;
  accuracy_control_options o{.max_drop = 0.001, .journal = dir.path() / "journal"};
  controlled(pairs(true), o);
  CHECK_NOTHROW(controlled(pairs(true), o));
  o.quantize.weights.bits = 4;
  CHECK_THROWS_AS(controlled(pairs(true), o), data_error);
}

TEST_CASE("the search starts from 16-bit inputs where these are asked for") {
  const auto g = ptq_test::cancelling();
  const auto data = ptq_test::noise(40, {1, 3, 12, 12});
  accuracy_control_options o{.max_drop = 0.001, .costs = costs(g)};
  o.quantize.effort.level = effort::balanced;
  const auto found = [&] {
    return quantize_with_accuracy_control(g, table(), ptq_test::noise(32, {1, 3, 12, 12}),
                                          {data, class_labels(own_classes(g, data))}, o);
  };
  const auto wide = [](const graph& q) {
    return std::any_of(q.values.begin(), q.values.end(),
                       [](const value& v) { return v.quant && v.quant->type == dtype::u16; });
  };
  CHECK_FALSE(wide(found().network));
  o.quantize.effort.wide_macs = 0.2;
  const auto r = found();
  CHECK(wide(r.network));
  CHECK(wide(front_network(r, 0)));
}

TEST_CASE("where the start misses the bound, presets and ranges are tried first") {
  const auto g = pairs(true);
  const auto r = controlled(g, {.max_drop = 0.001}, true);
  CHECK(r.recovery.steps.size() >= 3);
  CHECK(r.found.tuned == (r.options.preset != preset::performance ||
                          r.options.activations.estimator != range_estimator::mean_minmax));
  const auto plain = controlled(g, {.max_drop = 0.001});
  CHECK(plain.recovery.steps.empty());
  CHECK_FALSE(plain.found.tuned);
  // Never from a worse model.
  CHECK(r.found.front.front().error <= plain.found.front.front().error);
  // Nor where nothing is missed, nor against what was fixed.
  CHECK(controlled(g, {.max_drop = 1}, true).recovery.steps.empty());
  accuracy_control_options fixed{.max_drop = 0.001};
  fixed.quantize.effort.fixed_preset = fixed.quantize.effort.fixed_estimator = true;
  CHECK_FALSE(controlled(g, fixed, true).found.tuned);
}

TEST_CASE("a search that tuned goes on from its journal to the same bytes") {
  ptq_test::temp_folder dir;
  const auto g = pairs(true);
  const auto file = dir.path() / "journal";
  const auto bytes =
      export_onnx(controlled(g, {.max_drop = 0.001, .journal = file}, true).network);
  std::ifstream in(file, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  CHECK(text.find("tuned:validate:") != std::string::npos);
  dir.write("journal", text.substr(0, text.size() / 2));
  CHECK((export_onnx(controlled(g, {.max_drop = 0.001, .journal = file}, true).network) == bytes));
}

TEST_CASE("all metrics' bounds have to hold, and each is told with its interval") {
  const auto g = pairs(true);
  const double most = bound();
  // Two of four classes are met by nearly any model: top-1 decides.
  const auto both = controlled(g, {.max_drop = most, .more = {{control::top_k(2), 0.5}}});
  REQUIRE(both.found.metrics.size() == 2);
  CHECK(both.found.metrics[1].metric == "top2");
  CHECK(both.found.metrics[1].max_drop == 0.5);
  CHECK(both.found.metrics[1].half_width > 0);
  CHECK(both.found.chosen.restored.size() == 3);
  // A loose first bound does not hide a second one.
  const auto second = controlled(g, {.max_drop = 1, .more = {{control::top_k(1), most}}});
  CHECK(second.found.chosen.restored.size() == 3);
  CHECK(second.found.metrics[1].fine);
  const auto impossible =
      controlled(g, {.max_drop = 1, .more = {{control::top_k(1), 0.0}}, .max_float_macs = 0.01});
  CHECK(impossible.found.status == control::status::not_met);
  CHECK(impossible.found.metrics[0].fine);
  CHECK_FALSE(impossible.found.metrics[1].fine);
}

TEST_CASE("each model of the front can be made again") {
  const auto r = controlled(pairs(true), {.max_drop = bound(), .front_points = 4});
  const auto& front = r.found.front;
  REQUIRE(front.size() >= 3);
  bool chosen = false;
  for (std::size_t k = 0; k < front.size(); ++k) {
    CHECK(front[k].whole);
    if (k > 0) CHECK(front[k].us > front[k - 1].us);
    if (k > 0) CHECK(front[k].agreement > front[k - 1].agreement);
    const auto made = front_network(r, k);
    // What was judged is what is made: its own share of changed answers.
    const auto classes = own_classes(made, images(96, 1000)),
               real = own_classes(pairs(true), images(96, 1000));
    int same = 0;
    for (std::size_t i = 0; i < 96; ++i) same += classes[i] == real[i];
    CHECK(same / 96.0 == doctest::Approx(front[k].agreement));
    if (front[k].restored == r.found.chosen.restored) {
      chosen = true;
      CHECK((export_onnx(made) == export_onnx(r.network)));
    }
  }
  CHECK(chosen);
  CHECK_THROWS_AS(front_network(r, front.size()), data_error);
}

TEST_CASE("restored without their weights, layers compute in float with weights that stay codes") {
  const auto g = pairs(true);
  const auto all = controlled(g, {.max_drop = bound()});
  const auto r = controlled(g, {.max_drop = bound(), .restore = restore::activations});
  REQUIRE_FALSE(r.found.nodes.empty());
  CHECK(r.found.chosen.error < r.found.front.front().error);
  const std::set<std::string> back(r.found.nodes.begin(), r.found.nodes.end());
  for (const auto& n : r.network.nodes) {
    if (!back.contains(n.name)) continue;
    CHECK(n.note.find("given back") != std::string::npos);
    CHECK(r.network[n.inputs[1]].quant.has_value());
    CHECK(r.network[n.inputs[1]].constant->type() == dtype::s8);
    CHECK_FALSE(r.network[n.inputs[0]].quant.has_value());
  }
  // A byte a weight in the file, and the file is the same model.
  const auto text = export_onnx(r.network);
  CHECK(text.size() < export_onnx(all.network).size());
  const auto again = fuse(fold(import_onnx(std::as_bytes(std::span(text)), {}, "")));
  runner a(r.network, table()), b(again, table());
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto s = *images(4, 70).at(i);
    const auto x = a.run(s), y = b.run(s);
    CHECK(std::memcmp(x[0].data(), y[0].data(), x[0].byte_count()) == 0);
  }
}

TEST_CASE("a bound on time is kept by the time of whole runs") {
  const auto g = pairs(true);
  const auto data = images(96, 1000);
  const trial models(g, calibrate(g, table(), images(8, 1), observations(g, {})), table(), data, {});
  const double float_us = models.median_microseconds(models.quantized({}), 20);
  const auto r = controlled(g, {.max_drop = bound(), .max_latency_ms = 20e-3 * float_us});
  CHECK(r.found.measured_us > 0);
  CHECK(r.found.measured_us <= 20 * float_us);
  const auto never = controlled(g, {.max_drop = bound(), .max_latency_ms = 1e-6});
  CHECK(never.found.status == control::status::not_met);
  CHECK(never.found.limited_by.find("time limit") != std::string::npos);
}

TEST_CASE("the model is never slower than float") {
  const auto g = pairs(true);
  auto slow = costs(g);
  slow.real_us = 105;  // what may be given back: 2.9 us of at least 3
  for (auto& [name, c] : slow.layers) c = {3, 0};
  const auto r = controlled(g, {.max_drop = bound(), .costs = slow});
  CHECK(r.found.status == control::status::not_met);
  CHECK(r.found.chosen.us < slow.real_us);
  CHECK(r.found.limited_by.find("time limit") != std::string::npos);
}

TEST_CASE("labels that don't match the samples are refused with both counts") {
  const auto text = ptq_test::text_of<data_error>([] {
    quantize_with_accuracy_control(pairs(false), table(), images(2, 1), {images(3, 1), {}}, {});
  });
  CHECK(ptq_test::contains(text, "expected 3, one per sample, got 0"));
}
