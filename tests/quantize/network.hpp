#pragma once
// SPDX-License-Identifier: Apache-2.0
// Small networks for the tests of placement: each function adds one node and returns its output.
// Names are given by the test, so that golden texts read well; a node bears the name of its output.

#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/infer.hpp>

namespace ptq_test {

using namespace ptq;

inline constexpr float inf = std::numeric_limits<float>::infinity();
inline constexpr clamp positive{0, inf};

class network {
 public:
  value_id input(const std::string& name, shape dims) {
    value v;
    v.name = name;
    v.dims = std::move(dims);
    v.shaped = true;
    const auto id = g_.add(std::move(v));
    g_.inputs.push_back(id);
    return id;
  }
  value_id add(const std::string& name, operation what, std::vector<value_id> inputs) {
    value v;
    v.name = name;
    const auto id = g_.add(std::move(v));
    g_.nodes.push_back({name, std::move(what), std::move(inputs), {id}, ""});
    return id;
  }
  value_id random(const std::string& name, shape dims) {
    tensor t(dtype::f32, std::move(dims));
    std::normal_distribution<float> d;
    for (auto& x : t.mutable_view<float>()) x = d(random_);
    return g_.add_constant(name, std::move(t));
  }
  value_id ints(const std::string& name, std::vector<std::int64_t> values) {
    return g_.add_constant(name,
                           tensor::from<std::int64_t>({static_cast<std::int64_t>(values.size())},
                                                      std::span<const std::int64_t>(values)));
  }
  /// k×k, same padding, with a bias
  value_id conv(const std::string& name, value_id x, std::int64_t in, std::int64_t out,
                clamp act = {}, std::int64_t k = 1) {
    op::conv c;
    c.act = act;
    c.win.kernel = {k, k};
    c.win.pads = op::ints(4, k / 2);
    return add(name, c, {x, random(name + ".w", {out, in, k, k}), random(name + ".b", {out})});
  }
  value_id linear(const std::string& name, value_id x, std::int64_t in, std::int64_t out) {
    return add(name, op::matmul{}, {x, random(name + ".w", {in, out}), random(name + ".b", {out})});
  }
  value_id product(const std::string& name, value_id a, value_id b) {
    return add(name, op::matmul{}, {a, b});
  }
  value_id unary(const std::string& name, value_id x, unary_kind k) {
    return add(name, op::unary{.kind = k}, {x});
  }
  value_id binary(const std::string& name, value_id a, value_id b, binary_kind k, clamp act = {}) {
    return add(name, op::binary{.kind = k, .act = act}, {a, b});
  }
  value_id average(const std::string& name, value_id x) {
    return add(name, op::pool{.kind = pool_kind::average, .win = {}, .global = true}, {x});
  }
  value_id max_pool(const std::string& name, value_id x) {
    op::pool p;
    p.win.kernel = p.win.strides = {2, 2};
    p.win.pads = {0, 0, 0, 0};
    return add(name, p, {x});
  }
  value_id flatten(const std::string& name, value_id x) {
    return add(name, op::reshape{.what = op::reshape::kind::flatten}, {x});
  }
  value_id norm(const std::string& name, value_id x, std::int64_t size) {
    return add(name, op::layer_norm{},
               {x, random(name + ".s", {size}), random(name + ".b", {size})});
  }
  void output(value_id id) { g_.outputs.push_back(id); }
  graph done() const {
    check(g_);
    return infer(g_);
  }
  graph& raw() { return g_; }

 private:
  graph g_;
  std::mt19937 random_{1};
};

}  // namespace ptq_test
