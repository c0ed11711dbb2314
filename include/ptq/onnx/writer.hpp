#pragma once
// SPDX-License-Identifier: Apache-2.0
// The structs of schema.hpp → bytes of a .onnx file. Last step of export.

#include <cstdint>
#include <string>
#include <string_view>

#include <protozero/pbf_writer.hpp>

#include <ptq/onnx/schema.hpp>

namespace ptq::onnx {

namespace detail_writer {

using pbf = protozero::pbf_writer;

inline void put(pbf& w, std::uint32_t tag, std::string_view text) {
  w.add_bytes(tag, text.data(), text.size());
}
inline void put_unless_empty(pbf& w, std::uint32_t tag, std::string_view text) {
  if (!text.empty()) put(w, tag, text);
}

inline void write_tensor(pbf& parent, std::uint32_t tag, const tensor_proto& t) {
  namespace f = field::tensor;
  pbf w(parent, tag);
  w.add_packed_int64(f::dims, t.dims.begin(), t.dims.end());
  w.add_int32(f::data_type, t.type);
  put_unless_empty(w, f::name, t.name);
  put(w, f::raw_data, t.raw);
}

inline void write_graph(pbf& parent, std::uint32_t tag, const graph_proto& g);

inline void write_attribute(pbf& parent, const attribute_proto& a) {
  namespace f = field::attribute;
  pbf w(parent, field::node::attribute);
  put(w, f::name, a.name);
  switch (a.type) {
    case attribute_float:
      w.add_float(f::f, a.f);
      break;
    case attribute_int:
      w.add_int64(f::i, a.i);
      break;
    case attribute_string:
      put(w, f::s, a.s);
      break;
    case attribute_tensor:
      write_tensor(w, f::t, a.t.front());
      break;
    case attribute_floats:
      w.add_packed_float(f::floats, a.floats.begin(), a.floats.end());
      break;
    case attribute_graph:
      write_graph(w, f::g, a.graphs.front());
      break;
    case attribute_strings:
      for (const auto& s : a.strings) put(w, f::strings, s);
      break;
    default:
      w.add_packed_int64(f::ints, a.ints.begin(), a.ints.end());
  }
  w.add_int32(f::type, a.type);
}

inline void write_node(pbf& parent, const node_proto& n) {
  namespace f = field::node;
  pbf w(parent, field::graph::node);
  for (const auto& i : n.inputs) put(w, f::input, i);
  for (const auto& o : n.outputs) put(w, f::output, o);
  put_unless_empty(w, f::name, n.name);
  put(w, f::op_type, n.op_type);
  put_unless_empty(w, f::domain, n.domain);
  for (const auto& a : n.attributes) write_attribute(w, a);
}

/// protozero drops a nested message without fields; here an empty one means something: an unknown
/// extent, a scalar.
inline void put_empty(pbf& w, std::uint32_t tag) { w.add_message(tag, std::string()); }

inline void write_value(pbf& parent, std::uint32_t tag, const value_info_proto& v) {
  pbf w(parent, tag);
  put(w, field::value_info::name, v.name);
  pbf type(w, field::value_info::type);
  pbf t(type, field::type::tensor_type);
  t.add_int32(field::tensor_type::elem_type, v.type);
  if (!v.shaped) return;
  if (v.dims.empty()) return put_empty(t, field::tensor_type::shape);
  pbf s(t, field::tensor_type::shape);
  for (const auto& d : v.dims) {
    if (d.extent < 0 && d.param.empty()) {
      put_empty(s, field::tensor_shape::dim);
      continue;
    }
    pbf dim(s, field::tensor_shape::dim);
    if (d.extent >= 0)
      dim.add_int64(field::dimension::value, d.extent);
    else
      put(dim, field::dimension::param, d.param);
  }
}

inline void write_entry(pbf& parent, std::uint32_t tag, const entry_proto& e) {
  pbf w(parent, tag);
  put(w, field::entry::key, e.key);
  put(w, field::entry::value, e.value);
}

inline void write_graph(pbf& parent, std::uint32_t tag, const graph_proto& g) {
  namespace f = field::graph;
  pbf w(parent, tag);
  for (const auto& n : g.nodes) write_node(w, n);
  put(w, f::name, g.name);
  for (const auto& t : g.initializers) write_tensor(w, f::initializer, t);
  for (const auto& v : g.inputs) write_value(w, f::input, v);
  for (const auto& v : g.outputs) write_value(w, f::output, v);
}

}  // namespace detail_writer

/// The bytes of a model; tensors are written as raw_data.
inline std::string serialized(const model_proto& m) {
  using namespace detail_writer;
  namespace f = field::model;
  std::string bytes;
  pbf w(bytes);
  w.add_int64(f::ir_version, m.ir_version);
  put(w, f::producer_name, m.producer_name);
  put(w, f::producer_version, m.producer_version);
  for (const auto& o : m.opsets) {
    pbf opset(w, f::opset_import);
    put(opset, field::opset::domain, o.domain);
    opset.add_int64(field::opset::version, o.version);
  }
  write_graph(w, f::graph, m.graph);
  for (const auto& e : m.metadata) write_entry(w, f::metadata_props, e);
  return bytes;
}

}  // namespace ptq::onnx
