// SPDX-License-Identifier: Apache-2.0
// Lowering a network for other extents packs no weights again, and gives the bits of a fresh program.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "quantize/network.hpp"
#include "support/samples.hpp"

namespace {

using namespace ptq;

/// Five layers with weights, for any batch and plane.
graph free_network() {
  ptq_test::network n;
  const auto a = n.conv("a", n.input("x", {1, 3, 12, 12}), 3, 32, ptq_test::positive, 3);
  op::conv depthwise;
  depthwise.groups = 32;
  depthwise.win.kernel = {3, 3};
  depthwise.win.pads = {1, 1, 1, 1};
  const auto d = n.add("d", depthwise, {a, n.random("d.w", {32, 1, 3, 3}), n.random("d.b", {32})});
  const auto b = n.binary("b", n.conv("c", d, 32, 32, {}, 3), a, binary_kind::add);
  const auto e = n.conv("e", b, 32, 20, ptq_test::positive);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", e)), 20, 10));
  return n.done();
}

program lowered(graph g, const kernels::kernel_table& table, const shape& dims, packed_weights* packed) {
  g[g.inputs[0]].dims = {-1, 3, -1, -1};
  lower_options o;
  o.input_shapes = {{"x", dims}};
  o.fast_float = false;
  o.packed = packed;
  return lower(std::move(g), table, o);
}

}  // namespace

TEST_CASE("other extents pack nothing and give the bits of a fresh program") {
#ifdef PTQ_TEST_DISPATCH
  const graph real = free_network();
  const graph integer = quantize(real, dispatched_kernels(), ptq_test::images(2, {1, 3, 12, 12})).network;
  for (const auto* table : available_kernels())
    for (const auto* g : {&real, &integer}) {
      INFO(table->isa << (g == &integer ? " integer" : " float"));
      packed_weights packed;
      std::size_t once = 0;
      for (const shape& dims : {shape{1, 3, 12, 12}, shape{2, 3, 12, 12}, shape{1, 3, 17, 9}, shape{3, 3, 5, 31}}) {
        INFO(dims.text());
        const auto fresh = lowered(*g, *table, dims, nullptr), again = lowered(*g, *table, dims, &packed);
        if (once == 0) once = packed.packed();
        CHECK(once == 5);
        CHECK(packed.packed() == once);
        const std::vector<tensor> x{ptq_test::normal(dims, 9)};
        const auto want = execute(fresh, x)[0], have = execute(again, x)[0];
        REQUIRE(want.byte_count() == have.byte_count());
        CHECK(std::memcmp(want.data(), have.data(), want.byte_count()) == 0);
      }
    }
#endif
}

TEST_CASE("packed weights outlive what they were first packed for, and differ where weights do") {
#ifdef PTQ_TEST_DISPATCH
  const auto& table = dispatched_kernels();
  graph g = free_network();
  packed_weights packed;
  lowered(g, table, {1, 3, 12, 12}, &packed);  // gone at once
  const auto p = lowered(g, table, {1, 3, 8, 8}, &packed);
  CHECK(packed.packed() == 5);
  for (auto& v : g.values)
    if (v.name == "c.w") v.constant->mutable_view<float>()[5] += 1;
  const std::vector<tensor> x{ptq_test::normal({1, 3, 8, 8}, 9)};
  const auto changed = execute(lowered(g, table, {1, 3, 8, 8}, &packed), x)[0];
  CHECK(packed.packed() == 6);
  CHECK(std::memcmp(changed.data(), execute(lowered(g, table, {1, 3, 8, 8}, nullptr), x)[0].data(), changed.byte_count()) == 0);
  CHECK(std::memcmp(changed.data(), execute(p, x)[0].data(), changed.byte_count()) != 0);
#endif
}

#ifdef PTQ_TEST_DISPATCH
namespace {

/// A convolution whose sums times multipliers leave int32, as its own entry and as a saved program makes it.
void check_amplifying(const kernels::conv_geometry& g, const kernels::kernel_table& table) {
  const std::vector<std::int8_t> weights(static_cast<std::size_t>(lowering::weight_count(g)), 127);
  const std::vector<std::uint8_t> x(static_cast<std::size_t>(g.batch * g.in_h * g.in_w * g.in_c), 255);
  const std::vector<float> multiplier(static_cast<std::size_t>(g.out_c), 1e4f);
  kernels::qconv_args a{.geometry = g, .weights = weights.data(), .epilogue = {.multiplier = multiplier}};
  const auto run = [&](const kernels::prepared& p) {
    std::vector<std::uint8_t> y(static_cast<std::size_t>(g.batch * g.out_h * g.out_w * g.out_c), 1);
    kernels::operands io;
    io.src[0] = x.data();
    io.dst = y.data();
    p.run(p.object.get(), io, allocate_aligned(p.scratch).get(), {0, p.units});
    return y;
  };
  const std::vector<std::uint8_t> expected(static_cast<std::size_t>(g.batch * g.out_h * g.out_w * g.out_c), 255);
  const auto made = table.qconv(a);
  CHECK(run(made) == expected);
  REQUIRE(made.packed.data);
  const auto recipe = lowering::recipe_of(&kernels::kernel_table::qconv, a, made);
  auto saved = *static_cast<const kernels::qconv_args*>(recipe->arguments.get());
  CHECK(saved.epilogue.multiplier.empty());
  saved.packed = made.packed;
  CHECK(run(table.qconv(saved)) == expected);
}

}  // namespace

TEST_CASE("sums that leave int32 when multiplied saturate where packed memory stands for the multipliers") {
  const kernels::conv_geometry matrix{.in_w = 40, .in_c = 64, .out_w = 40, .out_c = 32};
  const kernels::conv_geometry three{.in_h = 12, .in_w = 12, .in_c = 64, .out_h = 10, .out_w = 10, .out_c = 64,
                                     .kernel_h = 3, .kernel_w = 3};
  kernels::conv_geometry depthwise = three;
  depthwise.groups = 64;
  for (const auto* table : available_kernels())
    for (const auto& g : {matrix, three, depthwise}) {
      INFO(table->isa << " " << g.kernel_h << "x" << g.kernel_w << " groups " << g.groups);
      check_amplifying(g, *table);
    }
}
#endif
