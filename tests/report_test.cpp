// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include <ptq/kernels/reference.hpp>
#include <ptq/report.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "quantize/network.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

/// A program of three steps that is only looked at: conv → its copy → softmax.
program described() {
  program p;
  p.isa = "portable";
  p.notes = {"built for portable"};
  const auto slot_of = [&](const char* value) {
    p.slots.push_back({.value = value, .type = dtype::f32, .dims = {1}, .memory = {}, .codes = {}});
    return static_cast<int>(p.slots.size()) - 1;
  };
  step conv{.node = "first", .what = "Conv+Add", .kernel = {}, .src = {}, .note = {}, .recipe = {}};
  conv.kernel.name = "direct";
  conv.dst = slot_of("a");
  conv.integer = true;
  conv.macs = 3000000;
  step copy{
      .node = "first", .what = "Transpose", .kernel = {}, .src = {}, .note = {}, .recipe = {}};
  copy.kernel.name = "copy";
  copy.dst = slot_of("a");
  step soft{.node = "last", .what = "Softmax", .kernel = {}, .src = {}, .note = {}, .recipe = {}};
  soft.kernel.name = "rows";
  soft.dst = slot_of("y");
  soft.macs = 1000000;
  p.steps = {conv, copy, soft};
  return p;
}

distortion error_of(double y, double q) {
  distortion d;
  d.add(y, q);
  return d;
}

comparison compared() {
  comparison c;
  c.n = 8;
  c.agreement = 87.5;
  c.outputs.push_back({.name = "y", .what = "Softmax", .error = error_of(2, 2)});
  c.layers.push_back({.name = "a", .what = "Conv", .error = error_of(10, 9)});
  return c;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Counts runs; its kernel does nothing.
program counting(int& runs) {
  program p;
  step s{.node = "count", .what = "Count", .kernel = {}, .src = {}, .note = {}, .recipe = {}};
  s.kernel.object = std::shared_ptr<const void>(&runs, [](const void*) {});
  s.kernel.run = [](const void* object, const kernels::operands&, std::byte*, work_range) {
    ++*static_cast<int*>(const_cast<void*>(object));
  };
  p.slots.push_back({.value = "none", .type = dtype::f32, .dims = {0}, .memory = {}, .codes = {}});
  p.storages.push_back({});
  p.steps = {s};
  return p;
}

}  // namespace

TEST_CASE("a report lists a program's steps with operator, precision and kernel") {
  const auto r = make_report("net.onnx", described());
  CHECK(r.model == "net.onnx");
  CHECK(r.library == std::string(version));
  CHECK(r.isa == "portable");
  REQUIRE(r.layers.size() == 3);
  CHECK(r.layers[0].name == "first");
  CHECK(r.layers[0].what == "Conv+Add");
  CHECK(r.layers[0].kernel == "direct");
  CHECK(r.layers[0].value == "a");
  CHECK(r.layers[0].integer);
  CHECK_FALSE(r.layers[2].integer);
  CHECK(r.notes == std::vector<std::string>{"built for portable"});
}

TEST_CASE("the integer share is that of multiply-accumulates, not of layers") {
  const auto r = make_report("net", described());
  CHECK(r.macs() == 4000000);
  CHECK(r.integer_macs() == 3000000);
  CHECK(r.integer_share() == 75.0);
  CHECK(report{}.integer_share() == 0.0);
}

TEST_CASE("a layer's error is that of the value it makes, given to the first step that makes it") {
  auto r = make_report("net", described());
  add(r, compared());
  REQUIRE(r.layers[0].error);
  // 10·log10(100 / 1)
  CHECK(r.layers[0].error->sqnr_db == doctest::Approx(20.0));
  CHECK(r.layers[0].error->cosine == doctest::Approx(1.0));
  CHECK_FALSE(r.layers[1].error);
  CHECK_FALSE(r.layers[2].error);
  CHECK(r.compared == 8);
  CHECK(r.agreement == 87.5);
  REQUIRE(r.outputs.size() == 1);
  CHECK(std::isinf(r.outputs[0].error.sqnr_db));
}

TEST_CASE("reasons of the quantized graph reach the float layers that have none") {
  graph g;
  g.nodes.push_back({"first", op::softmax{}, {}, {}, "not for an integer layer"});
  g.nodes.push_back({"last", op::softmax{}, {}, {}, "in the ignored scope"});
  auto r = make_report("net", described());
  r.layers[1].note = "its own";
  add(r, g);
  CHECK(r.layers[0].note.empty());
  CHECK(r.layers[1].note == "its own");
  CHECK(r.layers[2].note == "in the ignored scope");
  CHECK(has(text(r), "last (Softmax): in the ignored scope"));
}

TEST_CASE("settings are told by the names that the command line takes") {
  report r;
  quantize_options o{.preset = preset::mixed, .subset_size = 50};
  o.activations.estimator = range_estimator::entropy;
  o.correction = bias_correction::none;
  o.ignored.types = {"Softmax", "Gemm"};
  add(r, o, 42);
  const auto j = json(r);
  CHECK(j["samples"] == 42);
  CHECK(j["settings"]["preset"] == "mixed");
  CHECK(j["settings"]["range_estimator"] == "entropy");
  CHECK(j["settings"]["bias_correction"] == "none");
  CHECK(j["settings"]["subset_size"] == "50");
  CHECK(j["settings"]["ignored_types"] == "Softmax Gemm");
  CHECK_FALSE(j["settings"].contains("ignored_names"));
}

TEST_CASE("text shows figures before and after, and only what was measured") {
  report r = make_report("net.onnx", described());
  CHECK_FALSE(has(text(r), "top-1"));
  CHECK_FALSE(has(text(r), "same top class"));
  CHECK(has(text(r), "75.00 % of 4,000,000"));
  r.bytes = {4000000, 1000000};
  add(r, accuracy{2000, 93.0, 99.5}, accuracy{2000, 92.75, 99.5});
  r.latency = {{2.0, 2.5, 20, 1, "portable"}, {0.5, 1.0, 20, 1, "portable"}};
  add(r, compared());
  const auto t = text(r);
  for (const char* part :
       {"4,000,000", "1,000,000", "0.250", "93.00", "92.75", "-0.25", "+0.00", "2.50x", "4.00x",
        "2000 labelled samples", "87.50 % of 8 samples", "'y': SQNR equal dB", "Conv+Add",
        "note: built for portable", "20 repeats, 1 thread\n"})
    CHECK_MESSAGE(has(t, part), part, " in\n", t);
  CHECK(t.back() == '\n');
}

TEST_CASE(
    "JSON holds numbers, null where there is no finite one, and no key that was not measured") {
  report r = make_report("net", described());
  auto j = json(r);
  for (const char* key : {"bytes", "accuracy", "latency", "agreement", "outputs"})
    CHECK_FALSE(j.contains(key));
  r.bytes = {400, 100};
  add(r, accuracy{4, 75, 100}, accuracy{4, 50, 100});
  r.latency = {{2.0, 2.5, 20, 1, "portable"}, {0.5, 1.0, 20, 1, "portable"}};
  add(r, compared());
  j = nlohmann::json::parse(json(r).dump());
  CHECK(j["bytes"]["float"] == 400);
  CHECK(j["accuracy"]["int8"]["top1"] == 50.0);
  CHECK(j["latency"]["float"]["median_ms"] == 2.5);
  CHECK(j["integer_macs_percent"] == 75.0);
  CHECK(j["outputs"][0]["sqnr_db"].is_null());
  CHECK(j["layers"][0]["sqnr_db"] == doctest::Approx(20.0));
  CHECK(j["layers"][0]["precision"] == "int8");
  CHECK_FALSE(j["layers"][2].contains("sqnr_db"));
}

TEST_CASE("latency is of as many runs as were asked for, fewer where the budget ends") {
  int runs = 0;
  const auto p = counting(runs);
  session s(p);
  auto l = measure_latency(s, {}, {.warm_up = 2, .repeats = 5, .warm_up_ms = 0});
  CHECK(runs == 7);
  CHECK(l.repeats == 5);
  CHECK(l.min_ms >= 0);
  CHECK(l.median_ms >= l.min_ms);
  l = measure_latency(s, {}, {.warm_up = 0, .repeats = 5, .warm_up_ms = 0, .budget_ms = 0});
  CHECK(l.repeats == 1);
}

TEST_CASE(
    "a quantized network's report counts its multiply-accumulates and has each layer's error") {
  network n;
  auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 8, positive, 3);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", a)), 8, 5));
  const graph g = n.done();
  const samples data = [](std::int64_t i) -> std::optional<sample> {
    if (i >= 4) return std::nullopt;
    tensor t(dtype::f32, {1, 3, 8, 8});
    std::mt19937 random(static_cast<unsigned>(i) + 1);
    for (auto& v : t.mutable_view<float>()) v = static_cast<float>(random() % 512) / 256.0f - 1.0f;
    return sample(t);
  };
  const auto& table = kernels::reference_kernels();
  const auto made = quantize(g, table, data);
  runner first(g, table, {.keep_values = true}), second(made.network, table);
  const auto c = compare(first, second, data);
  auto r = make_report("small", second.current_program());
  add(r, c);
  // conv: 8 channels · 3·3·3 taps · 8·8 pixels; linear: 8·5
  CHECK(r.macs() == 8 * 27 * 64 + 40);
  CHECK(r.integer_share() == 100.0);
  bool seen = false;
  for (const auto& l : r.layers)
    if (l.name == "a" && l.error) {
      seen = true;
      // 8-bit codes: well above 20 dB, and never exact
      CHECK(l.error->sqnr_db > 20);
      CHECK(std::isfinite(l.error->sqnr_db));
    }
  CHECK(seen);
}
