// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include <ptq/data/activation_cache.hpp>

namespace {

using namespace ptq;

tensor numbers(std::int64_t n, unsigned seed) {
  tensor t(dtype::f32, {1, n});
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  for (auto& v : t.mutable_view<float>()) v = d(random);
  return t;
}

bool same(const tensor& a, const tensor& b) {
  return a.type() == b.type() && a.dims() == b.dims() &&
         std::memcmp(a.data(), b.data(), a.byte_count()) == 0;
}

}  // namespace

TEST_CASE("what fits stays in memory, what does not comes back from the file") {
  // Room for three tensors of 400 bytes.
  activation_cache c(1300);
  for (unsigned i = 0; i < 8; ++i) c.put("a", i, numbers(100, i));
  CHECK(c.spilled_bytes() == 5 * 400);
  for (unsigned i = 0; i < 8; ++i) CHECK(same(c.at("a", i), numbers(100, i)));
  c.put("ids", 0, tensor::from<std::int64_t>({2}, {7, -9}));
  CHECK(c.at("ids", 0).view<std::int64_t>()[1] == -9);
}

TEST_CASE("room of a value that is dropped or replaced is used again") {
  activation_cache c(400);
  c.put("a", 0, numbers(100, 1));
  c.put("a", 0, numbers(100, 2));
  CHECK(c.spilled_bytes() == 0);
  CHECK(same(c.at("a", 0), numbers(100, 2)));
  c.put("b", 0, numbers(100, 3));
  CHECK(c.spilled_bytes() == 400);
  c.drop("b");
  CHECK(c.spilled_bytes() == 0);
  c.put("b", 0, numbers(100, 4));
  c.drop("a");
  c.put("d", 0, numbers(100, 5));
  CHECK(c.spilled_bytes() == 400);
  CHECK(same(c.at("b", 0), numbers(100, 4)));
  CHECK(same(c.at("d", 0), numbers(100, 5)));
}

TEST_CASE("a rounded value takes a byte each and comes back exactly") {
  for (const qparams& q : {qparams{.type = dtype::u8, .scale = {0.0137f}, .zero_point = {77}},
                           qparams{.type = dtype::s8, .scale = {0.031f}, .zero_point = {-3}}}) {
    tensor t(dtype::f32, {256});
    auto v = t.mutable_view<float>();
    for (int i = 0; i < 256; ++i)
      v[static_cast<std::size_t>(i)] =
          dequantize_value(q.type == dtype::u8 ? i : i - 128, q.scale[0], q.zero_point[0]);
    activation_cache c(256);
    c.put("a", 3, t, &q);
    CHECK(c.spilled_bytes() == 0);
    CHECK(same(c.at("a", 3), t));
  }
}

TEST_CASE("asking for what is not kept is an error") {
  activation_cache c(100);
  CHECK(!c.has("a", 0));
  CHECK_THROWS_WITH_AS(c.at("a", 0), doctest::Contains("sample 0"), error);
  c.put("a", 0, numbers(2, 1));
  CHECK(c.has("a", 0));
  CHECK_THROWS_AS(c.at("a", 1), error);
}
