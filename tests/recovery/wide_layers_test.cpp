// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <ptq/data/kept_samples.hpp>
#include <ptq/export.hpp>
#include <ptq/import.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/onnx/ops/write_table.hpp>
#include <ptq/quantize.hpp>
#include <ptq/recovery/wide_layers.hpp>
#include <ptq/report.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "cancelling.hpp"
#include "quantize/network.hpp"
#include "support/noise.hpp"

namespace {

using namespace ptq;
using ptq_test::network;
using names = std::set<std::string>;

samples images(std::int64_t count) { return ptq_test::noise(count, {1, 3, 12, 12}); }

quantize_options asked(double share) {
  quantize_options o;
  o.effort.level = effort::balanced;
  o.effort.wide_macs = share;
  return o;
}

const recovery_step* wide_step_of(const quantize_result& r) {
  for (const auto& s : r.recovery.steps)
    if (s.what.starts_with("16-bit inputs")) return &s;
  return nullptr;
}

/// The bundle whose layers' inputs `reader` is among, or null.
const recovering::wide_bundle* bundle_of(const std::vector<recovering::wide_bundle>& all,
                                         const std::string& reader) {
  const auto it = std::find_if(all.begin(), all.end(),
                               [&](const auto& b) { return b.readers.contains(reader); });
  return it == all.end() ? nullptr : &*it;
}

std::vector<recovering::wide_bundle> bundles_of(const graph& g) {
  const auto p = quantization::place(g, {});
  return recovering::wide_bundles(p, quantization::revertible_groups(p));
}

}  // namespace

TEST_CASE("the layer whose codes cost most reads 16 bits, and no other") {
  const auto g = ptq_test::cancelling();
  const auto r = quantize(g, kernels::reference_kernels(), images(32), asked(0.2));
  const auto* step = wide_step_of(r);
  REQUIRE(step);
  CHECK(step->kept);
  CHECK(step->after_db > step->before_db + 6);
  CHECK(step->layers == std::vector<std::string>{"differ"});
  CHECK(r.options.wide_values == names{"a"});
  for (const auto& v : r.network.values)
    if (v.quant && !v.constant) CHECK(v.quant->type == (v.name == "a" ? dtype::u16 : dtype::u8));
  const auto p = lower(r.network, kernels::reference_kernels());
  for (const auto& s : p.steps)
    if (s.macs) CHECK(s.integer);
  auto report = make_report("m", p);
  add(report, r.network);
  add(report, r.recovery);
  const auto shown = text(report);
  CHECK(shown.find("products: differ\n") != std::string::npos);
  CHECK(shown.find("1 values have 16-bit codes: the file needs opset 21") != std::string::npos);
}

TEST_CASE("no layer reads 16 bits where none may, or where the error is small") {
  const auto g = ptq_test::cancelling();
  const auto& table = kernels::reference_kernels();
  CHECK(!wide_step_of(quantize(g, table, images(32), asked(0))));
  CHECK(!wide_step_of(quantize(g, table, images(32), asked(0.001))));
  auto o = asked(0.2);
  o.effort.enough_db = -40;
  CHECK(!wide_step_of(quantize(g, table, images(32), o)));
  o = asked(0.2);
  o.activations.bits = 16;
  CHECK(!wide_step_of(quantize(g, table, images(32), o)));
}

TEST_CASE("the file has opset 21 only with a 16-bit value, and is the same program") {
  const auto g = ptq_test::cancelling();
  const auto& table = kernels::reference_kernels();
  const auto narrow = quantize(g, table, images(32), asked(0)).network;
  const auto wide = quantize(g, table, images(32), asked(0.2)).network;
  CHECK(onnx::opset_for(narrow) < 21);
  CHECK(onnx::opset_for(wide) == 21);
  const auto bytes = export_onnx(wide);
  const auto back = import_onnx(std::as_bytes(std::span(bytes)));
  runner a(wide, table), b(back, table);
  auto data = images(3);
  for (auto s = data.next(); s; s = data.next()) {
    const auto x = a.run(*s)[0], y = b.run(*s)[0];
    CHECK(std::memcmp(x.data(), y.data(), x.byte_count()) == 0);
  }
}

TEST_CASE("with a group go those before it that nothing multiplies") {
  network n;
  const auto x = n.input("x", {1, 3, 12, 12});
  const auto a = n.conv("a", x, 3, 8);
  const auto f = n.unary("f", a, unary_kind::hard_swish);
  const auto b = n.conv("b", f, 8, 8);
  const auto s = n.binary("s", b, f, binary_kind::add);
  n.output(n.conv("y", s, 8, 4));
  const auto all = bundles_of(n.done());
  const auto* of_b = bundle_of(all, "b");
  REQUIRE(of_b);
  CHECK(of_b->values == names{"a", "f"});
  CHECK(of_b->readers == names{"b"});
  CHECK(of_b->layers == names{"a", "b"});
  // The sum's: b's results, but not f, which b multiplies.
  const auto* of_y = bundle_of(all, "y");
  REQUIRE(of_y);
  CHECK(of_y->values == names{"b", "s"});
  CHECK(of_y->layers == names{"b", "y"});
}

TEST_CASE("what a product of two activations reads stays at 8 bits") {
  network n;
  const auto x = n.input("x", {1, 4, 6, 6});
  const auto a = n.conv("a", x, 4, 4);
  n.output(n.product("p", a, a));
  n.output(n.conv("y", a, 4, 4));
  const auto all = bundles_of(n.done());
  CHECK(!bundle_of(all, "y"));
  CHECK(bundle_of(all, "a"));
}

TEST_CASE("bundles are chosen within the share of products that may be") {
  const auto g = ptq_test::cancelling();
  const auto& table = kernels::reference_kernels();
  const quantize_options o;
  const auto q = quantize(g, table, images(16), o).network;
  const auto macs = recovering::macs_of(q, *images(1).at(0), table);
  const recovering::held_back judge(g, table, kept_samples(images(8), 8, 1 << 20), 1, 1 << 20);
  const auto bundles = bundles_of(g);
  const auto chosen = [&](recovering::relief_limits limits) {
    return recovering::wide_search(q, bundles, macs, judge).run(limits);
  };
  const auto some = chosen({.share = 0.2, .enough = 0});
  CHECK(some.readers.contains("differ"));
  CHECK(some.macs > 0);
  CHECK(some.macs <= 0.2);
  CHECK(chosen({.share = 0.001, .enough = 0}).values.empty());
  CHECK(chosen({.share = 1, .enough = 1e9}).values.empty());
}
