#pragma once
// SPDX-License-Identifier: Apache-2.0
// Bytes of a .onnx file → the structs of schema.hpp. First step of import.
//
// The bytes are untrusted: each field's wire type is checked before it is read (protozero only
// asserts it), lengths are checked against the bytes that are there, the number of messages is
// bounded, and so is the depth of graphs inside graphs.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <ptq/graph/op/control.hpp>
#include <ptq/onnx/fields.hpp>
#include <ptq/onnx/schema.hpp>

namespace ptq::onnx {

/// Reads one model; `file` is named in errors.
class reader {
 public:
  explicit reader(std::string_view file) : in_(file) {}

  /// throws  import_error if the bytes are no protobuf or break the schema
  /// cost    O(bytes); at most some hundred bytes of structs per message, of which there are at
  /// most 2^21
  model_proto read(std::span<const std::byte> bytes) {
    try {
      model_proto m;
      read_model({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, m);
      if (!m.has_graph) in_.fail("no graph in " + std::to_string(bytes.size()) + " bytes");
      return m;
    } catch (const protozero::exception& e) {
      in_.fail(std::string("damaged protobuf (") + e.what() + ")");
    }
  }

 private:
  void read_model(std::string_view b, model_proto& m) {
    namespace f = field::model;
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case f::ir_version:
          m.ir_version = in_.varint(r);
          break;
        case f::producer_name:
          m.producer_name = in_.text(r);
          break;
        case f::producer_version:
          m.producer_version = in_.text(r);
          break;
        case f::graph:
          read_graph(in_.message(r), m.graph);
          m.has_graph = true;
          break;
        case f::opset_import:
          read_opset(in_.message(r), m.opsets.emplace_back());
          break;
        case f::metadata_props:
          read_entry(in_.message(r), m.metadata.emplace_back());
          break;
        default:
          r.skip();
      }
  }
  void read_opset(std::string_view b, opset_proto& o) {
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case field::opset::domain:
          o.domain = in_.text(r);
          break;
        case field::opset::version:
          o.version = in_.varint(r);
          break;
        default:
          r.skip();
      }
  }
  void read_entry(std::string_view b, entry_proto& e) {
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case field::entry::key:
          e.key = in_.text(r);
          break;
        case field::entry::value:
          e.value = in_.text(r);
          break;
        default:
          r.skip();
      }
  }
  void read_graph(std::string_view b, graph_proto& g) {
    namespace f = field::graph;
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case f::node:
          read_node(in_.message(r), g.nodes.emplace_back());
          break;
        case f::name:
          g.name = in_.text(r);
          break;
        case f::initializer:
          read_tensor(in_.message(r), g.initializers.emplace_back());
          break;
        case f::input:
          read_value(in_.message(r), g.inputs.emplace_back());
          break;
        case f::output:
          read_value(in_.message(r), g.outputs.emplace_back());
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
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case f::input:
          n.inputs.push_back(in_.text(r));
          break;
        case f::output:
          n.outputs.push_back(in_.text(r));
          break;
        case f::name:
          n.name = in_.text(r);
          break;
        case f::op_type:
          n.op_type = in_.text(r);
          break;
        case f::attribute:
          read_attribute(in_.message(r), n.attributes.emplace_back());
          break;
        case f::domain:
          n.domain = in_.text(r);
          break;
        default:
          r.skip();
      }
  }
  void read_attribute(std::string_view b, attribute_proto& a) {
    namespace f = field::attribute;
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case f::name:
          a.name = in_.text(r);
          break;
        case f::type:
          a.type = in_.small(r);
          break;
        case f::f:
          in_.expect(r, protozero::pbf_wire_type::fixed32);
          a.f = r.get_float();
          break;
        case f::i:
          a.i = in_.varint(r);
          break;
        case f::s:
          a.s = in_.text(r);
          break;
        case f::t:
          a.t.clear();
          read_tensor(in_.message(r), a.t.emplace_back());
          break;
        case f::floats:
          in_.floats(r, a.floats);
          break;
        case f::ints:
          in_.integers(r, a.ints);
          break;
        case f::g:
          a.graphs.clear();
          if (++depth_ > op::deepest_body)
            in_.fail("graphs: expected at most " + std::to_string(op::deepest_body) + " inside each other");
          read_graph(in_.message(r), a.graphs.emplace_back());
          --depth_;
          break;
        case f::strings:
          a.strings.push_back(in_.text(r));
          break;
        default:
          a.unread = true;
          r.skip();
      }
  }
  void read_tensor(std::string_view b, tensor_proto& t) {
    namespace f = field::tensor;
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case f::dims:
          in_.integers(r, t.dims);
          break;
        case f::data_type:
          t.type = in_.small(r);
          break;
        case f::float_data:
          in_.floats(r, t.floats);
          break;
        case f::int32_data:
        case f::int64_data:
          in_.integers(r, t.ints);
          break;
        case f::uint64_data:
          in_.naturals(r, t.naturals);
          break;
        case f::double_data:
          in_.doubles(r, t.doubles);
          break;
        case f::name:
          t.name = in_.text(r);
          break;
        case f::raw_data:
          t.raw = in_.bytes(r);
          t.has_raw = true;
          break;
        case f::external_data:
          read_entry(in_.message(r), t.external_data.emplace_back());
          break;
        case f::data_location:
          t.external = in_.varint(r) == 1;
          break;
        default:
          r.skip();
      }
  }
  void read_value(std::string_view b, value_info_proto& v) {
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case field::value_info::name:
          v.name = in_.text(r);
          break;
        case field::value_info::type:
          read_type(in_.message(r), v);
          break;
        default:
          r.skip();
      }
  }
  void read_type(std::string_view b, value_info_proto& v) {
    for (auto r = field_reader::over(b); r.next();) {
      if (r.tag() != field::type::tensor_type) {
        r.skip();
        continue;
      }
      v.is_tensor = true;
      for (auto t = field_reader::over(in_.message(r)); t.next();) switch (t.tag()) {
          case field::tensor_type::elem_type:
            v.type = in_.small(t);
            break;
          case field::tensor_type::shape:
            v.shaped = true;
            for (auto s = field_reader::over(in_.message(t)); s.next();) {
              if (s.tag() == field::tensor_shape::dim)
                read_dimension(in_.message(s), v.dims.emplace_back());
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
    for (auto r = field_reader::over(b); r.next();) switch (r.tag()) {
        case field::dimension::value:
          d.extent = in_.varint(r);
          break;
        case field::dimension::param:
          d.param = in_.text(r);
          break;
        default:
          r.skip();
      }
  }

  field_reader in_;
  int depth_ = 0;
};

}  // namespace ptq::onnx
