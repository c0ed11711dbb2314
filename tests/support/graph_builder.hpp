#pragma once
// SPDX-License-Identifier: Apache-2.0
// Small graphs for tests, written as they read:
//   graph_builder g;
//   auto x = g.input("x", {unknown, 3, 8, 8});
//   auto y = g.node("c", op::conv{}, {x, g.floats("w", {4, 3, 3, 3})}, "y");
//   g.output(y);

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ptq/graph/graph.hpp>

namespace ptq_test {

struct graph_builder {
  ptq::graph g;

  ptq::value_id input(const std::string& name, ptq::shape dims, ptq::dtype t = ptq::dtype::f32,
                      std::vector<std::string> dim_names = {}) {
    ptq::value v;
    v.name = name;
    v.type = t;
    v.dims = std::move(dims);
    v.shaped = true;
    v.dim_names = std::move(dim_names);
    g.inputs.push_back(g.add(std::move(v)));
    return g.inputs.back();
  }
  ptq::value_id integers(const std::string& name, std::vector<std::int64_t> v) {
    return g.add_constant(name,
                          ptq::tensor::from<std::int64_t>({static_cast<std::int64_t>(v.size())},
                                                          std::span<const std::int64_t>(v)));
  }
  ptq::value_id integer(const std::string& name, std::int64_t v) {
    return g.add_constant(name, ptq::tensor::scalar(v));
  }
  ptq::value_id number(const std::string& name, float v) {
    return g.add_constant(name, ptq::tensor::scalar(v));
  }
  ptq::value_id floats(const std::string& name, const ptq::shape& dims,
                       const std::vector<float>& v) {
    return g.add_constant(name, ptq::tensor::from<float>(dims, std::span<const float>(v)));
  }
  /// Reproducible numbers in [0.5, 1.5), so that they serve as variances too.
  ptq::value_id floats(const std::string& name, const ptq::shape& dims) {
    std::mt19937 bits(static_cast<unsigned>(dims.size()));
    std::vector<float> v(static_cast<std::size_t>(dims.size()));
    for (auto& e : v) e = 0.5f + static_cast<float>(bits() >> 8) / 16777216.0f;
    return floats(name, dims, v);
  }
  ptq::value_id node(const std::string& name, ptq::operation what,
                     std::vector<ptq::value_id> inputs, const std::string& result) {
    return nodes(name, std::move(what), std::move(inputs), {result})[0];
  }
  std::vector<ptq::value_id> nodes(const std::string& name, ptq::operation what,
                                   std::vector<ptq::value_id> inputs,
                                   const std::vector<std::string>& results) {
    std::vector<ptq::value_id> ids;
    for (const auto& r : results) {
      ptq::value v;
      v.name = r;
      ids.push_back(g.add(std::move(v)));
    }
    g.nodes.push_back({name, std::move(what), std::move(inputs), ids, {}});
    return ids;
  }
  void output(ptq::value_id id) { g.outputs.push_back(id); }
};

}  // namespace ptq_test
