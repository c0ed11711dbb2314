#pragma once
// SPDX-License-Identifier: Apache-2.0
// Bytes of a .onnx file → the structs of schema.hpp. First step of import.
//
// The bytes are untrusted: each field's wire type is checked before it is read (protozero only
// asserts it), lengths are checked against the bytes that are there, the number of messages is
// bounded, and nothing recurses: the subgraphs of control-flow nodes are skipped, since no such
// node is supported.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <protozero/pbf_reader.hpp>

#include <ptq/core/error.hpp>
#include <ptq/onnx/schema.hpp>

namespace ptq::onnx {

/// Reads one model; `file` is named in errors.
class reader {
 public:
  explicit reader(std::string_view file) : file_(file) {}

  /// throws  import_error if the bytes are no protobuf or break the schema
  /// cost    O(bytes); at most some hundred bytes of structs per message, of which there are at
  /// most 2^21
  model_proto read(std::span<const std::byte> bytes) {
    try {
      model_proto m;
      read_model({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, m);
      if (!m.has_graph) fail("no graph in " + std::to_string(bytes.size()) + " bytes");
      return m;
    } catch (const protozero::exception& e) {
      fail(std::string("damaged protobuf (") + e.what() + ")");
    }
  }

 private:
  using pbf = protozero::pbf_reader;
  using wire = protozero::pbf_wire_type;
  // The largest language models have some 10^5 nodes with a few attributes each.
  static constexpr int most_messages = 1 << 21;

  [[noreturn]] void fail(const std::string& what) const {
    throw import_error("import: " + std::string(file_) + ": " + what);
  }
  void expect(const pbf& r, wire w) const {
    if (!r.has_wire_type(w))
      fail("damaged protobuf (field " + std::to_string(r.tag()) + ": expected wire type " +
           std::to_string(static_cast<int>(w)) + ", got " +
           std::to_string(static_cast<int>(r.wire_type())) + ")");
  }
  std::int64_t varint(pbf& r) const {
    expect(r, wire::varint);
    return r.get_int64();
  }
  std::int32_t small(pbf& r) const {
    const auto v = varint(r);
    if (v < 0 || v > 0xffff) fail("enumerator: expected [0,65535], got " + std::to_string(v));
    return static_cast<std::int32_t>(v);
  }
  std::string_view bytes(pbf& r) const {
    expect(r, wire::length_delimited);
    const auto v = r.get_view();
    return {v.data(), v.size()};
  }
  std::string text(pbf& r) const { return std::string(bytes(r)); }
  std::string_view message(pbf& r) {
    if (++messages_ > most_messages)
      fail("messages: expected at most " + std::to_string(most_messages));
    return bytes(r);
  }

  void integers(pbf& r, std::vector<std::int64_t>& out) const {
    if (r.has_wire_type(wire::varint)) {
      out.push_back(r.get_int64());
      return;
    }
    expect(r, wire::length_delimited);
    for (auto v : r.get_packed_int64()) out.push_back(v);
  }
  void naturals(pbf& r, std::vector<std::uint64_t>& out) const {
    if (r.has_wire_type(wire::varint)) {
      out.push_back(r.get_uint64());
      return;
    }
    expect(r, wire::length_delimited);
    for (auto v : r.get_packed_uint64()) out.push_back(v);
  }
  void floats(pbf& r, std::vector<float>& out) const {
    if (r.has_wire_type(wire::fixed32)) {
      out.push_back(r.get_float());
      return;
    }
    expect(r, wire::length_delimited);
    for (auto v : r.get_packed_float()) out.push_back(v);
  }
  void doubles(pbf& r, std::vector<double>& out) const {
    if (r.has_wire_type(wire::fixed64)) {
      out.push_back(r.get_double());
      return;
    }
    expect(r, wire::length_delimited);
    for (auto v : r.get_packed_double()) out.push_back(v);
  }

  static pbf over(std::string_view b) { return pbf(b.data(), b.size()); }

  void read_model(std::string_view b, model_proto& m) {
    namespace f = field::model;
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case f::ir_version:
          m.ir_version = varint(r);
          break;
        case f::producer_name:
          m.producer_name = text(r);
          break;
        case f::producer_version:
          m.producer_version = text(r);
          break;
        case f::graph:
          read_graph(message(r), m.graph);
          m.has_graph = true;
          break;
        case f::opset_import:
          read_opset(message(r), m.opsets.emplace_back());
          break;
        case f::metadata_props:
          read_entry(message(r), m.metadata.emplace_back());
          break;
        default:
          r.skip();
      }
  }
  void read_opset(std::string_view b, opset_proto& o) {
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case field::opset::domain:
          o.domain = text(r);
          break;
        case field::opset::version:
          o.version = varint(r);
          break;
        default:
          r.skip();
      }
  }
  void read_entry(std::string_view b, entry_proto& e) {
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case field::entry::key:
          e.key = text(r);
          break;
        case field::entry::value:
          e.value = text(r);
          break;
        default:
          r.skip();
      }
  }
  void read_graph(std::string_view b, graph_proto& g) {
    namespace f = field::graph;
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case f::node:
          read_node(message(r), g.nodes.emplace_back());
          break;
        case f::name:
          g.name = text(r);
          break;
        case f::initializer:
          read_tensor(message(r), g.initializers.emplace_back());
          break;
        case f::input:
          read_value(message(r), g.inputs.emplace_back());
          break;
        case f::output:
          read_value(message(r), g.outputs.emplace_back());
          break;
        case f::sparse_initializer:
          g.sparse_initializers = true;
          r.skip();
          break;
        default:
          r.skip();
      }
  }
  void read_node(std::string_view b, node_proto& n) {
    namespace f = field::node;
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case f::input:
          n.inputs.push_back(text(r));
          break;
        case f::output:
          n.outputs.push_back(text(r));
          break;
        case f::name:
          n.name = text(r);
          break;
        case f::op_type:
          n.op_type = text(r);
          break;
        case f::attribute:
          read_attribute(message(r), n.attributes.emplace_back());
          break;
        case f::domain:
          n.domain = text(r);
          break;
        default:
          r.skip();
      }
  }
  void read_attribute(std::string_view b, attribute_proto& a) {
    namespace f = field::attribute;
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case f::name:
          a.name = text(r);
          break;
        case f::type:
          a.type = small(r);
          break;
        case f::f:
          expect(r, wire::fixed32);
          a.f = r.get_float();
          break;
        case f::i:
          a.i = varint(r);
          break;
        case f::s:
          a.s = text(r);
          break;
        case f::t:
          a.t.clear();
          read_tensor(message(r), a.t.emplace_back());
          break;
        case f::floats:
          floats(r, a.floats);
          break;
        case f::ints:
          integers(r, a.ints);
          break;
        default:
          a.unread = true;
          r.skip();
      }
  }
  void read_tensor(std::string_view b, tensor_proto& t) {
    namespace f = field::tensor;
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case f::dims:
          integers(r, t.dims);
          break;
        case f::data_type:
          t.type = small(r);
          break;
        case f::float_data:
          floats(r, t.floats);
          break;
        case f::int32_data:
        case f::int64_data:
          integers(r, t.ints);
          break;
        case f::uint64_data:
          naturals(r, t.naturals);
          break;
        case f::double_data:
          doubles(r, t.doubles);
          break;
        case f::name:
          t.name = text(r);
          break;
        case f::raw_data:
          t.raw = bytes(r);
          t.has_raw = true;
          break;
        case f::external_data:
          read_entry(message(r), t.external_data.emplace_back());
          break;
        case f::data_location:
          t.external = varint(r) == 1;
          break;
        default:
          r.skip();
      }
  }
  void read_value(std::string_view b, value_info_proto& v) {
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case field::value_info::name:
          v.name = text(r);
          break;
        case field::value_info::type:
          read_type(message(r), v);
          break;
        default:
          r.skip();
      }
  }
  void read_type(std::string_view b, value_info_proto& v) {
    for (auto r = over(b); r.next();) {
      if (r.tag() != field::type::tensor_type) {
        r.skip();
        continue;
      }
      v.is_tensor = true;
      for (auto t = over(message(r)); t.next();) switch (t.tag()) {
          case field::tensor_type::elem_type:
            v.type = small(t);
            break;
          case field::tensor_type::shape:
            v.shaped = true;
            for (auto s = over(message(t)); s.next();) {
              if (s.tag() == field::tensor_shape::dim)
                read_dimension(message(s), v.dims.emplace_back());
              else
                s.skip();
            }
            break;
          default:
            t.skip();
        }
    }
  }
  void read_dimension(std::string_view b, dimension_proto& d) {
    for (auto r = over(b); r.next();) switch (r.tag()) {
        case field::dimension::value:
          d.extent = varint(r);
          break;
        case field::dimension::param:
          d.param = text(r);
          break;
        default:
          r.skip();
      }
  }

  std::string_view file_;
  int messages_ = 0;
};

}  // namespace ptq::onnx
