// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>

#include <ptq/faster_float.hpp>
#include <ptq/kernels/reference.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "quantize/network.hpp"
#include "support/samples.hpp"

namespace {

using namespace ptq;

/// A kernel that takes five milliseconds more.
kernels::prepared slowed(kernels::prepared k) {
  kernels::prepared slow = k;
  slow.packed = {};
  slow.units = 1;
  slow.object = std::make_shared<const kernels::prepared>(std::move(k));
  slow.run = [](const void* object, const kernels::operands& io, std::byte* scratch, work_range) {
    const auto& inner = *static_cast<const kernels::prepared*>(object);
    inner.run(inner.object.get(), io, scratch, {0, inner.units});
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
    while (std::chrono::steady_clock::now() < end) {
    }
  };
  return slow;
}

/// A machine that is bad at integers for 24 channels, and at reals for 16.
kernels::kernel_table odd_machine() {
  auto t = kernels::reference_kernels();
  t.qconv = [](const kernels::qconv_args& a) {
    auto k = kernels::reference_kernels().qconv(a);
    return a.geometry.out_c == 24 ? slowed(std::move(k)) : k;
  };
  t.conv = [](const kernels::conv_args& a) {
    auto k = kernels::reference_kernels().conv(a);
    return a.geometry.out_c == 16 ? slowed(std::move(k)) : k;
  };
  return t;
}

graph three_layers() {
  ptq_test::network n;
  const auto a = n.conv("a", n.input("x", {1, 3, 6, 6}), 3, 16, ptq_test::positive);
  const auto b = n.conv("b", a, 16, 24, ptq_test::positive);
  n.output(n.conv("c", b, 24, 16, ptq_test::positive));
  return n.done();
}

}  // namespace

TEST_CASE("layers that the machine computes faster in float stay there, with both times as the reason") {
  const auto machine = odd_machine();
  const auto g = three_layers();
  const auto data = ptq_test::images(4, {1, 3, 6, 6});
  const auto found = layers_faster_in_float(g, machine, data, {}, {.repeats = 3});
  REQUIRE(found.layers.size() == 1);
  CHECK(found.layers[0].name == "b");
  CHECK(found.layers[0].int8_us > 5000);
  CHECK(found.layers[0].float_us < 5000);
  CHECK(found.after_us < found.before_us - 4000);
  quantize_options o;
  o.restored = found.scope;
  const auto made = quantize(g, machine, data, o).network;
  const auto p = lower(made, machine);
  for (const auto& s : p.steps) {
    if (s.what != "Conv") continue;
    CHECK(s.integer == (s.node != "b"));
    if (s.node == "b") CHECK(s.note.starts_with("faster in float: "));
  }
  CHECK(note(found).find("\"b\":{\"float_us\":") != std::string::npos);
}

TEST_CASE("nothing stays in float where integers are faster") {
  auto machine = kernels::reference_kernels();
  machine.conv = [](const kernels::conv_args& a) { return slowed(kernels::reference_kernels().conv(a)); };
  const auto found = layers_faster_in_float(three_layers(), machine, ptq_test::images(4, {1, 3, 6, 6}), {}, {.repeats = 3});
  CHECK(found.layers.empty());
  CHECK(found.scope.nodes.empty());
}
