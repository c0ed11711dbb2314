// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/export.hpp>
#include <ptq/fold.hpp>
#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "quantize/network.hpp"
#include "support/samples.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace ptq;
using ptq_test::images;
using ptq_test::network;
using ptq_test::normal;
using ptq_test::positive;

/// Residual, depthwise, concat of two grids, sigmoid gate, pools, mover chain, linear head.
graph various() {
  network n;
  const auto x = n.input("x", {-1, 3, 12, 12});
  const auto a = n.conv("a", x, 3, 16, positive, 3);
  const auto b = n.conv("b", a, 16, 16, {}, 3);
  const auto sum = n.binary("sum", b, a, binary_kind::add, positive);
  const auto gate = n.unary("gate", n.conv("g", sum, 16, 16), unary_kind::sigmoid);
  const auto gated = n.binary("gated", sum, gate, binary_kind::mul);
  const auto pooled = n.max_pool("pooled", gated);
  const auto left = n.conv("left", pooled, 16, 8, positive);
  const auto right = n.conv("right", pooled, 16, 24, {0.0f, 6.0f}, 3);
  const auto both = n.add("both", op::concat{.axis = 1}, {left, right});
  const auto last = n.conv("last", both, 32, 32, positive);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", last)), 32, 7));
  return n.done();
}

graph quantized() {
  return quantize(various(), kernels::reference_kernels(), images(8, {1, 3, 12, 12})).network;
}

bool same_bytes(const tensor& a, const tensor& b) {
  return a.dims() == b.dims() && a.type() == b.type() &&
         std::memcmp(a.data(), b.data(), a.byte_count()) == 0;
}

std::vector<std::string> kinds(const program& p) {
  std::vector<std::string> out;
  for (const auto& s : p.steps) out.push_back(s.what);
  return out;
}

}  // namespace

TEST_CASE("free extents are bound, and inputs that don't fit are refused by name") {
  const auto g = various();
  CHECK(lower(g, kernels::reference_kernels()).input(0).dims == shape{1, 3, 12, 12});
  const auto p = lower(g, kernels::reference_kernels(), {.input_shapes = {{"x", {5, 3, 12, 12}}}});
  CHECK(p.output(0).dims == shape{5, 7});
  const auto text = ptq_test::text_of<shape_error>(
      [&] { lower(g, kernels::reference_kernels(), {.input_shapes = {{"x", {1, 4, 12, 12}}}}); });
  CHECK(ptq_test::contains(text, "'x'"));
  CHECK(ptq_test::contains(text, "[?,3,12,12]"));
  CHECK(ptq_test::contains(text, "[1,4,12,12]"));
}

TEST_CASE("a batch gives each of its samples' own results") {
  const auto g = quantized();
  const auto one = lower(g, kernels::reference_kernels());
  const auto three = lower(g, kernels::reference_kernels(), {.input_shapes = {{"x", {3, 3, 12, 12}}}});
  tensor batch(dtype::f32, {3, 3, 12, 12});
  std::vector<float> expected;
  for (unsigned i = 0; i < 3; ++i) {
    const tensor x = normal({1, 3, 12, 12}, 50 + i);
    std::memcpy(batch.mutable_data() + i * x.byte_count(), x.data(), x.byte_count());
    const auto y = execute(one, std::vector{x});
    for (float v : y[0].view<float>()) expected.push_back(v);
  }
  const auto y = execute(three, std::vector{batch});
  CHECK(std::vector<float>(y[0].view<float>().begin(), y[0].view<float>().end()) == expected);
}

TEST_CASE("storages that hold data at the same step do not overlap, and the arena is reused") {
  const auto p = lower(quantized(), kernels::reference_kernels());
  std::size_t total = 0;
  for (std::size_t i = 0; i < p.storages.size(); ++i) {
    const auto& a = p.storages[i];
    if (a.where != storage::place::arena || a.last < 0) continue;
    total += a.bytes;
    CHECK(a.offset + a.bytes <= p.arena_bytes);
    for (std::size_t j = 0; j < i; ++j) {
      const auto& b = p.storages[j];
      if (b.where != storage::place::arena || b.last < 0) continue;
      const bool together = a.first <= b.last && b.first <= a.last;
      const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      // One may follow the other in the same place: the step between them writes over what it reads.
      const bool follows = a.offset == b.offset && (a.last == b.first || b.last == a.first);
      CHECK((!together || apart || follows));
    }
  }
  CHECK(p.arena_bytes < total);
}

TEST_CASE("a result takes the place of an operand that nothing reads later") {
  network n;
  const auto x = n.input("x", {1, 64, 64});
  const auto a = n.unary("a", x, unary_kind::exp), b = n.unary("b", a, unary_kind::tanh);
  const auto c = n.binary("c", b, a, binary_kind::add);  // a is read until here, b too
  const auto d = n.add("d", op::softmax{}, {c});
  const auto e = n.binary("e", d, d, binary_kind::mul);  // both operands are the same
  n.output(n.unary("f", e, unary_kind::neg));
  const auto g = n.done();
  const auto p = lower(g, kernels::reference_kernels());
  CHECK(p.arena_bytes == 2 * 64 * 64 * 4);  // b beside a, all others over them
  const std::vector<tensor> in{normal({1, 64, 64}, 9)};
  // Every value in a place of its own.
  auto apart = p;
  apart.arena_bytes = 0;
  for (auto& s : apart.storages) {
    s.offset = apart.arena_bytes;
    apart.arena_bytes += (s.bytes + 63) / 64 * 64;
  }
  CHECK(same_bytes(execute(p, in)[0], execute(apart, in)[0]));
  // A value that a tap sees later keeps its place.
  const auto visible = lower(g, kernels::reference_kernels(), {.input_shapes = {}, .keep_values = true});
  std::map<std::string, float> first;
  execute(visible, in, {.threads = 1, .workers = run_workers, .tap = [&](const tapped& t) {
            first[std::string(t.value)] = t.real().view<float>()[5];
          }});
  const float v = in[0].view<float>()[5];
  CHECK(first["a"] == unary_value(unary_kind::exp, 0, 0, v));
  CHECK(first["b"] == unary_value(unary_kind::tanh, 0, 0, first["a"]));
  CHECK(first["c"] == first["a"] + first["b"]);
}

TEST_CASE("the arena is as large as what the busiest step holds, on the default models") {
  for (const char* name : {"fashion_resnet", "fashion_mobilenet", "fashion_vit"}) {
    INFO(name);
    const auto p = lower(fuse(fold(import_model(std::filesystem::path(PTQ_TEST_MODELS) / (std::string(name) + ".onnx")))),
                         kernels::reference_kernels());
    std::vector<std::size_t> live(p.steps.size(), 0);
    for (const auto& r : lowering::regions_of(p))
      for (int i = r.first; i <= r.last; ++i) live[static_cast<std::size_t>(i)] += (r.bytes + 63) / 64 * 64;
    CHECK(p.arena_bytes <= *std::max_element(live.begin(), live.end()));
    CHECK(p.arena_bytes > 0);
  }
}

TEST_CASE("a quantized network runs its layers in integers; a residual add joins its convolution") {
  const auto p = lower(quantized(), kernels::reference_kernels());
  std::int64_t integer = 0, all = 0;
  for (const auto& s : p.steps) {
    all += s.macs;
    if (s.integer) integer += s.macs;
  }
  CHECK(all > 0);
  CHECK(integer == all);
  const auto k = kinds(p);
  CHECK(std::count(k.begin(), k.end(), "Conv+Add") == 1);
  CHECK(std::count(k.begin(), k.end(), "Add") == 0);
}

TEST_CASE("fusing the add changes no bit") {
  const auto g = quantized();
  const auto fused = lower(g, kernels::reference_kernels());
  const auto apart = lower(g, kernels::reference_kernels(), {.input_shapes = {}, .keep_values = true});
  CHECK(apart.steps.size() == fused.steps.size() + 1);
  for (unsigned i = 0; i < 4; ++i) {
    const std::vector<tensor> x{normal({1, 3, 12, 12}, 90 + i)};
    CHECK(same_bytes(execute(fused, x)[0], execute(apart, x)[0]));
  }
}

TEST_CASE("a weighted layer that can't run in integers says why in its step") {
  auto g = quantized();
  for (auto& n : g.nodes)
    if (n.name == "b") g[n.inputs[2]].quant->scale.assign(16, 1.0f);
  const auto p = lower(g, kernels::reference_kernels());
  std::string note;
  for (const auto& s : p.steps)
    if (s.node == "b" && s.macs > 0) {
      CHECK(!s.integer);
      note = s.note;
    }
  CHECK(ptq_test::contains(note, "its bias has scale"));
}

TEST_CASE("an accumulator that could pass 32 bits is refused") {
  // 255 · 127 · k ≥ 2^31 from k = 66,313 on.
  const tensor small(dtype::s8, {1, 100});
  CHECK(lowering::accumulator_fits(small, nullptr, 1, 0));
  tensor large(dtype::s8, {1, 66400});
  for (auto& w : large.mutable_view<std::int8_t>()) w = -127;
  CHECK(!lowering::accumulator_fits(large, nullptr, 1, 0));
  CHECK(lowering::accumulator_fits(large, nullptr, 1, 128));
  tensor one = small;
  one.mutable_view<std::int8_t>()[7] = 1;
  const auto edge = tensor::from<std::int32_t>({1}, {std::int32_t{2147483647}});
  CHECK(lowering::accumulator_fits(small, &edge, 1, 0));
  CHECK(!lowering::accumulator_fits(one, &edge, 1, 0));
}

TEST_CASE("transposes and reshapes of dense values cost no step") {
  network n;
  const auto x = n.input("x", {1, 4, 3, 5});
  const auto t = n.add("t", op::transpose{.perm = {0, 2, 3, 1}}, {x});
  n.output(n.add("r", op::transpose{.perm = {0, 3, 1, 2}}, {t}));
  const auto p = lower(n.done(), kernels::reference_kernels());
  CHECK(kinds(p) == std::vector<std::string>{"Identity"});  // input to output, one copy
  const std::vector<tensor> in{normal({1, 4, 3, 5}, 3)};
  CHECK(same_bytes(execute(p, in)[0], in[0]));
}

TEST_CASE("import of an export gives the same program and the same bits") {
  const auto g = quantized();
  const auto text = export_onnx(g);
  const auto back =
      fuse(fold(import_onnx({reinterpret_cast<const std::byte*>(text.data()), text.size()})));
  const auto a = lower(g, kernels::reference_kernels());
  const auto b = lower(back, kernels::reference_kernels());
  CHECK(kinds(a) == kinds(b));
  CHECK(a.arena_bytes == b.arena_bytes);
  for (unsigned i = 0; i < 4; ++i) {
    const std::vector<tensor> x{normal({1, 3, 12, 12}, 70 + i)};
    CHECK(same_bytes(execute(a, x)[0], execute(b, x)[0]));
  }
}

#ifdef PTQ_TEST_DISPATCH
TEST_CASE("whole programs give the same bits for every table and any number of threads") {
  const auto g = quantized();
  const auto reference = lower(g, kernels::reference_kernels());
  for (unsigned i = 0; i < 3; ++i) {
    const std::vector<tensor> x{normal({1, 3, 12, 12}, 30 + i)};
    const auto want = execute(reference, x)[0];
    for (const auto* table : available_kernels()) {
      const auto p = lower(g, *table);
      for (int threads : {1, 2, 3}) {
        INFO(table->isa << ", " << threads << " threads");
        CHECK(same_bytes(execute(p, x, {.threads = threads, .workers = run_workers, .tap = {}})[0], want));
      }
    }
  }
}
#endif
