#pragma once
// SPDX-License-Identifier: Apache-2.0
// The part of ONNX's protobuf schema that import and export use: field numbers and plain structs.
// Byte fields of a struct that was read are views into the file's bytes and live no longer than
// those.
//
// Source: onnx/onnx.proto (proto2/3 share these numbers).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <ptq/core/dtype.hpp>

namespace ptq::onnx {

/// The opsets of the ai.onnx domain that import understands; 24 and 25 add element types only to
/// what it reads.
inline constexpr int oldest_opset = 7;
inline constexpr int newest_opset = 25;
/// The newest that export writes.
inline constexpr int newest_written_opset = 23;

namespace field {

namespace model {
inline constexpr std::uint32_t ir_version = 1, producer_name = 2, producer_version = 3, graph = 7,
                               opset_import = 8, metadata_props = 14;
}
namespace opset {
inline constexpr std::uint32_t domain = 1, version = 2;
}
namespace entry {
inline constexpr std::uint32_t key = 1, value = 2;
}
namespace graph {
inline constexpr std::uint32_t node = 1, name = 2, initializer = 5, input = 11, output = 12,
                               sparse_initializer = 15;
}
namespace node {
inline constexpr std::uint32_t input = 1, output = 2, name = 3, op_type = 4, attribute = 5,
                               domain = 7;
}
namespace attribute {
inline constexpr std::uint32_t name = 1, f = 2, i = 3, s = 4, t = 5, g = 6, floats = 7, ints = 8,
                               strings = 9, type = 20;
}
namespace tensor {
inline constexpr std::uint32_t dims = 1, data_type = 2, segment = 3, float_data = 4, int32_data = 5,
                               string_data = 6, int64_data = 7, name = 8, raw_data = 9,
                               double_data = 10, uint64_data = 11, external_data = 13,
                               data_location = 14;
}
namespace value_info {
inline constexpr std::uint32_t name = 1, type = 2;
}
namespace type {
inline constexpr std::uint32_t tensor_type = 1;
}
namespace tensor_type {
inline constexpr std::uint32_t elem_type = 1, shape = 2;
}
namespace tensor_shape {
inline constexpr std::uint32_t dim = 1;
}
namespace dimension {
inline constexpr std::uint32_t value = 1, param = 2;
}

}  // namespace field

/// TensorProto.DataType
enum data_type : std::int32_t {
  type_float = 1,
  type_uint8 = 2,
  type_int8 = 3,
  type_uint16 = 4,
  type_int16 = 5,
  type_int32 = 6,
  type_int64 = 7,
  type_string = 8,
  type_bool = 9,
  type_float16 = 10,
  type_double = 11,
  type_uint32 = 12,
  type_uint64 = 13,
  type_bfloat16 = 16,
  type_float8e4m3fn = 17,
  type_float8e5m2 = 19
};

/// AttributeProto.AttributeType, those that are written
enum attribute_type : std::int32_t {
  attribute_float = 1,
  attribute_int = 2,
  attribute_string = 3,
  attribute_tensor = 4,
  attribute_graph = 5,
  attribute_floats = 6,
  attribute_ints = 7,
  attribute_strings = 8
};

struct entry_proto {
  std::string key, value;
};

struct tensor_proto {
  std::string name;
  std::int32_t type = 0;
  std::vector<std::int64_t> dims;
  std::string_view raw;  // raw_data, little endian
  bool has_raw = false;
  std::vector<float> floats;            // float_data
  std::vector<std::int64_t> ints;       // int32_data or int64_data
  std::vector<std::uint64_t> naturals;  // uint64_data
  std::vector<double> doubles;          // double_data
  bool external = false;                // data_location
  std::vector<entry_proto> external_data;
};

struct graph_proto;

struct attribute_proto {
  std::string name;
  std::int32_t type = 0;
  float f = 0;
  std::int64_t i = 0;
  std::string s;
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  std::vector<std::string> strings;
  std::vector<tensor_proto> t;  // none or one
  std::vector<graph_proto> graphs;  // none or one
  bool unread = false;              // several tensors or graphs, types: nothing that a supported operator has
};

struct node_proto {
  std::string name, op_type, domain;
  std::vector<std::string> inputs, outputs;
  std::vector<attribute_proto> attributes;
};

struct dimension_proto {
  std::int64_t extent = -1;  // -1: unknown
  std::string param;
};

struct value_info_proto {
  std::string name;
  bool is_tensor = false;
  std::int32_t type = 0;
  bool shaped = false;
  std::vector<dimension_proto> dims;
};

struct graph_proto {
  std::string name;
  std::vector<node_proto> nodes;
  std::vector<tensor_proto> initializers;
  std::vector<value_info_proto> inputs, outputs;
  bool sparse_initializers = false;
};

struct opset_proto {
  std::string domain;
  std::int64_t version = 0;
};

struct model_proto {
  std::int64_t ir_version = 0;
  std::string producer_name, producer_version;
  std::vector<opset_proto> opsets;
  std::vector<entry_proto> metadata;
  graph_proto graph;
  bool has_graph = false;
};

/// Element type of a tensor in ONNX's numbering, as it is written.
constexpr std::int32_t onnx_type(dtype t) {
  switch (t) {
    case dtype::f32:
      return type_float;
    case dtype::s64:
      return type_int64;
    case dtype::s32:
      return type_int32;
    case dtype::s16:
      return type_int16;
    case dtype::u16:
      return type_uint16;
    case dtype::s8:
      return type_int8;
    case dtype::u8:
      return type_uint8;
    case dtype::boolean:
      return type_bool;
    case dtype::f8e4m3:
      return type_float8e4m3fn;
    case dtype::f8e5m2:
      return type_float8e5m2;
  }
  return type_float;
}

/// The type that stands for an ONNX element type in a graph; false if there is none. Half, brain
/// and double floats become f32, unsigned 32 and 64-bit integers s64.
constexpr bool core_type(std::int32_t onnx, dtype& out) {
  switch (onnx) {
    case type_float:
    case type_float16:
    case type_bfloat16:
    case type_double:
      out = dtype::f32;
      return true;
    case type_uint8:
      out = dtype::u8;
      return true;
    case type_int8:
      out = dtype::s8;
      return true;
    case type_uint16:
      out = dtype::u16;
      return true;
    case type_int16:
      out = dtype::s16;
      return true;
    case type_int32:
      out = dtype::s32;
      return true;
    case type_int64:
    case type_uint32:
    case type_uint64:
      out = dtype::s64;
      return true;
    case type_bool:
      out = dtype::boolean;
      return true;
    case type_float8e4m3fn:
      out = dtype::f8e4m3;
      return true;
    case type_float8e5m2:
      out = dtype::f8e5m2;
      return true;
    default:
      return false;
  }
}

}  // namespace ptq::onnx
