// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include <ptq/dispatch.hpp>
#include <ptq/execute.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#include <ptq/recovery/real_sums.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "../quantize/network.hpp"
#include "support/noise.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

/// Convolutions with the functions that their stores compute, and one that they don't.
graph functions() {
  network n;
  auto x = n.input("x", {1, 3, 12, 12});
  auto a = n.add("leaky", op::unary{.kind = unary_kind::leaky_relu, .alpha = 0.1f}, {n.conv("a", x, 3, 20, {}, 3)});
  auto b = n.unary("swish", n.conv("b", a, 20, 33, {}, 3), unary_kind::hard_swish);
  auto c = n.unary("gelu", n.conv("c", b, 33, 16), unary_kind::gelu);
  auto d = n.add("steep", op::unary{.kind = unary_kind::leaky_relu, .alpha = 2.0f}, {n.conv("d", c, 16, 8)});
  n.output(n.conv("y", d, 8, 4));
  return n.done();
}

samples images(std::int64_t count) { return ptq_test::noise(count, {1, 3, 12, 12}); }

const recovery_step* functions_step(const quantize_result& r) {
  for (const auto& s : r.recovery.steps)
    if (s.what.find("before rounding") != std::string::npos) return &s;
  return nullptr;
}

std::vector<std::string> steps_of(const program& p) {
  std::vector<std::string> names;
  for (const auto& s : p.steps) names.push_back(s.what);
  return names;
}

}  // namespace

TEST_CASE("functions that stores compute read sums before these are rounded, where it lowers the error") {
  const auto g = functions();
  quantize_options o;
  o.effort = {.level = effort::balanced, .fixed_preset = true, .fixed_estimator = true, .fixed_correction = true, .enough_db = 100};
  const auto r = quantize(g, kernels::reference_kernels(), images(32), o);
  const auto* step = functions_step(r);
  REQUIRE(step);
  CHECK(step->what == "2 functions of sums before rounding");
  CHECK(step->kept);
  CHECK(step->after_db > step->before_db);
  CHECK(r.options.real_sums == std::set<std::string>{"a", "b"});
  for (const auto* name : {"a", "b"}) CHECK_FALSE(r.network[r.network.find(name)].quant);
  for (const auto* name : {"c", "d", "leaky", "swish"}) CHECK(r.network[r.network.find(name)].quant);

  o.effort.enough_db = 0;  // the error is small enough
  CHECK_FALSE(functions_step(quantize(g, kernels::reference_kernels(), images(32), o)));
  o.effort.enough_db = 100;
  o.effort.fixed_placement = true;
  CHECK_FALSE(functions_step(quantize(g, kernels::reference_kernels(), images(32), o)));
}

TEST_CASE("a store computes the function that its own step would, bit for bit") {
  const auto g = functions();
  quantize_options o;
  o.real_sums = {"a", "b"};
  const auto q = quantize(g, kernels::reference_kernels(), images(8), o).network;
  for (const auto* table : {&kernels::reference_kernels(), &dispatched_kernels()}) {
    const auto whole = lower(q, *table);
    const auto names = steps_of(whole);
    CHECK(std::count(names.begin(), names.end(), "Conv+LeakyRelu") == 1);
    CHECK(std::count(names.begin(), names.end(), "Conv+HardSwish") == 1);
    CHECK(std::count(names.begin(), names.end(), "LeakyRelu") == 1);  // the steep one, a table
    runner fused(q, *table), stepwise(q, *table, {.keep_values = true});
    CHECK(stepwise.program_for(*images(1).at(0)).steps.size() > whole.steps.size());
    for (std::int64_t i = 0; i < 3; ++i) {
      const auto s = *images(3).at(i);
      const auto y = fused.run(s), z = stepwise.run(s);
      REQUIRE(y[0].byte_count() == z[0].byte_count());
      CHECK(std::memcmp(y[0].data(), z[0].data(), y[0].byte_count()) == 0);
    }
  }
}

TEST_CASE("a sum that something else reads too, or an output, is rounded as ever") {
  network n;
  auto x = n.input("x", {1, 3, 12, 12});
  auto a = n.conv("a", x, 3, 8), f = n.unary("f", a, unary_kind::hard_swish);
  n.output(n.conv("y", n.binary("sum", a, f, binary_kind::add), 8, 4));
  auto b = n.conv("b", x, 3, 8);
  n.output(b);
  n.output(n.conv("z", n.unary("h", b, unary_kind::hard_swish), 8, 4));
  const auto q = quantize(n.done(), kernels::reference_kernels(), images(8), {}).network;
  CHECK(recovering::sums_before_functions(q).empty());
}
