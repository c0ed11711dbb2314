#pragma once
// SPDX-License-Identifier: Apache-2.0
// Single fields of a protobuf message, read with care: the wire type is checked first (protozero
// only asserts it) and the number of messages is bounded. What reader.hpp is made of.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <protozero/pbf_reader.hpp>

#include <ptq/core/error.hpp>

namespace ptq::onnx {

/// Reads the field that a protozero reader stands on; every function throws import_error or
/// protozero::exception.
class field_reader {
 public:
  using pbf = protozero::pbf_reader;
  using wire = protozero::pbf_wire_type;

  explicit field_reader(std::string_view file) : file_(file) {}

  static pbf over(std::string_view b) { return pbf(b.data(), b.size()); }

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

 private:
  // The largest language models have some 10^5 nodes with a few attributes each.
  static constexpr int most_messages = 1 << 21;

  std::string_view file_;
  int messages_ = 0;
};

}  // namespace ptq::onnx
