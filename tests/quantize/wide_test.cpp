// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <span>

#include <ptq/export.hpp>
#include <ptq/import.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "residual.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using ptq_test::positive;

samples images() { return ptq_test::residual_images(); }
graph residual() { return ptq_test::pooled_residual(); }
double sqnr(const graph& real, const graph& quantized) {
  return ptq_test::sqnr(real, quantized, images());
}

quantize_options with(int activations, int weights) {
  return {.activations = {.estimator = range_estimator::minmax, .bits = activations},
          .weights = {.bits = weights},
          .correction = bias_correction::none};
}

}  // namespace

TEST_CASE("16-bit codes: more exact by far, all convolutions and products in integers") {
  const auto g = residual();
  const auto& table = kernels::reference_kernels();
  const auto narrow = quantize(g, table, images(), with(8, 8)).network;
  const auto mixed = quantize(g, table, images(), with(16, 8)).network;
  const auto wide = quantize(g, table, images(), with(16, 16)).network;
  CHECK(sqnr(g, narrow) > 20);
  CHECK(sqnr(g, mixed) > sqnr(g, narrow));
  // 16 bits of a Gaussian leave about 80 dB; the sums of three layers a little less.
  CHECK(sqnr(g, wide) > 65);
  for (const auto& net : {mixed, wide}) {
    const auto p = lower(net, table);
    for (const auto& s : p.steps) {
      if (s.macs) CHECK(s.integer);
      if (s.what == "Add") CHECK(s.note == "no integer kernel for codes of 16 bits");
    }
  }
}

TEST_CASE("a 16-bit export needs opset 21 and comes back as the same program") {
  for (auto options : {with(16, 8), with(16, 16)}) {
    const auto made = quantize(residual(), kernels::reference_kernels(), images(), options).network;
    const auto bytes = export_onnx(made);
    const auto back = import_onnx(std::as_bytes(std::span(bytes)));
    for (const auto& v : made.values)
      if (v.quant && !v.constant) CHECK(v.quant->type == dtype::u16);
    runner a(made, kernels::reference_kernels()), b(back, kernels::reference_kernels());
    auto data = images();
    for (auto s = data.next(); s; s = data.next()) {
      const auto x = a.run(*s)[0], y = b.run(*s)[0];
      CHECK(std::memcmp(x.data(), y.data(), x.byte_count()) == 0);
    }
    const auto p = lower(back, kernels::reference_kernels());
    for (const auto& s : p.steps)
      if (s.macs) CHECK(s.integer);
  }
}

TEST_CASE("asymmetric 8-bit weights run in integers through the wide kernel") {
  auto options = with(8, 8);
  options.weights.mode = code_mode::asymmetric;
  const auto g = residual();
  const auto made = quantize(g, kernels::reference_kernels(), images(), options).network;
  CHECK(sqnr(g, made) > 20);
  const auto p = lower(made, kernels::reference_kernels());
  for (const auto& s : p.steps)
    if (s.macs) CHECK(s.integer);
}

TEST_CASE("movers carry 16-bit codes as they are") {
  network n;
  const auto x = n.input("x", {1, 3, 8, 8});
  const auto a = n.conv("a", x, 3, 8, positive), b = n.conv("b", x, 3, 8, positive);
  const auto both = n.add("both", op::concat{.axis = 1}, {a, b});
  const auto padded = n.add("padded", op::pad{}, {both, n.ints("pads", {0, 0, 1, 1, 0, 0, 1, 1})});
  const auto part = n.add("part", op::slice{},
                          {padded, n.ints("from", {4}), n.ints("to", {12}), n.ints("axis", {1})});
  const auto turned = n.add("turned", op::transpose{.perm = {0, 1, 3, 2}}, {part});
  n.output(n.conv("y", turned, 8, 5));
  const auto g = n.done();
  const auto q = quantize(g, kernels::reference_kernels(), images(), with(16, 8)).network;
  const auto p = lower(q, kernels::reference_kernels());
  for (const auto& s : p.steps)
    {
      CAPTURE(s.node);
      CAPTURE(s.what);
      // The input is real, and the output, which is laid out anew.
      if (s.node != "x" && s.node != "y") CHECK(s.integer);
    }
  CHECK(sqnr(g, q) > 35);  // the weights' 8 bits; a code of padding that is no zero would show
#ifdef PTQ_TEST_DISPATCH
  runner a_run(q, kernels::reference_kernels()), b_run(q, dispatched_kernels());
  auto data = images();
  for (auto s = data.next(); s; s = data.next()) {
    const auto want = a_run.run(*s)[0], have = b_run.run(*s)[0];
    CHECK(std::memcmp(want.data(), have.data(), want.byte_count()) == 0);
  }
#endif
}
