// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <ptq/data/kept_samples.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/quantize.hpp>
#include <ptq/recovery/relief.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "cancelling.hpp"
#include "support/noise.hpp"

namespace {

using namespace ptq;

samples images(std::int64_t count) { return ptq_test::noise(count, {1, 3, 12, 12}); }

const recovery_step* step_with(const quantize_result& r, const std::string& what) {
  for (const auto& s : r.recovery.steps)
    if (s.what.find(what) != std::string::npos) return &s;
  return nullptr;
}

}  // namespace

TEST_CASE("the layer whose codes cost most stays in float, and no other") {
  const auto g = ptq_test::cancelling();
  quantize_options o;
  o.effort.level = effort::balanced;
  o.effort.float_macs = 0.05;
  const auto r = quantize(g, kernels::reference_kernels(), images(32), o);
  const auto* step = step_with(r, "in float");
  REQUIRE(step);
  CHECK(step->kept);
  CHECK(step->after_db > step->before_db + 6);
  REQUIRE(r.options.restored.nodes.size() == 1);
  CHECK(r.options.restored.nodes.contains("differ"));
  for (const auto& n : r.network.nodes)
    if (n.name == "differ") CHECK(n.note == "the codes it would read cost too much accuracy");
  CHECK(!r.network[r.network.find("a")].quant);
}

TEST_CASE("no layer stays in float where none may, or where the error is small") {
  const auto g = ptq_test::cancelling();
  quantize_options o;
  o.effort.level = effort::balanced;
  o.effort.float_macs = 0;
  CHECK(!step_with(quantize(g, kernels::reference_kernels(), images(32), o), "in float"));
  o.effort.float_macs = 0.05;
  o.effort.enough_db = -40;
  CHECK(!step_with(quantize(g, kernels::reference_kernels(), images(32), o), "in float"));
}

TEST_CASE("groups are given back within the share of products that may be") {
  const auto g = ptq_test::cancelling();
  const auto& table = kernels::reference_kernels();
  const quantize_options o;
  const auto q = quantize(g, table, images(16), o).network;
  const auto groups = quantization::revertible_groups(quantization::place(g, o));
  const auto macs = recovering::macs_of(q, *images(1).at(0), table);
  double all = 0;
  for (const auto& [name, share] : macs) all += share;
  CHECK(all == doctest::Approx(1));
  const recovering::held_back judge(g, table, kept_samples(images(8), 8, 1 << 20), 1, 1 << 20);
  const auto some = recovering::relief(q, groups, macs, {.share = 0.05, .enough = 0}, judge);
  CHECK(some.macs <= 0.05);
  REQUIRE(!some.groups.empty());
  CHECK(groups[static_cast<std::size_t>(some.groups[0])].name == "a");
  CHECK(recovering::relief(q, groups, macs, {.share = 0.001, .enough = 0}, judge).groups.empty());
  CHECK(recovering::relief(q, groups, macs, {.share = 0.05, .enough = 1e9}, judge).groups.empty());
}
