// SPDX-License-Identifier: Apache-2.0
// Damaged files: bytes of a small valid model are changed, cut, repeated and swapped; whatever
// comes of it, import returns a graph that passes check() or throws a ptq::error.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <variant>

#include <ptq/export.hpp>
#include <ptq/import.hpp>

#include "support/onnx_model.hpp"

using ptq_test::floats;
using ptq_test::ints;
using ptq_test::onnx_model;

namespace {

/// A bit of everything that import has code for: a quantized convolution, a bias, shape arithmetic,
/// old attributes.
std::string seed_model() {
  onnx_model m;
  m.input("x", {-1, 2, 4, 4}).output("y").output("n", ptq::onnx::type_int64);
  m.constant("s", ptq::tensor::scalar(0.5f)).constant("z", ptq::tensor::scalar(std::uint8_t{3}));
  m.constant("w", ptq::tensor(ptq::dtype::s8, {3, 2, 3, 3}));
  m.constant("ws", floats({3}, {0.1f, 0.2f, 0.3f})).constant("shape", ptq_test::indices({0, -1}));
  m.constant("f", ptq::tensor(ptq::dtype::f32, {5, 48}));
  m.constant("bias", floats({5}, {1, 2, 3, 4, 5}));
  m.node("QuantizeLinear", {"x", "s", "z"}, {"xq"})
      .node("DequantizeLinear", {"xq", "s", "z"}, {"xd"});
  m.node("DequantizeLinear", {"w", "ws"}, {"wd"}).with("axis", std::int64_t{0});
  m.node("Conv", {"xd", "wd"}, {"c"}, "conv").with("pads", ints{1, 1, 1, 1});
  m.with("kernel_shape", ints{3, 3}).with("auto_pad", std::string_view("NOTSET"));
  m.node("Clip", {"c", "", "s"}, {"r"}).node("Identity", {"r"}, {"i"});
  m.node("MaxPool", {"i"}, {"p"}).with("kernel_shape", ints{1, 1});
  m.node("Reshape", {"p", "shape"}, {"flat"}).node("Gemm", {"flat", "f", "bias"}, {"g"});
  m.with("transB", std::int64_t{1}).with("alpha", 0.5f);
  m.node("Sum", {"g", "g", "bias"}, {"t"}).node("Softmax", {"t"}, {"y"});
  m.node("Size", {"x"}, {"n"});
  return m.bytes();
}

std::string mutated(std::string b, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return n ? random() % n : 0; };
  const auto changes = 1 + below(4);
  for (std::size_t i = 0; i < changes && !b.empty(); ++i) {
    const auto at = below(b.size());
    switch (below(7)) {
      case 0:
        b[at] = static_cast<char>(random());
        break;
      case 1:
        b[at] = static_cast<char>(b[at] ^ (1 << below(8)));
        break;
      case 2:
        b.resize(at);
        break;
      case 3:
        b.insert(at, 1 + below(9), static_cast<char>(below(2) ? 0xff : 0x80));
        break;
      case 4:
        b.erase(at, 1 + below(8));
        break;
      case 5:
        b.insert(at, b.substr(below(b.size()), below(64)));
        break;
      default:
        std::swap(b[at], b[below(b.size())]);
    }
  }
  return b;
}

/// What became of one file; anything but a graph or a ptq::error escapes and fails the test.
bool survives(const std::string& bytes) {
  ptq::graph g;
  try {
    g = ptq_test::import_bytes(bytes);
  } catch (const ptq::error&) {
    return false;
  }
  ptq::check(g);
  try {
    ptq::export_onnx(g);
  } catch (const ptq::error&) {
  }
  return true;
}

}  // namespace

TEST_CASE("a damaged model is a graph or a ptq::error") {
  const auto whole = seed_model();
  REQUIRE(survives(whole));
  constexpr std::uint32_t seed = 20240611;
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  int graphs = 0, errors = 0;
  for (int i = 0; i < 6000 && std::chrono::steady_clock::now() < end; ++i) {
    const auto b = mutated(whole, random);
    CAPTURE(i);
    try {
      (survives(b) ? graphs : errors)++;
    } catch (const std::exception& e) {
      FAIL(std::string("mutation " + std::to_string(i) + ": " + e.what()));
    }
  }
  CHECK(errors > 100);
  CHECK(graphs > 100);
}

TEST_CASE("random bytes are no model") {
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::string b(random() % 200, '\0');
    for (auto& c : b) c = static_cast<char>(random());
    CHECK_FALSE(survives(b));
  }
}

TEST_CASE("a wide graph of a hundred thousand nodes is read in time proportional to it") {
  onnx_model m;
  m.input("x", {2}).output("y").node("Relu", {"x"}, {"a"});
  for (int i = 0; i < 100000; ++i) m.node("Abs", {"a"}, {"b" + std::to_string(i)}, "n");
  m.node("Add", {"b0", "b99999"}, {"y"});
  const auto start = std::chrono::steady_clock::now();
  const auto g = m.import();
  CHECK(g.nodes.size() == 4);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}
