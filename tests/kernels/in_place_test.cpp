// SPDX-License-Identifier: Apache-2.0
// Kernels whose destination may be a source: the bits are those of a destination of its own, on every table.
#include "exact.hpp"

#include <ptq/lower/in_place.hpp>

using namespace ptq;
using namespace ptq::kernels;
using namespace ptq_test;

namespace {

/// Once beside its sources, then over each of those that it may overwrite, in one to three parts.
template <class T, class Args>
void same_in_place(entry<Args> kernel_table::*field, const Args& args, std::vector<std::vector<T>> src,
                   std::uint8_t expected, const std::string& what) {
  const auto may = lowering::overwritable(args);
  CHECK(may == expected);
  std::vector<const kernel_table*> all(available_kernels().begin(), available_kernels().end());
  all.push_back(&reference_kernels());
  const auto size = static_cast<std::int64_t>(src[0].size());
  for (const auto* table : all) {
    if (!(table->*field)) continue;
    const auto k = (table->*field)(args);
    std::vector<const void*> from;
    for (const auto& s : src) from.push_back(s.data());
    const auto want = run_parts<T>(k, from, size, 1);
    for (std::size_t over = 0; over < src.size(); ++over)
      for (int parts : {1, 2, 3}) {
        if (!(may >> over & 1)) continue;
        auto memory = src;
        operands io;
        for (std::size_t i = 0; i < src.size(); ++i) io.src[i] = memory[i].data();
        io.dst = memory[over].data();
        const auto scratch = allocate_aligned(k.scratch);
        for (int part = parts - 1; part >= 0; --part) k.run(k.object.get(), io, scratch.get(), share_of(k.units, part, parts));
        memory[over].resize(want.size());
        auto expect = want;
        std::fill(expect.begin() + size, expect.end(), T{});  // what resize adds
        INFO(table->isa << ", " << what << " over source " << over << ", " << parts << " parts");
        CHECK(first_difference(memory[over], expect) == -1);
      }
  }
}

broadcast dense(std::int64_t rows, std::int64_t columns) {
  broadcast b;
  b.rank = 2;
  b.extent = {rows, columns};
  b.a_stride = b.b_stride = {columns, 1};
  return b;
}

}  // namespace

TEST_CASE("elementwise kernels may write over a source") {
  for (const auto n : awkward_sizes()) {
    const auto at = "size " + std::to_string(n);
    const auto x = reals(n, 60, 3.0f), y = reals(n, 61, 2.0f);
    for (auto kind : {unary_kind::exp, unary_kind::gelu, unary_kind::hard_swish})
      same_in_place<float>(&kernel_table::unary, {.kind = kind, .size = n}, {x}, 1, at);
    const auto over = dense(1, n);
    same_in_place<float>(&kernel_table::binary, {.kind = binary_kind::sub, .over = over, .act = {}}, {x, y}, 3, at);
    qbinary_args sum{.over = over, .a_zero_point = 7, .b_zero_point = 130, .zero_point = 12};
    sum.sum = add_rule_of(0.7f, 7, 0.9f, 130, 1, 12);
    sum.sum.low = 0, sum.sum.high = 255;
    same_in_place<std::uint8_t>(&kernel_table::qbinary, sum, {codes(n, 62), codes(n, 63)}, 3, at);
    lookup_args look;
    look.columns = n;
    for (std::size_t i = 0; i < look.table.size(); ++i) look.table[i] = static_cast<std::uint8_t>(255 - i * 3);
    same_in_place<std::uint8_t>(&kernel_table::lookup, look, {codes(n, 64)}, 1, at);
  }
}

TEST_CASE("a source that repeats or lies otherwise is not written over") {
  auto over = dense(6, 50);
  over.b_stride = {0, 1};
  const auto x = reals(300, 65), row = reals(300, 66);
  same_in_place<float>(&kernel_table::binary, {.kind = binary_kind::mul, .over = over, .act = {}}, {x, row}, 1, "row");
  over.a_stride = {1, 6};
  over.b_stride = {50, 1};
  same_in_place<float>(&kernel_table::binary, {.kind = binary_kind::mul, .over = over, .act = {}}, {x, row}, 2, "transposed");
  lookup_args strided;
  strided.rows = 2;
  strided.columns = 8;
  strided.dst_stride = 16;
  CHECK(lowering::overwritable(strided) == 0);
  CHECK(lowering::overwritable(quantize_args{}) == 0);
}

TEST_CASE("softmax and layer normalisation may write over their source") {
  for (const std::int64_t size : {1, 5, 16, 33, 127, 1000})
    for (const std::int64_t inner : {1, 3, 20})
      for (const bool log : {false, true})
        same_in_place<float>(&kernel_table::softmax, {.outer = 3, .size = size, .inner = inner, .log = log},
                             {reals(3 * size * inner, 67, 4.0f)}, 1, "softmax " + std::to_string(size));
  for (const std::int64_t size : {1, 5, 16, 33, 127, 1000})
    for (const bool rms : {false, true}) {
      const auto scale = reals(size, 68), bias = reals(size, 69);
      same_in_place<float>(&kernel_table::layer_norm,
                           {.rows = 5, .size = size, .rms = rms, .scale = scale.data(), .bias = bias.data()},
                           {reals(5 * size, 70, 3.0f)}, 1, "layer norm " + std::to_string(size));
    }
}
