#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of elementwise operators: functions of one value, of two, of any number (brought to chains
// of two), Clip, Where and casts.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <ptq/onnx/importer.hpp>
#include <ptq/onnx/ops/names.hpp>

namespace ptq::onnx {

inline void read_unary(importer& in) {
  for (const auto& row : unary_names)
    if (row.op_type == in.source().op_type) {
      op::unary u{row.kind};
      if (!row.alpha.empty()) u.alpha = in.real(row.alpha, row.alpha_default);
      if (!row.beta.empty()) u.beta = in.real(row.beta, row.beta_default);
      const auto ids = in.inputs(1, 1);
      const bool predicate = row.kind == unary_kind::is_nan;
      in.emit(u, ids, predicate ? dtype::boolean : in.g[ids[0]].type);
      return;
    }
}

inline void read_gelu(importer& in) {
  const auto how = in.text("approximate", "none");
  if (how != "none" && how != "tanh") in.not_supported("approximate '" + how + "'");
  in.emit(op::unary{how == "tanh" ? unary_kind::gelu_tanh : unary_kind::gelu}, in.inputs(1, 1));
}

/// x · sigmoid(alpha · x), opset 24.
inline void read_swish(importer& in) {
  if (in.real("alpha", 1.0f) != 1.0f)
    in.not_supported("alpha " + std::to_string(in.real("alpha", 1.0f)));
  in.emit(op::unary{unary_kind::silu}, in.inputs(1, 1));
}

inline void read_binary(importer& in) {
  for (const auto& row : binary_names)
    if (row.op_type == in.source().op_type) {
      const auto ids = in.inputs(2, 2);
      op::binary b;
      b.kind = row.kind;
      in.emit(b, ids, row.predicate ? dtype::boolean : in.g[ids[0]].type);
      return;
    }
}

inline void read_mod(importer& in) {
  op::binary b;
  b.kind = in.flag("fmod", false) ? binary_kind::fmod : binary_kind::mod;
  in.emit(b, in.inputs(2, 2));
}

/// x0, x1, x2 … → ((x0 ∘ x1) ∘ x2) …, divided by their number for Mean.
inline void read_chain(importer& in, binary_kind kind, bool mean) {
  const auto ids = in.inputs(1, std::numeric_limits<std::size_t>::max());
  for (auto id : ids)
    if (id == none) in.fail("inputs: expected a value at every position");
  if (ids.size() == 1) return in.forward(ids[0]);
  op::binary b;
  b.kind = kind;
  value_id sum = ids[0];
  for (std::size_t i = 1; i + 1 < ids.size(); ++i) sum = in.emit_inner("partial", b, {sum, ids[i]});
  if (!mean) {
    in.emit(b, {sum, ids.back()});
    return;
  }
  sum = in.emit_inner("sum", b, {sum, ids.back()});
  op::binary divide;
  divide.kind = binary_kind::div;
  in.emit(divide, {sum, in.make_constant(in.node_name() + "_count",
                                         tensor::scalar(static_cast<float>(ids.size())))});
}

/// Opset 6: attributes; 11: inputs. Constant bounds of a real tensor become unary clip, others
/// binary max and min.
inline void read_clip(importer& in) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  constexpr float top = std::numeric_limits<float>::max();
  const auto x = in.required(0);
  op::unary clip{unary_kind::clip, -inf, inf};
  if (in.opset() < 11) {
    in.inputs(1, 1);
    clip.alpha = in.real("min", -inf);
    clip.beta = in.real("max", inf);
  } else {
    in.inputs(1, 3);
    const tensor* low = in.constant(1);
    const tensor* high = in.constant(2);
    const auto real = [](const tensor* t) {
      return t && t->type() == dtype::f32 && t->size() == 1;
    };
    if ((in.input(1) != none && !real(low)) || (in.input(2) != none && !real(high))) {
      value_id y = x;
      if (in.input(1) != none) {
        const op::binary max{binary_kind::max, {}};
        if (in.input(2) == none) {
          in.emit(max, {y, in.input(1)});
          return;
        }
        y = in.emit_inner("raised", max, {y, in.input(1)});
      }
      in.emit(op::binary{binary_kind::min, {}}, {y, in.input(2)});
      return;
    }
    if (low) clip.alpha = low->view<float>()[0];
    if (high) clip.beta = high->view<float>()[0];
  }
  if (clip.alpha <= -top) clip.alpha = -inf;  // the old default: the lowest float
  if (clip.beta >= top) clip.beta = inf;
  if (clip.alpha == -inf && clip.beta == inf) return in.forward(x);
  in.emit(clip, {x});
}

inline void read_where(importer& in) {
  const auto ids = in.inputs(3, 3);
  in.emit(op::where{}, ids, in.g[ids[1]].type);
}

inline void read_cast(importer& in) {
  dtype to{};
  const auto onnx = in.integer("to", 0);
  if (onnx < 0 || onnx > 0xffff || !core_type(static_cast<std::int32_t>(onnx), to))
    in.not_supported("element type " + std::to_string(onnx));
  in.emit(op::cast{to}, in.inputs(1, 1), to);
}

inline void read_cast_like(importer& in) {
  const auto ids = in.inputs(2, 2);
  const dtype to = in.g[ids[1]].type;
  in.emit(op::cast{to}, {ids[0]}, to);
}

inline constexpr read_row elementwise_rows[] = {
    {"Gelu", read_gelu},
    {"Swish", read_swish},
    {"Mod", read_mod},
    {"Sum", [](importer& in) { read_chain(in, binary_kind::add, false); }},
    {"Mean", [](importer& in) { read_chain(in, binary_kind::add, true); }},
    {"Max", [](importer& in) { read_chain(in, binary_kind::max, false); }},
    {"Min", [](importer& in) { read_chain(in, binary_kind::min, false); }},
    {"Clip", read_clip},
    {"Where", read_where},
    {"Cast", read_cast},
    {"CastLike", read_cast_like},
};

}  // namespace ptq::onnx
