#pragma once
// SPDX-License-Identifier: Apache-2.0
// QuantizeLinear and DequantizeLinear nodes → qparams on values, as graph.hpp defines them. Last
// step of import.
//
//   float constant → Q                      codes, computed here (weights of quantization-aware
//   training) integer constant → DQ                   a constant with qparams x → Q → DQ…, same
//   parameters            x carries them if Q is its only reader; else an identity's result does Q
//   read by others too, or an output      stays as a node beside that DQ of other codes (an input
//   of u8 …)    stays; its result carries the same qparams, being on that grid already

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/float8.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq::onnx {

/// The name that export gives the tensor before a Q: "r" and a number.
inline bool is_raw_name(const std::string& name) {
  return name.size() > 1 && name[0] == 'r' &&
         name.find_first_not_of("0123456789_", 1) == std::string::npos;
}

class quantization_merger {
 public:
  quantization_merger(graph g, std::string file)
      : g_(std::move(g)),
        file_(std::move(file)),
        uses_(g_),
        is_input_(g_.values.size()),
        replaced_(g_.values.size(), none),
        folded_(g_.values.size()),
        dead_(g_.nodes.size()),
        before_(g_.nodes.size()) {
    for (auto id : g_.inputs) is_input_[at(id)] = true;
  }

  /// Element i of a tensor of codes.
  static std::int32_t code(const tensor& t, std::size_t i) {
    switch (t.type()) {
      case dtype::s8:
        return t.view<std::int8_t>()[i];
      case dtype::u8:
        return t.view<std::uint8_t>()[i];
      case dtype::s16:
        return t.view<std::int16_t>()[i];
      case dtype::u16:
        return t.view<std::uint16_t>()[i];
      case dtype::s32:
        return t.view<std::int32_t>()[i];
      default:
        return 0;
    }
  }
  graph run() && {
    for (std::size_t n = 0; n < g_.nodes.size(); ++n) {
      if (dead_[n]) continue;
      for (auto& id : g_.nodes[n].inputs) id = current(id);
      if (std::holds_alternative<op::quantize_linear>(g_.nodes[n].what))
        visit_quantize(n);
      else if (std::holds_alternative<op::dequantize_linear>(g_.nodes[n].what))
        visit_dequantize(n);
    }
    for (auto& id : g_.outputs) id = current(id);
    std::vector<node> kept;
    for (std::size_t n = 0; n < g_.nodes.size(); ++n) {
      if (before_[n]) kept.push_back(std::move(*before_[n]));
      if (!dead_[n]) kept.push_back(std::move(g_.nodes[n]));
    }
    g_.nodes = std::move(kept);
    return std::move(g_);
  }

 private:
  static std::size_t at(value_id id) { return static_cast<std::size_t>(id); }
  value_id current(value_id id) const {
    return id != none && replaced_[at(id)] != none ? replaced_[at(id)] : id;
  }
  [[noreturn]] void fail(const node& n, const std::string& what) const {
    throw import_error("import: " + file_ + ": node '" + n.name + "' (" +
                       (std::holds_alternative<op::quantize_linear>(n.what) ? "QuantizeLinear"
                                                                            : "DequantizeLinear") +
                       "): " + what);
  }

  /// Scale and zero point of a Q or DQ node on codes of `type`, if they are constants.
  std::optional<qparams> params(const node& n, dtype type, std::int64_t axis) const {
    const tensor* s = g_.constant_of(n.inputs[1]);
    if (!s || s->type() != dtype::f32) return std::nullopt;
    qparams q;
    q.type = type;
    const auto scale = s->view<float>();
    q.scale.assign(scale.begin(), scale.end());
    q.zero_point.assign(scale.size(), 0);
    for (float v : scale)
      if (!(v > 0.0f) || !std::isfinite(v))
        fail(n, "scale: expected a positive number, got " + std::to_string(v));
    if (scale.empty()) fail(n, "scale: expected at least 1 element, got none");
    if (n.inputs.size() > 2 && n.inputs[2] != none) {
      const tensor* z = g_.constant_of(n.inputs[2]);
      if (!z) return std::nullopt;
      if (z->type() != type)
        fail(n,
             std::string("zero point: expected ") + name_of(type) + ", got " + name_of(z->type()));
      if (z->size() != s->size())
        fail(n,
             "zero point: expected " + s->dims().text() + " as the scale, got " + z->dims().text());
      for (std::size_t i = 0; i < scale.size(); ++i) q.zero_point[i] = code(*z, i);
      if (is_float8(type))
        for (std::size_t i = 0; i < scale.size(); ++i)
          if ((z->data()[i] & std::byte{127}) != std::byte{0})
            fail(n, "zero point: expected 0 for FP8, got byte " +
                        std::to_string(std::to_integer<int>(z->data()[i])));
    }
    const value& x = g_[n.inputs[0]];
    if (scale.size() == 1) {
      q.axis = -1;
    } else if (s->dims().rank() != 1) {
      fail(n, "scale: expected rank 0 or 1, got " + s->dims().text());
    } else if (axis < 0 && !x.shaped) {
      return std::nullopt;
    } else {
      if (axis < 0) axis += x.dims.rank();
      // Without known extents only the sign can be checked.
      if (axis < 0 || axis > 31 || (x.shaped && axis >= x.dims.rank()))
        fail(n, "axis: expected one of " + (x.shaped ? x.dims.text() : std::string("rank 32")) +
                    ", got " + std::to_string(axis));
      q.axis = static_cast<int>(axis);
      const auto extent = x.shaped ? x.dims[q.axis] : unknown;
      if (extent >= 0 && extent != s->size())
        fail(n, "scale: expected " + std::to_string(extent) + " elements for axis " +
                    std::to_string(axis) + " of " + x.dims.text() + ", got " +
                    std::to_string(s->size()));
    }
    return q;
  }

  static bool is_code(dtype t) {
    return t == dtype::s8 || t == dtype::u8 || t == dtype::s16 || t == dtype::u16 ||
           t == dtype::s32 || is_float8(t);
  }

  static tensor quantized(const tensor& x, const qparams& q) {
    tensor out(q.type, x.dims());
    const auto src = x.view<float>();
    std::size_t inner = 1;
    if (q.axis >= 0)
      for (int a = q.axis + 1; a < x.dims().rank(); ++a)
        inner *= static_cast<std::size_t>(x.dims()[a]);
    if (is_float8(q.type)) {
      for (std::size_t i = 0; i < src.size(); ++i)
        out.mutable_data()[i] = std::byte{float8_code(
            src[i] / q.scale[q.axis < 0 ? 0 : i / inner % q.scale.size()], q.type)};
      return out;
    }
    const auto lo = lowest_code(q.type), hi = highest_code(q.type);
    const auto fill = [&]<class T>(std::span<T> dst) {
      for (std::size_t i = 0; i < dst.size(); ++i) {
        const std::size_t c = q.axis < 0 ? 0 : i / inner % q.scale.size();
        dst[i] = static_cast<T>(quantize_value(src[i], q.scale[c], q.zero_point[c], lo, hi));
      }
    };
    switch (q.type) {
      case dtype::s8:
        fill(out.mutable_view<std::int8_t>());
        break;
      case dtype::s16:
        fill(out.mutable_view<std::int16_t>());
        break;
      case dtype::u16:
        fill(out.mutable_view<std::uint16_t>());
        break;
      default:
        fill(out.mutable_view<std::uint8_t>());
    }
    return out;
  }

  void visit_quantize(std::size_t index) {
    const node& n = g_.nodes[index];
    const auto x = n.inputs[0], codes = n.outputs[0];
    const dtype type = g_[codes].type;
    if (!is_code(type) || type == dtype::s32 || g_[x].type != dtype::f32) return;
    const auto q = params(n, type, std::get<op::quantize_linear>(n.what).axis);
    if (!q) return;
    if (g_[x].quant || !g_[x].constant) return merge_pair(index, *q);
    value& v = g_[codes];
    v.constant = quantized(*g_[x].constant, *q);
    v.dims = v.constant->dims();
    v.shaped = true;
    dead_[index] = true;
  }

  /// The readers of a Q's codes that turn them back with the same parameters see one real value
  /// instead.
  void merge_pair(std::size_t index, const qparams& q) {
    const auto x = g_.nodes[index].inputs[0], codes = g_.nodes[index].outputs[0];
    std::vector<std::size_t> back;
    bool others = uses_.is_output[at(codes)];
    for (const auto& use : uses_.consumers[at(codes)]) {
      const auto reader = static_cast<std::size_t>(use.node);
      const auto* what = std::get_if<op::dequantize_linear>(&g_.nodes[reader].what);
      const auto same =
          what && use.port == 0 ? params(g_.nodes[reader], q.type, what->axis) : std::nullopt;
      if (same && *same == q)
        back.push_back(reader);
      else
        others = true;
    }
    if (back.empty()) return;
    // A value that has qparams already, or took the place of others, has been seen by this pass: it
    // is not `single`.
    const bool on_x = !g_[x].quant && !g_[x].constant && uses_.single_consumer(x);
    const value_id real = on_x ? x : g_.nodes[back[0]].outputs[0];
    g_[real].quant = q;
    g_[real].type = dtype::f32;
    if (on_x && !is_input_[at(x)]) restore_name(x, back);
    if (!on_x) before_[index] = node{g_.nodes[back[0]].name, op::identity{}, {x}, {real}, {}};
    for (auto d : back) take_over(d, real);
    if (others)
      g_.nodes[index].inputs[0] = real;
    else
      dead_[index] = true;
  }

  /// Export gives the tensor before Q a number; the value gets its own name back.
  void restore_name(value_id x, const std::vector<std::size_t>& back) {
    for (auto d : back) {
      const auto y = g_.nodes[d].outputs[0];
      if (uses_.is_output[at(y)] || !is_raw_name(g_[x].name)) continue;
      std::swap(g_[x].name, g_[y].name);
      return;
    }
  }

  /// `real` stands for the result of DQ node `d` from now on.
  void take_over(std::size_t d, value_id real) {
    const auto y = g_.nodes[d].outputs[0];
    dead_[d] = true;
    if (y == real) return;
    if (uses_.is_output[at(y)]) {
      if (is_input_[at(real)] || uses_.is_output[at(real)]) {  // both names must stay
        dead_[d] = false;
        node& n = g_.nodes[d];
        n.what = op::identity{};
        n.inputs = {real};
        return;
      }
      std::swap(g_[real].name, g_[y].name);
      uses_.is_output[at(real)] = true;
    }
    replaced_[at(y)] = real;
  }

  void visit_dequantize(std::size_t index) {
    node& n = g_.nodes[index];
    const auto x = n.inputs[0], y = n.outputs[0];
    const dtype type = g_[x].type;
    if (!is_code(type) || g_[x].quant) return;
    const auto q = params(n, type, std::get<op::dequantize_linear>(n.what).axis);
    if (!q) return;
    // Writers give every reader a DQ of its own: those are one value again.
    if (!uses_.is_output[at(y)]) {
      constexpr std::size_t most =
          16;  // more different readings of the same codes are not searched
      for (std::size_t i = 0; i < std::min(most, folded_[at(x)].size()); ++i)
        if (const auto same = folded_[at(x)][i]; *g_[same].quant == *q) {
          replaced_[at(y)] = same;
          dead_[index] = true;
          return;
        }
    }
    if (!g_[x].constant && type == dtype::s32) return;  // an accumulator is on no grid of 8 bits
    g_[y].quant = *q;
    g_[y].type = dtype::f32;
    folded_[at(x)].push_back(y);
    if (!g_[x].constant) return;
    g_[y].constant = g_[x].constant;
    g_[y].dims = g_[x].dims;
    g_[y].shaped = true;
    dead_[index] = true;
  }

  graph g_;
  std::string file_;
  uses uses_;
  std::vector<bool> is_input_;
  std::vector<value_id> replaced_;
  std::vector<std::vector<value_id>> folded_;  // of codes: their real values so far
  std::vector<bool> dead_;
  std::vector<std::optional<node>> before_;
};

/// g, `file` as named in errors; throws import_error on parameters that contradict their tensor.
inline graph merge_quantization(graph g, std::string file) {
  return quantization_merger(std::move(g), std::move(file)).run();
}

}  // namespace ptq::onnx
