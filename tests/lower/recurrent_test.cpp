// SPDX-License-Identifier: Apache-2.0
// Recurrent layers against ONNX's formulas, written down again in double and without any sharing: every attribute on its
// own and several at once, all ISAs with one another to the bit.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/export.hpp>
#include <ptq/import.hpp>
#include <ptq/lower.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/dispatch.hpp>
#endif

#include "support/graph_builder.hpp"

using namespace ptq;
using cell = op::recurrent::cell;
using direction = op::recurrent::direction;
using kind = op::cell_function::kind;

namespace {

constexpr int T = 5, N = 3, I = 4, H = 7;

struct made_layer {
  ptq_test::graph_builder net;
  std::vector<tensor> inputs;
  std::vector<std::vector<double>> operands = std::vector<std::vector<double>>(8);  // by port, as numbers
};

tensor random_tensor(const shape& dims, unsigned seed) {
  std::mt19937 bits(seed);
  tensor t(dtype::f32, dims);
  for (auto& e : t.mutable_view<float>()) e = static_cast<float>(bits() >> 8) / 8388608.0f - 1.0f;
  return t;
}

struct extras {
  bool lengths = false, states = true, peepholes = false, bias = true, constant_weights = true;
};

made_layer make(const op::recurrent& o, const extras& with) {
  made_layer m;
  const auto d = o.directions(), g = o.gates();
  const bool lstm = o.what == cell::lstm;
  const shape state = o.batch_first ? shape{N, d, H} : shape{d, N, H};
  const shape dims[] = {o.batch_first ? shape{N, T, I} : shape{T, N, I}, {d, g * H, I}, {d, g * H, H}, {d, 2 * g * H},
                        {N}, state, state, {d, 3 * H}};
  const bool present[] = {true, true, true, with.bias, with.lengths, with.states, with.states && lstm,
                          with.peepholes && lstm};
  static constexpr const char* names[] = {"x", "w", "r", "b", "lengths", "h0", "c0", "p"};
  std::vector<value_id> ids;
  for (std::size_t i = 0; i < (lstm ? 8u : 6u); ++i) {
    if (!present[i]) {
      ids.push_back(none);
      continue;
    }
    if (i == op::recurrent_port::lengths) {
      const std::vector<std::int32_t> v{5, 2, 0};
      ids.push_back(m.net.input(names[i], {N}, dtype::s32));
      m.inputs.push_back(tensor::from<std::int32_t>({N}, std::span<const std::int32_t>(v)));
      m.operands[i] = {5, 2, 0};
      continue;
    }
    const tensor t = random_tensor(dims[i], 100 + static_cast<unsigned>(i));
    m.operands[i].assign(t.view<float>().begin(), t.view<float>().end());
    const bool fixed = with.constant_weights && (i == 1 || i == 2 || i == 3 || i == 7);
    if (fixed) {
      ids.push_back(m.net.g.add_constant(names[i], t));
    } else {
      ids.push_back(m.net.input(names[i], dims[i]));
      m.inputs.push_back(t);
    }
  }
  const auto out = m.net.nodes("layer", o, ids, lstm ? std::vector<std::string>{"y", "y_h", "y_c"}
                                                     : std::vector<std::string>{"y", "y_h"});
  for (auto id : out) m.net.output(id);
  return m;
}

double apply(const op::cell_function& f, double x, double clip) {
  if (clip > 0) x = std::min(std::max(x, -clip), clip);
  const double a = static_cast<double>(f.alpha), b = static_cast<double>(f.beta);
  switch (f.what) {
    case kind::sigmoid: return 1 / (1 + std::exp(-x));
    case kind::tanh: return std::tanh(x);
    case kind::relu: return std::max(x, 0.0);
    case kind::affine: return a * x + b;
    case kind::leaky_relu: return x < 0 ? a * x : x;
    case kind::thresholded_relu: return x > a ? x : 0;
    case kind::scaled_tanh: return a * std::tanh(b * x);
    case kind::hard_sigmoid: return std::min(1.0, std::max(0.0, a * x + b));
    case kind::elu: return x < 0 ? a * (std::exp(x) - 1) : x;
    case kind::softsign: return x / (1 + std::abs(x));
    default: return std::log1p(std::exp(x));
  }
}

/// y, y_h, y_c one after the other.
std::vector<double> expected(const op::recurrent& o, const made_layer& m) {
  const auto d_count = o.directions(), g = o.gates();
  const auto& v = m.operands;
  std::vector<double> y(static_cast<std::size_t>(T * d_count * N * H)), yh(static_cast<std::size_t>(d_count * N * H)), yc = yh;
  const auto at = [](const std::vector<double>& a, std::int64_t i) { return a.empty() ? 0.0 : a[static_cast<std::size_t>(i)]; };
  for (std::int64_t d = 0; d < d_count; ++d)
    for (std::int64_t n = 0; n < N; ++n) {
      const auto state = (o.batch_first ? n * d_count + d : d * N + n) * H;
      std::vector<double> h(H), c(H);
      for (int k = 0; k < H; ++k) h[static_cast<std::size_t>(k)] = at(v[5], state + k), c[static_cast<std::size_t>(k)] = at(v[6], state + k);
      const auto length = v[4].empty() ? T : static_cast<std::int64_t>(v[4][static_cast<std::size_t>(n)]);
      const auto f = [&](std::size_t which, double x) {
        return apply(o.functions[static_cast<std::size_t>(d) * o.functions_per_direction() + which], x, static_cast<double>(o.clip));
      };
      const auto wx = [&](std::int64_t t, std::int64_t row) {
        double s = at(v[3], d * 2 * g * H + row);
        for (int i = 0; i < I; ++i)
          s += at(v[0], (o.batch_first ? n * T + t : t * N + n) * I + i) * at(v[1], (d * g * H + row) * I + i);
        return s;
      };
      const auto rh = [&](std::int64_t row, const std::vector<double>& with) {
        double s = at(v[3], d * 2 * g * H + g * H + row);
        for (int k = 0; k < H; ++k) s += with[static_cast<std::size_t>(k)] * at(v[2], (d * g * H + row) * H + k);
        return s;
      };
      for (std::int64_t step = 0; step < length; ++step) {
        const auto t = o.way == direction::reverse || d == 1 ? length - 1 - step : step;
        std::vector<double> next(H), gate(H), reset(H);
        for (int k = 0; k < H; ++k) {
          const auto u = static_cast<std::size_t>(k);
          if (o.what == cell::rnn) next[u] = f(0, wx(t, k) + rh(k, h));
          if (o.what == cell::gru) gate[u] = f(0, wx(t, H + k) + rh(H + k, h)), reset[u] = gate[u] * h[u];
          if (o.what != cell::lstm) continue;
          const auto look = [&](int which) { return at(v[7], d * 3 * H + which * H + k); };
          const double i = f(0, wx(t, k) + rh(k, h) + look(0) * c[u]);
          const double forget = o.input_forget ? 1 - i : f(0, wx(t, 2 * H + k) + rh(2 * H + k, h) + look(2) * c[u]);
          c[u] = forget * c[u] + i * f(1, wx(t, 3 * H + k) + rh(3 * H + k, h));
          next[u] = f(0, wx(t, H + k) + rh(H + k, h) + look(1) * c[u]) * f(2, c[u]);
        }
        for (int k = 0; o.what == cell::gru && k < H; ++k) {
          const auto u = static_cast<std::size_t>(k);
          const double late = o.linear_before_reset ? gate[u] * rh(2 * H + k, h) : rh(2 * H + k, reset);
          const double z = f(0, wx(t, k) + rh(k, h));
          next[u] = (1 - z) * f(1, wx(t, 2 * H + k) + late) + z * h[u];
        }
        h = next;
        const auto row = (o.batch_first ? (n * T + t) * d_count + d : (t * d_count + d) * N + n) * H;
        for (int k = 0; k < H; ++k) y[static_cast<std::size_t>(row + k)] = h[static_cast<std::size_t>(k)];
      }
      for (int k = 0; k < H; ++k)
        yh[static_cast<std::size_t>(state + k)] = h[static_cast<std::size_t>(k)], yc[static_cast<std::size_t>(state + k)] = c[static_cast<std::size_t>(k)];
    }
  y.insert(y.end(), yh.begin(), yh.end());
  if (o.what == cell::lstm) y.insert(y.end(), yc.begin(), yc.end());
  return y;
}

std::vector<float> computed(const graph& g, const std::vector<tensor>& inputs, const kernels::kernel_table& table, int threads) {
  const auto p = lower(g, table, {.input_shapes = {}, .keep_values = false, .fast_float = false, .threads = threads});
  std::vector<float> all;
  for (const auto& t : execute(p, inputs, {.threads = threads, .tap = {}})) all.insert(all.end(), t.view<float>().begin(), t.view<float>().end());
  return all;
}

/// Sums of at most 11 products of numbers below 1, through functions of slope at most 1 and T steps: some hundred
/// roundings of 2^-24 of numbers below 16 stay well below this.
constexpr double tolerance = 2e-4;

void check_layer(const op::recurrent& o, const extras& with = {}) {
  const auto m = make(o, with);
  CAPTURE(print(m.net.g));
  const auto want = expected(o, m);
  const auto got = computed(m.net.g, m.inputs, kernels::reference_kernels(), 1);
  REQUIRE(got.size() == want.size());
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
  CHECK(worst < tolerance);
#ifdef PTQ_TEST_DISPATCH
  for (const auto* table : available_kernels()) {
    const auto same = computed(m.net.g, m.inputs, *table, 2);
    CHECK_MESSAGE(std::memcmp(same.data(), got.data(), got.size() * sizeof(float)) == 0, table->isa);
  }
#endif
  const auto bytes = export_onnx(infer(m.net.g));
  const auto again = import_onnx(std::as_bytes(std::span<const char>(bytes)));
  const auto same = computed(again, m.inputs, kernels::reference_kernels(), 1);
  CHECK(std::memcmp(same.data(), got.data(), got.size() * sizeof(float)) == 0);
}

op::recurrent layer(cell what, direction way = direction::forward) {
  op::recurrent o;
  o.what = what;
  o.way = way;
  const op::cell_function usual[] = {{kind::sigmoid, 0, 0}, {kind::tanh, 0, 0}, {kind::tanh, 0, 0}};
  for (std::size_t i = 0; i < o.functions_per_direction() * static_cast<std::size_t>(o.directions()); ++i)
    o.functions.push_back(what == cell::rnn ? usual[1] : usual[i % o.functions_per_direction()]);
  return o;
}

}  // namespace

TEST_CASE("every cell and direction computes ONNX's formulas, with and without what is optional") {
  for (auto what : {cell::rnn, cell::gru, cell::lstm})
    for (auto way : {direction::forward, direction::reverse, direction::both}) {
      check_layer(layer(what, way));
      check_layer(layer(what, way), {.lengths = true});
      check_layer(layer(what, way), {.lengths = true, .states = false, .bias = false, .constant_weights = false});
    }
}

TEST_CASE("attributes of one cell: linear_before_reset, peepholes, input_forget, clip, layout") {
  auto gru = layer(cell::gru, direction::both);
  gru.linear_before_reset = true;
  check_layer(gru);
  gru.batch_first = true;
  check_layer(gru, {.lengths = true});
  auto lstm = layer(cell::lstm, direction::both);
  check_layer(lstm, {.peepholes = true});
  check_layer(lstm, {.peepholes = true, .constant_weights = false});
  lstm.input_forget = true;
  lstm.batch_first = true;
  check_layer(lstm, {.lengths = true});
  lstm.clip = 0.3f;
  check_layer(lstm, {.peepholes = true});
}

TEST_CASE("every function of a cell is that of its operator") {
  for (auto f : {kind::sigmoid, kind::tanh, kind::relu, kind::affine, kind::leaky_relu, kind::thresholded_relu,
                 kind::scaled_tanh, kind::hard_sigmoid, kind::elu, kind::softsign, kind::softplus}) {
    auto rnn = layer(cell::rnn);
    rnn.functions = {{f, 0.25f, 0.125f}};
    check_layer(rnn);
  }
}

TEST_CASE("operands that contradict each other are told apart") {
  auto o = layer(cell::lstm);
  o.hidden = 8;
  const auto m = make(o, {});
  CHECK_THROWS_WITH_AS(infer(m.net.g), "infer: node 'layer' (LSTM): hidden_size: expected 8, got 7", shape_error);
  auto few = layer(cell::gru);
  few.functions.pop_back();
  CHECK_THROWS_WITH_AS(infer(make(few, {}).net.g), "infer: node 'layer' (GRU): activations: expected 2, got 1", shape_error);
}
