#pragma once
// SPDX-License-Identifier: Apache-2.0
// Recurrent layers in integers: the input and the hidden state become u8, W and R s8 with a scale per gate row, and both
// products run on codes; the cell stays float. Beside placement, which sees a recurrent layer as a float operator: only
// its operands are rounded, each as a copy of its own unless the value carries 8-bit codes already.
//
// The hidden state's grid is that of initial_h (op/recurrent.hpp), so one range covers the initial state and every state
// that calibration saw; a layer without initial_h gets one of zeros, to carry the grid.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/value_range.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/quantize/devices.hpp>
#include <ptq/quantize/ignored.hpp>
#include <ptq/quantize/params.hpp>
#include <ptq/quantize/scheme.hpp>

namespace ptq::quantization {

/// A recurrent layer whose products will run on codes.
struct recurrent_layer {
  std::string node, input;
  std::vector<std::string> hidden;  // values to observe: the initial state if it is computed, and the states
};

namespace detail_recurrent {

inline value_id operand(const node& n, std::size_t port) { return port < n.inputs.size() ? n.inputs[port] : none; }

/// |h| <= 1 after every step that starts with |h| <= 1.
inline bool stays_within_one(const op::recurrent& o) {
  using kind = op::cell_function::kind;
  const auto bounded = [](const op::cell_function& f) {
    return f.what == kind::sigmoid || f.what == kind::tanh || f.what == kind::hard_sigmoid || f.what == kind::softsign;
  };
  return std::all_of(o.functions.begin(), o.functions.end(), bounded);
}

/// Why no recurrent layer runs on the codes that the options ask for; empty if they do.
inline std::string refusal(const quantize_options& options) {
  const auto weights = weight_grid_of(options);
  const auto activations = activation_grid_of(options);
  const bool fits = weights.bits <= 8 && activations.bits == 8 && !weights.type && !activations.type;
  return fits ? "" : "recurrent layers have kernels of 8-bit integers alone";
}

/// Why the layer stays in float; empty if it need not.
inline std::string refusal(const graph& g, const node& n) {
  namespace port = op::recurrent_port;
  const auto x = operand(n, port::x);
  for (auto p : {port::w, port::r}) {
    const auto id = operand(n, p);
    const auto* t = g.constant_of(id);
    if (!t || t->type() != dtype::f32 || g[id].quant) return p == port::w ? "its W is computed" : "its R is computed";
    if (t->size() == 0) return "it has no weights";
  }
  if (g[x].constant || g[x].type != dtype::f32) return "its input is constant";
  const bool shown = (!n.outputs.empty() && n.outputs[0] != none) || (n.outputs.size() > 1 && n.outputs[1] != none);
  return shown ? "" : "its hidden state is no output that calibration could see";
}

}  // namespace detail_recurrent

/// The layers of a float graph that become integer.
///
/// reasons  filled for those that stay float
inline std::vector<recurrent_layer> recurrent_layers(const graph& g, const quantize_options& options,
                                                     std::map<std::string, std::string>* reasons = nullptr) {
  using namespace detail_recurrent;
  std::vector<recurrent_layer> layers;
  const auto ignored = ignored_nodes(g, options.ignored);
  const auto codes = refusal(options);
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    const auto& n = g.nodes[i];
    if (!std::holds_alternative<op::recurrent>(n.what)) continue;
    const auto why = !ignored[i].empty() ? ignored[i] : !codes.empty() ? codes : refusal(g, n);
    if (!why.empty()) {
      if (reasons) (*reasons)[n.name] = why;
      continue;
    }
    recurrent_layer layer{n.name, g[n.inputs[0]].name, {}};
    const auto h = operand(n, op::recurrent_port::initial_h);
    if (h != none && !g[h].constant) layer.hidden.push_back(g[h].name);
    // y shows every state; y_h the last one only.
    layer.hidden.push_back(g[n.outputs[0] != none ? n.outputs[0] : n.outputs[1]].name);
    layers.push_back(std::move(layer));
  }
  return layers;
}

/// Rewrites the operands of recurrent layers in a graph whose other values have their qparams.
class recurrent_quantizer {
 public:
  recurrent_quantizer(graph& g, const quantize_options& options, bool symmetric)
      : g_(g), grid_(weight_grid_of(options)), symmetric_(symmetric) {
    // The kernels of recurrent layers know codes without a zero point only.
    grid_.symmetric = true;
  }

  /// x, hidden: ranges of what the layer reads and carries.
  void quantize(const std::string& name, const value_range& x, value_range hidden) {
    namespace port = op::recurrent_port;
    const auto at = std::find_if(g_.nodes.begin(), g_.nodes.end(), [&](const node& n) { return n.name == name; });
    if (at == g_.nodes.end()) return;
    node n = *at;
    const auto o = std::get<op::recurrent>(n.what);
    before_.clear();
    n.note.clear();
    n.inputs.resize(std::max<std::size_t>(n.inputs.size(), port::initial_h + 1), none);
    n.inputs[port::x] = rounded(n.inputs[port::x], activation_params(x, symmetric_, {}, g_[n.inputs[port::x]].name));
    const clamp one = detail_recurrent::stays_within_one(o) ? clamp{-1.0f, 1.0f} : clamp{};
    auto& h = n.inputs[port::initial_h];
    if (const auto* t = g_.constant_of(h); t && !g_[h].quant)
      for (float v : t->view<float>()) hidden = joined(hidden, {v, v});
    const auto q = activation_params(hidden, symmetric_, one, n.name + " hidden state");
    if (h == none) h = zeros(n, o);
    h = rounded(h, q);
    n.inputs[port::w] = codes(n, n.inputs[port::w]);
    n.inputs[port::r] = codes(n, n.inputs[port::r]);
    *at = std::move(n);
    g_.nodes.insert(at, before_.begin(), before_.end());
  }

 private:
  value_id add(const std::string& name, const shape& dims, bool shaped, std::optional<qparams> q,
               std::optional<tensor> constant) {
    value v;
    v.name = name;
    v.type = dtype::f32;
    v.dims = dims;
    v.shaped = shaped;
    v.constant = std::move(constant);
    v.quant = std::move(q);
    return g_.add(std::move(v));
  }

  /// The value itself where it has 8-bit codes, else a copy with the given ones.
  value_id rounded(value_id id, const qparams& q) {
    const auto& v = g_[id];
    if (v.quant && !v.quant->per_channel() && (v.quant->type == dtype::u8 || v.quant->type == dtype::s8)) return id;
    if (v.constant && !v.quant) {
      tensor t(dtype::u8, v.constant->dims());
      const auto from = v.constant->view<float>();
      auto to = t.mutable_view<std::uint8_t>();
      for (std::size_t i = 0; i < to.size(); ++i)
        to[i] = static_cast<std::uint8_t>(quantize_value(from[i], q.scale[0], q.zero_point[0], 0, 255));
      return add(v.name + "_quantized", t.dims(), true, q, t);
    }
    const auto to = add(v.name + "_rounded", v.dims, v.shaped, q, std::nullopt);
    before_.push_back({g_[to].name, op::identity{}, {id}, {to}, {}});
    return to;
  }

  /// An initial state of zeros: a constant where the batch is known.
  value_id zeros(const node& n, const op::recurrent& o) {
    const auto& x = g_[n.inputs[0]];
    const int axis = o.batch_first ? 0 : 1;
    const auto h = g_[n.inputs[op::recurrent_port::r]].constant->dims()[2], d = o.directions();
    const auto batch = x.shaped ? x.dims[axis] : unknown;
    const auto state = [&](std::int64_t b) { return o.batch_first ? shape{b, d, h} : shape{d, b, h}; };
    if (batch >= 0) return add(n.name + "_initial_h", state(batch), true, std::nullopt, tensor(dtype::f32, state(batch)));
    const auto integers = [&](const std::string& name, std::int64_t v) {
      return g_.add_constant(n.name + name, tensor::from<std::int64_t>({1}, std::span<const std::int64_t>(&v, 1)));
    };
    const auto whole = [&](const std::string& name, std::int64_t extent) {
      const auto id = add(n.name + name, {extent}, true, std::nullopt, std::nullopt);
      g_[id].type = dtype::s64;
      return id;
    };
    const auto b = whole("_batch", 1), extents = whole("_state_extents", 3);
    const auto directions = integers("_directions", d), hidden = integers("_hidden", h);
    before_.push_back({g_[b].name, op::shape_of{axis, axis + 1}, {n.inputs[0]}, {b}, {}});
    before_.push_back({g_[extents].name, op::concat{0},
                       o.batch_first ? std::vector<value_id>{b, directions, hidden}
                                     : std::vector<value_id>{directions, b, hidden},
                       {extents}, {}});
    const auto to = add(n.name + "_initial_h", state(unknown), true, std::nullopt, std::nullopt);
    before_.push_back({g_[to].name, op::constant_of_shape{tensor::scalar(0.0f)}, {extents}, {to}, {}});
    return to;
  }

  /// s8 codes of [d, rows, columns], one scale per row: directions share theirs, as a file's scales lie along one axis.
  value_id codes(const node& n, value_id id) {
    const tensor w = *g_[id].constant;
    const auto d = w.dims()[0], rows = w.dims()[1], columns = w.dims()[2];
    const auto x = w.view<float>();
    std::vector<value_range> ranges(static_cast<std::size_t>(rows));
    const auto each = [&](auto&& f) {
      for (std::int64_t i = 0; i < d * rows * columns; ++i)
        f(static_cast<std::size_t>(i / columns % rows), static_cast<std::size_t>(i));
    };
    each([&](std::size_t row, std::size_t i) {
      if (!std::isfinite(x[i]))
        throw calibration_error("quantize: node '" + n.name + "' (" + op_name(n.what) + "): '" + g_[id].name +
                                "': expected finite numbers, got " + std::to_string(x[i]));
      ranges[row] = joined(ranges[row], {x[i], x[i]});
    });
    auto q = weight_params(ranges, {}, 1.0f, grid_);
    if (grid_.per_channel) q.axis = 1;
    tensor t(dtype::s8, w.dims());
    auto to = t.mutable_view<std::int8_t>();
    each([&](std::size_t row, std::size_t i) {
      const float s = q.scale[q.per_channel() ? row : 0];
      to[i] = static_cast<std::int8_t>(quantize_value(x[i], s, 0, grid_.lowest(), grid_.highest()));
    });
    return add(g_[id].name + "_quantized", w.dims(), true, q, t);
  }

  graph& g_;
  weight_grid grid_;
  bool symmetric_;
  std::vector<node> before_;
};

}  // namespace ptq::quantization
