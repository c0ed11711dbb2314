#pragma once
// SPDX-License-Identifier: Apache-2.0
// Import of operators on shapes and constants, and of those that do nothing at inference.

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <ptq/onnx/importer.hpp>

namespace ptq::onnx {

inline void read_constant(importer& in) {
  const auto put = [&](tensor t) {
    if (in.source().outputs.empty() || in.source().outputs[0].empty())
      in.fail("outputs: expected 1, got none");
    value v;
    v.type = t.type();
    v.dims = t.dims();
    v.shaped = true;
    v.constant = std::move(t);
    in.define(in.source().outputs[0], std::move(v));
  };
  const auto count = [](const auto& v) { return shape{static_cast<std::int64_t>(v.size())}; };
  if (const auto* a = in.attribute("value"); a && !a->t.empty()) return put(in.read(a->t[0]));
  if (const auto* a = in.attribute("value_float")) return put(tensor::scalar(a->f));
  if (const auto* a = in.attribute("value_int")) return put(tensor::scalar(a->i));
  if (const auto* a = in.attribute("value_floats"))
    return put(tensor::from<float>(count(a->floats), std::span<const float>(a->floats)));
  if (const auto* a = in.attribute("value_ints"))
    return put(tensor::from<std::int64_t>(count(a->ints), std::span<const std::int64_t>(a->ints)));
  in.not_supported("a constant of " + (in.source().attributes.empty()
                                           ? std::string("no attribute")
                                           : "'" + in.source().attributes[0].name + "'"));
}

inline void read_identity(importer& in) { in.forward(in.required(0)); }

inline void read_dropout(importer& in) {
  if (in.input(2) != none) {
    const tensor* t = in.constant(2);
    if (!t || t->type() != dtype::boolean || t->size() != 1 || t->data()[0] != std::byte{0})
      in.not_supported("a training_mode that is not constant and false");
  }
  in.forward(in.required(0));
}

inline op::shape_of read_bounds(importer& in) {
  return {in.integer("start", 0), in.integer("end", std::numeric_limits<std::int64_t>::max())};
}

inline void read_shape(importer& in) { in.emit(read_bounds(in), in.inputs(1, 1), dtype::s64); }

/// Number of elements: the product of the extents.
inline void read_size(importer& in) {
  const auto extents = in.emit_inner("extents", op::shape_of{}, in.inputs(1, 1));
  in.g[extents].type = dtype::s64;
  op::reduce product;
  product.kind = reduce_kind::prod;
  product.keepdims = false;
  in.emit(product, {extents}, dtype::s64);
}

inline void read_constant_of_shape(importer& in) {
  op::constant_of_shape c;
  const auto* a = in.attribute("value");
  c.value = a && !a->t.empty() ? in.read(a->t[0]) : tensor::from<float>({1}, {0.0f});
  if (c.value.size() != 1) in.fail("value: expected 1 element, got " + c.value.dims().text());
  const dtype type = c.value.type();
  in.emit(std::move(c), in.inputs(1, 1), type);
}

inline void read_range(importer& in) { in.emit(op::range{}, in.inputs(3, 3)); }

inline constexpr read_row shape_rows[] = {
    {"Constant", read_constant}, {"Identity", read_identity},
    {"Dropout", read_dropout},   {"Shape", read_shape},
    {"Size", read_size},         {"ConstantOfShape", read_constant_of_shape},
    {"Range", read_range},
};

}  // namespace ptq::onnx
