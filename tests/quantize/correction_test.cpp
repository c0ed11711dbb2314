// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize/weights.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "network.hpp"

namespace {

using namespace ptq;
using namespace ptq::quantization;
using ptq_test::network;

/// Mean of every output channel [1, c, …] or [m, c].
std::vector<double> output_means(const graph& g, const tensor& x, bool last) {
  const auto y = execute(lower(g, kernels::reference_kernels()), std::vector<tensor>{x})[0];
  const auto c = static_cast<std::size_t>(y.dims()[last ? y.dims().rank() - 1 : 1]);
  const auto v = y.view<float>();
  const auto each = v.size() / c;
  std::vector<double> m(c);
  for (std::size_t i = 0; i < v.size(); ++i)
    m[last ? i % c : i / each] += static_cast<double>(v[i]) / static_cast<double>(each);
  return m;
}

/// The layer with its weights and bias as the real numbers that their codes stand for.
graph dequantized(graph g) {
  const uses edges(g);
  for (auto id : {g.nodes[0].inputs[1], g.nodes[0].inputs[2]}) {
    auto& v = g[id];
    const auto q = *v.quant;
    tensor t(dtype::f32, v.dims);
    auto to = t.mutable_view<float>();
    const auto strides = strides_of(v.dims);
    for (std::size_t i = 0; i < to.size(); ++i) {
      const auto c = i / static_cast<std::size_t>(strides[static_cast<std::size_t>(q.axis)]) %
                     static_cast<std::size_t>(v.dims[q.axis]);
      const auto code = v.constant->type() == dtype::s8
                            ? static_cast<double>(v.constant->view<std::int8_t>()[i])
                            : static_cast<double>(v.constant->view<std::int32_t>()[i]);
      to[i] = static_cast<float>(static_cast<double>(q.scale[c]) * code);
    }
    v.constant = t;
    v.quant.reset();
  }
  g[g.nodes[0].inputs[0]].quant.reset();
  return pruned(std::move(g));
}

/// After correction, an input that is constant per channel gives the same mean per output channel
/// as in float.
void check_means(const graph& g, const shape& dims, const std::vector<double>& mean, bool last) {
  tensor x(dtype::f32, dims);
  auto v = x.mutable_view<float>();
  const auto each = last ? 1 : v.size() / mean.size();
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(mean[i / each % mean.size()]);
  const auto expected = output_means(g, x, last);
  for (bool correct : {false, true}) {
    graph q = g;
    q[q.inputs[0]].quant = qparams{.type = dtype::u8, .scale = {1e-3f}, .zero_point = {0}};
    REQUIRE(!layer_quantizer(q).quantize(0, correct ? input_means{mean, dims} : input_means{}));
    double worst = 0;
    if (q.nodes[0].inputs.size() < 3) continue;  // no bias, nothing corrected
    const auto got = output_means(dequantized(q), x, last);
    for (std::size_t c = 0; c < got.size(); ++c)
      worst = std::max(worst, std::fabs(got[c] - expected[c]));
    if (correct)
      CHECK(worst < 3e-5);
    else
      CHECK(worst > 1e-3);
  }
}

}  // namespace

TEST_CASE("the correction restores the mean of a padded, strided, dilated convolution exactly") {
  struct window {
    op::ints strides, dilations, pads;
  };
  for (const window& w :
       {window{{1, 1}, {1, 1}, {0, 0, 0, 0}}, window{{1, 1}, {1, 1}, {1, 1, 1, 1}},
        window{{2, 2}, {1, 1}, {0, 0, 1, 1}}, window{{2, 1}, {2, 3}, {3, 2, 1, 4}}}) {
    network n;
    op::conv c;
    c.win.strides = w.strides;
    c.win.dilations = w.dilations;
    c.win.pads = w.pads;
    auto x = n.input("x", {1, 3, 9, 8});
    n.output(n.add("y", c, {x, n.random("w", {5, 3, 3, 2}), n.random("b", {5})}));
    check_means(n.done(), {1, 3, 9, 8}, {2.5, -1.25, 4}, false);
  }
}

TEST_CASE("the correction follows groups, depthwise and automatic padding") {
  network n;
  op::conv c;
  c.groups = 2;
  auto x = n.input("x", {1, 4, 6, 6});
  n.output(n.add("y", c, {x, n.random("w", {6, 2, 3, 3}), n.random("b", {6})}));
  check_means(n.done(), {1, 4, 6, 6}, {1, 2, -3, 4}, false);

  network d;
  op::conv depthwise;
  depthwise.groups = 4;
  depthwise.win.same = op::window::auto_pad::same_upper;
  depthwise.win.strides = {2, 2};
  auto z = d.input("x", {1, 4, 7, 6});
  d.output(d.add("y", depthwise, {z, d.random("w", {4, 1, 3, 3}), d.random("b", {4})}));
  check_means(d.done(), {1, 4, 7, 6}, {1, 2, -3, 4}, false);
}

TEST_CASE("the correction works on matrices, and gives a layer without a bias one") {
  for (bool bias : {true, false}) {
    network n;
    auto x = n.input("x", {3, 4});
    std::vector<value_id> inputs{x, n.random("w", {4, 6})};
    if (bias) inputs.push_back(n.random("b", {6}));
    n.output(n.add("y", op::matmul{}, inputs));
    check_means(n.done(), {3, 4}, {2, -3, 1, 5}, true);
  }
}

TEST_CASE("a bias of zero is corrected like any other") {
  network n;
  auto x = n.input("x", {3, 4});
  auto zero = n.raw().add_constant("b", tensor(dtype::f32, {6}));
  n.output(n.add("y", op::matmul{}, {x, n.random("w", {4, 6}), zero}));
  check_means(n.done(), {3, 4}, {2, -3, 1, 5}, true);
}

TEST_CASE("means of the wrong number of channels are an error") {
  network n;
  n.output(n.conv("y", n.input("x", {1, 3, 5, 5}), 3, 4));
  auto g = n.done();
  g[g.find("x")].quant = qparams{.type = dtype::u8, .scale = {1e-3f}, .zero_point = {0}};
  CHECK_THROWS_AS(layer_quantizer(g).quantize(0, {{1, 2}, {1, 3, 5, 5}}), shape_error);
}
