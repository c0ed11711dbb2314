// SPDX-License-Identifier: Apache-2.0
#include <ptq/onnx/reader.hpp>

#include <doctest/doctest.h>

#include <string>

#include "support/onnx_model.hpp"

using ptq_test::error_of;

namespace {

ptq::onnx::model_proto read(const std::string& b) {
  return ptq::onnx::reader("file.onnx").read(std::as_bytes(std::span<const char>(b)));
}

std::string small_model() {
  ptq_test::onnx_model m;
  m.input("x", {1, -1}).output("y").constant("w", ptq_test::floats({2}, {1.5f, -2.0f}));
  m.node("LeakyRelu", {"x"}, {"y"}, "act").with("alpha", 0.25f);
  m.m.metadata.push_back({"key", "text"});
  m.m.graph.inputs[0].dims[1].param = "length";
  return m.bytes();
}

}  // namespace

TEST_CASE("what the writer wrote is what the reader reads") {
  const auto bytes = small_model();
  const auto m = read(bytes);
  CHECK(m.ir_version == 8);
  REQUIRE(m.opsets.size() == 1);
  CHECK(m.opsets[0].version == 13);
  REQUIRE(m.metadata.size() == 1);
  CHECK(m.metadata[0].value == "text");
  REQUIRE(m.graph.nodes.size() == 1);
  CHECK(m.graph.nodes[0].name == "act");
  CHECK(m.graph.nodes[0].attributes.at(0).f == 0.25f);
  REQUIRE(m.graph.initializers.size() == 1);
  CHECK(m.graph.initializers[0].dims == ptq_test::ints{2});
  CHECK(m.graph.initializers[0].raw.size() == 8);
  REQUIRE(m.graph.inputs.at(0).dims.size() == 2);
  CHECK(m.graph.inputs[0].dims[0].extent == 1);
  CHECK(m.graph.inputs[0].dims[1].extent == -1);
  CHECK(m.graph.inputs[0].dims[1].param == "length");
}

TEST_CASE("a scalar's shape and an unnamed free dimension survive") {
  ptq_test::onnx_model m;
  m.input("x", {}).input("z", {-1, -1}).output("y").node("Add", {"x", "z"}, {"y"});
  const auto bytes = m.bytes();
  const auto r = read(bytes);
  CHECK(r.graph.inputs.at(0).shaped);
  CHECK(r.graph.inputs.at(0).dims.empty());
  CHECK(r.graph.inputs.at(1).dims.size() == 2);
  CHECK_FALSE(r.graph.outputs.at(0).shaped);
}

TEST_CASE("every truncation of a model is an import_error or a smaller model") {
  const auto bytes = small_model();
  int refused = 0;
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    try {
      read(bytes.substr(0, n));
    } catch (const ptq::import_error&) {
      ++refused;
    }
  }
  CHECK(refused > static_cast<int>(bytes.size()) / 2);
}

TEST_CASE("a field of the wrong wire type is refused with both types") {
  // Field 7 (graph) as a varint.
  const std::string graph_as_varint = "\x08\x08\x38\x05";
  const auto text = error_of<ptq::import_error>([&] { read(graph_as_varint); });
  CHECK(text.find("file.onnx") != std::string::npos);
  CHECK(text.find("field 7: expected wire type 2, got 0") != std::string::npos);
}

TEST_CASE("a length beyond the bytes is refused") {
  const std::string lying = "\x08\x08\x3a\xff\xff\xff\xff\x07";
  CHECK(error_of<ptq::import_error>([&] { read(lying); }).find("damaged") != std::string::npos);
  CHECK(error_of<ptq::import_error>([&] { read(""); }).find("no graph in 0 bytes") !=
        std::string::npos);
}
