#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the writing functions of ops/ work with: names of operands and results, attributes, nodes so
// far.
//
// A quantized value v becomes  producer → r12 → QuantizeLinear → q12 → DequantizeLinear → v,  with
// a DQ for each reader of its own: a runtime that fuses DQ → op → Q need not copy one first. What
// lies between has short names (12 is the value's number): they are a third of a small file. A graph input keeps its name before the Q, a graph output after the DQ. A quantized
// constant is an initializer of codes and a DQ per reader, whose axis is always written (the
// default, 1, is wrong for weights of convolutions).

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ptq/core/float8.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/onnx/merge_quantization.hpp>
#include <ptq/onnx/schema.hpp>

namespace ptq::onnx {

class exporter {
 public:
  /// `g` must outlive the exporter and the graph_proto that it builds.
  exporter(const graph& from, int opset)
      : g(from), opset_(opset), is_input_(from.values.size()), is_output_(from.values.size()) {
    for (const auto& v : g.values) names_.insert(v.name);
    for (const auto& n : g.nodes) node_names_.insert(n.name);
    for (auto id : g.inputs) is_input_[at(id)] = true;
    for (auto id : g.outputs) is_output_[at(id)] = true;
  }

  const graph& g;
  graph_proto out;

  int opset() const { return opset_; }

  // --- names ---

  std::string fresh(const std::string& wish) { return unique(names_, wish); }

  /// The name under which one more reader finds a value; "" for an absent one.
  std::string operand(value_id id) {
    if (id == none) return {};
    const value& v = g[id];
    if (v.constant && written_.insert(id).second) write_constant(id);
    const auto c = codes_.find(id);
    if (c == codes_.end()) return v.name;
    const bool own = !c->second.name_taken;
    c->second.name_taken = true;
    const std::string y = own ? v.name : short_name("d", id);
    dequantize(c->second, y);
    return y;
  }
  /// The name under which a node writes a value.
  std::string result(value_id id) {
    if (id == none) return {};
    return g[id].quant ? short_name("r", id) : g[id].name;
  }
  /// To be called once `raw`, the result, is written: adds its Q.
  void finish(value_id id, const std::string& raw, const std::string& node_name = {}) {
    if (id == none || !g[id].quant) return;
    const value& v = g[id];
    auto& c = add_codes(id, short_name("q", id), node_name);
    node_proto q;
    q.op_type = "QuantizeLinear";
    q.inputs = {raw, c.scale, c.zero_point};
    q.outputs = {c.name};
    set(q, "axis", c.axis);
    if (v.quant->axis < 0) q.attributes.clear();
    out.nodes.push_back(std::move(q));
    if (is_output_[at(id)]) close_output(id);
  }
  /// A value whose codes are at hand already: its readers dequantize those.
  void adopt(value_id id, std::string codes, std::string scale, std::string zero_point,
             const std::string& node_name) {
    codes_[id] = {std::move(codes),  std::move(scale),           std::move(zero_point),
                  g[id].quant->axis, g[id].quant->per_channel(), false,
                  node_name};
    if (is_output_[at(id)]) close_output(id);
  }

  /// Names of a graph inside or around this one are taken here too.
  void take_names(const exporter& other) {
    names_.insert(other.names_.begin(), other.names_.end());
    node_names_.insert(other.node_names_.begin(), other.node_names_.end());
  }
  /// What the file points into lives as long as the exporter.
  void keep(std::shared_ptr<const void> what) { alive_.push_back(std::move(what)); }

  // --- nodes ---

  node_proto make(std::string_view op_type, const std::string& name) {
    node_proto p;
    p.op_type = op_type;
    p.name = unique(node_names_, name);
    return p;
  }
  /// The ONNX node for a graph node, which bears its name and reads its inputs.
  node_proto begin(const node& n, std::string_view op_type) {
    node_proto p = bare(n, op_type);
    for (auto id : n.inputs) p.inputs.push_back(operand(id));
    return p;
  }
  node_proto bare(const node& n, std::string_view op_type) {
    node_proto p;
    p.op_type = op_type;
    p.name = n.name;
    return p;
  }
  void end(const node& n, node_proto p) {
    for (auto id : n.outputs) p.outputs.push_back(result(id));
    const auto results = p.outputs;
    while (!p.inputs.empty() && p.inputs.back().empty()) p.inputs.pop_back();
    out.nodes.push_back(std::move(p));
    for (std::size_t i = 0; i < n.outputs.size(); ++i) finish(n.outputs[i], results[i]);
  }
  /// Ends a node with a clamp: Relu or Clip after it, or nothing where the result's codes end at
  /// the bounds anyway.
  void end(const node& n, node_proto p, const clamp& act) {
    const value_id id = n.outputs[0];
    if (!act.active() || covered(g[id], act)) return end(n, std::move(p));
    p.outputs = {fresh(g[id].name + "_linear")};
    const auto linear = p.outputs[0];
    out.nodes.push_back(std::move(p));
    const bool relu = act == clamp{0.0f, std::numeric_limits<float>::infinity()};
    node_proto bound = make(relu ? "Relu" : "Clip", n.name + (relu ? "_Relu" : "_Clip"));
    bound.inputs = {linear};
    if (!relu) put_bounds(bound, act.low, act.high);
    end(n, std::move(bound));
  }
  /// A node between made-up names; returns its result's name.
  std::string inner(const node& n, std::string_view op_type, std::vector<std::string> inputs,
                    std::vector<attribute_proto> attributes = {}) {
    node_proto p = make(op_type, n.name + "_" + std::string(op_type));
    p.inputs = std::move(inputs);
    p.attributes = std::move(attributes);
    p.outputs = {fresh(g[n.outputs[0]].name + "_" + std::string(op_type))};
    out.nodes.push_back(p);
    return p.outputs[0];
  }
  /// Clip's bounds; an infinite one is left out.
  void put_bounds(node_proto& clip, float low, float high) {
    constexpr float inf = std::numeric_limits<float>::infinity();
    clip.inputs.push_back(low == -inf ? "" : constant(clip.name + "_min", tensor::scalar(low)));
    clip.inputs.push_back(high == inf ? "" : constant(clip.name + "_max", tensor::scalar(high)));
  }

  // --- constants and attributes ---

  std::string constant(const std::string& wish, tensor t) {
    const auto name = fresh(wish);
    out.initializers.push_back(proto_of(kept_.emplace_back(std::move(t)), name));
    return name;
  }
  static tensor_proto proto_of(const tensor& t, const std::string& name) {
    tensor_proto p;
    p.name = name;
    p.type = onnx_type(t.type());
    p.dims = t.dims().dims;
    p.raw = {reinterpret_cast<const char*>(t.data()), t.byte_count()};
    p.has_raw = true;
    return p;
  }
  static attribute_proto& put(node_proto& p, std::string_view name, attribute_type type) {
    auto& a = p.attributes.emplace_back();
    a.name = name;
    a.type = type;
    return a;
  }
  static void set(node_proto& p, std::string_view name, std::int64_t v) {
    put(p, name, attribute_int).i = v;
  }
  static void set(node_proto& p, std::string_view name, float v) {
    put(p, name, attribute_float).f = v;
  }
  static void set(node_proto& p, std::string_view name, std::string_view v) {
    put(p, name, attribute_string).s = v;
  }
  static void set(node_proto& p, std::string_view name, const std::vector<std::int64_t>& v) {
    put(p, name, attribute_ints).ints = v;
  }
  static void set(node_proto& p, std::string_view name, const std::vector<float>& v) {
    put(p, name, attribute_floats).floats = v;
  }
  static void set(node_proto& p, std::string_view name, const std::vector<std::string>& v) {
    put(p, name, attribute_strings).strings = v;
  }
  static void flag(node_proto& p, std::string_view name, bool v, bool otherwise) {
    if (v != otherwise) set(p, name, std::int64_t{v});
  }

  [[noreturn]] void not_supported(const node& n, const std::string& what) const {
    throw unsupported("export: node '" + n.name + "': " + what + " can't be written to ONNX");
  }

 private:
  struct codes {
    std::string name, scale, zero_point;
    std::int64_t axis = 0;
    bool has_axis = false;
    bool name_taken = false;  // the value's own name is that of a tensor already
    std::string node_name;    // for the first DQ; "" makes one up
  };

  static std::size_t at(value_id id) { return static_cast<std::size_t>(id); }

  std::string unique(std::unordered_set<std::string>& taken, const std::string& wish) {
    if (taken.insert(wish).second) return wish;
    for (int& n = next_number_[wish];;) {
      std::string s = wish + "_" + std::to_string(++n);
      if (taken.insert(s).second) return s;
    }
  }

  /// Names of what lies between a value's real sides: short, for every Q and DQ repeats them.
  std::string short_name(const char* kind, value_id id) { return fresh(kind + std::to_string(id)); }

  /// A scale or zero point; values on one grid share theirs.
  std::string shared(const char* kind, value_id id, const tensor& t) {
    std::string key = kind + t.dims().text() + name_of(t.type());
    key.append(reinterpret_cast<const char*>(t.data()), t.byte_count());
    auto& name = scalars_[key];
    if (name.empty()) name = constant(short_name(kind, id), t);
    return name;
  }

  codes& add_codes(value_id id, std::string name, const std::string& node_name) {
    const value& v = g[id];
    const qparams& q = *v.quant;
    const shape dims = q.per_channel() ? shape{static_cast<std::int64_t>(q.scale.size())} : shape{};
    codes c{std::move(name),
            shared("s", id, tensor::from<float>(dims, q.scale)),
            {},
            q.axis,
            q.per_channel(),
            is_input_[at(id)],
            node_name};
    // Weights have zero points of their own: ONNX Runtime 1.30 refuses a shared one where it turns s8
    // weights into u8 (session.x64quantprecision on a CPU without VNNI).
    if (q.type != dtype::s32)
      c.zero_point = v.constant ? constant(short_name("z", id), zero_points(q, dims))
                                : shared("z", id, zero_points(q, dims));
    return codes_[id] = std::move(c);
  }

  static tensor zero_points(const qparams& q, const shape& dims) {
    tensor t(q.type, dims);
    if (is_float8(q.type)) {
      std::fill_n(t.mutable_data(), t.byte_count(), std::byte{0});
      return t;
    }
    const auto fill = [&]<class T>(std::span<T> dst) {
      for (std::size_t i = 0; i < dst.size(); ++i) dst[i] = static_cast<T>(q.zero_point[i]);
    };
    switch (q.type) {
      case dtype::s8:
        fill(t.mutable_view<std::int8_t>());
        break;
      case dtype::s16:
        fill(t.mutable_view<std::int16_t>());
        break;
      case dtype::u16:
        fill(t.mutable_view<std::uint16_t>());
        break;
      default:
        fill(t.mutable_view<std::uint8_t>());
    }
    return t;
  }

  void write_constant(value_id id) {
    const value& v = g[id];
    if (!v.quant) {
      out.initializers.push_back(proto_of(*v.constant, v.name));
      return;
    }
    const auto name = short_name("q", id);
    out.initializers.push_back(proto_of(*v.constant, name));
    add_codes(id, name, {});
    if (is_output_[at(id)]) close_output(id);
  }

  void dequantize(codes& c, const std::string& y) {
    node_proto d;
    d.op_type = "DequantizeLinear";
    d.name = std::exchange(c.node_name, {});
    d.inputs = {c.name, c.scale};
    if (!c.zero_point.empty()) d.inputs.push_back(c.zero_point);
    d.outputs = {y};
    if (c.has_axis) set(d, "axis", c.axis);
    out.nodes.push_back(std::move(d));
  }

  void close_output(value_id id) {
    auto& c = codes_.at(id);
    if (c.name_taken) return;
    c.name_taken = true;
    dequantize(c, g[id].name);
  }

  /// Whether clamping changes no code: Q is monotone, so the bounds decide. A Relu is written all
  /// the same where it could be dropped, since runtimes drop it too and readers look for it.
  static bool covered(const value& v, const clamp& act) {
    if (!v.quant || is_float8(v.quant->type) || act == clamp{0.0f, std::numeric_limits<float>::infinity()}) return false;
    const auto lo = lowest_code(v.quant->type), hi = highest_code(v.quant->type);
    for (std::size_t i = 0; i < v.quant->scale.size(); ++i) {
      const float s = v.quant->scale[i];
      const auto z = v.quant->zero_point[i];
      if (quantize_value(act.low, s, z, lo, hi) != lo) return false;
      if (quantize_value(act.high, s, z, lo, hi) != hi) return false;
    }
    return true;
  }

  int opset_;
  std::vector<bool> is_input_, is_output_;
  std::unordered_map<value_id, codes> codes_;
  std::unordered_set<value_id> written_;
  std::unordered_set<std::string> names_, node_names_;
  std::unordered_map<std::string, int> next_number_;
  std::unordered_map<std::string, std::string> scalars_;  // kind and bytes → initializer
  std::deque<tensor> kept_;
  std::vector<std::shared_ptr<const void>> alive_;
};

}  // namespace ptq::onnx
