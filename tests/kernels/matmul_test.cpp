// SPDX-License-Identifier: Apache-2.0
// Float matrix product: the reference against values worked out by hand, every table against the
// reference to the bit.

#include <numeric>
#include <string>

#include <doctest/doctest.h>

#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference/float_conv.hpp>

#include "float_support.hpp"

using ptq::kernels::matmul_args;

namespace {

struct product {
  std::int64_t m = 1, n = 1, k = 1;
  bool a_trans = false, b_trans = false, constant = true, bias = true, wild = false;
  std::vector<std::int64_t> a_offset = {}, b_offset = {};
  ptq::clamp act = {};
};

std::int64_t extent(const std::vector<std::int64_t>& offset, std::int64_t size) {
  std::int64_t last = 0;
  for (std::int64_t o : offset) last = std::max(last, o);
  return last + size;
}

void same_as_reference(const product& p) {
  const auto a = ptq_test::numbers(extent(p.a_offset, p.m * p.k), 1, p.wild);
  const auto b = ptq_test::numbers(extent(p.b_offset, p.k * p.n), 2, p.wild);
  const auto bias = ptq_test::numbers(p.n, 3, p.wild);
  const matmul_args args{.m = p.m,
                         .n = p.n,
                         .k = p.k,
                         .a_trans = p.a_trans,
                         .b_trans = p.b_trans,
                         .a_offset = p.a_offset,
                         .b_offset = p.b_offset,
                         .b = p.constant ? b.data() : nullptr,
                         .bias = p.bias ? bias.data() : nullptr,
                         .act = p.act};
  std::vector<std::span<const float>> src = {a};
  if (!p.constant) src.push_back(b);
  const auto batch =
      static_cast<std::int64_t>(std::max({p.a_offset.size(), p.b_offset.size(), std::size_t{1}}));
  const std::int64_t size = batch * p.m * p.n;
  const auto expected = ptq_test::run(ptq::kernels::reference::matmul(args), src, size, 1);
  for (const ptq::kernels::kernel_table* table : ptq::available_kernels()) {
    if (!table->matmul) continue;
    for (int parts : {1, 2, 3}) {
      INFO(table->isa << " in " << parts << " parts: " << p.m << "x" << p.n << "x" << p.k
                      << " trans " << p.a_trans << p.b_trans << " constant " << p.constant);
      CHECK(ptq_test::first_difference(ptq_test::run(table->matmul(args), src, size, parts),
                                       expected) == -1);
    }
  }
}

}  // namespace

TEST_CASE("the reference product gives what is worked out by hand, transposed or not") {
  const float a[] = {1, 2, 3, 4, 5, 6}, a_t[] = {1, 4, 2, 5, 3, 6};
  const float b[] = {1, 0, 2, 1, 0, 3}, b_t[] = {1, 2, 0, 0, 1, 3};
  const float bias[] = {0.5f, -100};
  for (bool at : {false, true})
    for (bool bt : {false, true})
      for (bool constant : {false, true}) {
        const float* right = bt ? b_t : b;
        const auto c = ptq_test::run(
            ptq::kernels::reference::matmul({.m = 2,
                                             .n = 2,
                                             .k = 3,
                                             .a_trans = at,
                                             .b_trans = bt,
                                             .b = constant ? right : nullptr,
                                             .bias = bias,
                                             .act = {.low = -85}}),
            {std::span<const float>(at ? a_t : a, 6), std::span<const float>(right, 6)}, 4, 1);
        CHECK(c == std::vector<float>{5.5f, -85, 14.5f, -77});
      }
}

TEST_CASE("products equal the reference at the edges of tiles, for every layout") {
  for (std::int64_t m : {1, 2, 6, 7, 13, 14, 15, 113})
    for (std::int64_t n : {1, 8, 9, 16, 17, 31, 32, 33, 67})
      for (int trans = 0; trans < 4; ++trans)
        for (bool constant : {false, true})
          same_as_reference({.m = m,
                             .n = n,
                             .k = 11,
                             .a_trans = (trans & 1) != 0,
                             .b_trans = (trans & 2) != 0,
                             .constant = constant});
  for (std::int64_t k : {1, 255, 256, 257, 515})
    for (bool trans : {false, true})
      for (bool constant : {false, true})
        same_as_reference(
            {.m = 15, .n = 131, .k = k, .a_trans = trans, .b_trans = trans, .constant = constant});
}

TEST_CASE("a vector times a matrix equals the reference") {
  for (std::int64_t n : {63, 64, 65, 95, 97, 112, 113, 127, 128, 129, 160, 1000})
    for (bool constant : {false, true})
      same_as_reference({.m = 1, .n = n, .k = 300, .constant = constant});
}

TEST_CASE("a long k bounds the columns packed at a time") {
  same_as_reference({.m = 3, .n = 150, .k = 5000, .constant = false});
  same_as_reference({.m = 3, .n = 40, .k = 20000, .b_trans = true, .constant = false});
}

TEST_CASE("batches read where their offsets say") {
  const std::int64_t m = 5, n = 19, k = 7;
  for (bool constant : {false, true}) {
    same_as_reference({.m = m,
                       .n = n,
                       .k = k,
                       .constant = constant,
                       .a_offset = {0, m * k, 2 * m * k, 3 * m * k},
                       .b_offset = {0, 0, 0, 0}});
    same_as_reference({.m = m,
                       .n = n,
                       .k = k,
                       .constant = constant,
                       .a_offset = {0, m * k, 2 * m * k},
                       .b_offset = {0, k * n, 2 * k * n}});
    same_as_reference({.m = m,
                       .n = n,
                       .k = k,
                       .constant = constant,
                       .a_offset = {35, 0, 0, 70},
                       .b_offset = {k * n, 0, k * n, 0}});
    same_as_reference({.m = m,
                       .n = n,
                       .k = k,
                       .a_trans = true,
                       .constant = constant,
                       .a_offset = {0, m * k},
                       .b_offset = {0, 0}});
    same_as_reference({.m = m, .n = n, .k = k, .constant = constant, .a_offset = {0, m * k}});
  }
}

TEST_CASE("no terms leave the bias, bounded") {
  same_as_reference({.m = 3, .n = 5, .k = 0, .act = {.low = 0}});
  same_as_reference({.m = 0, .n = 5, .k = 2});
  same_as_reference({.m = 3, .n = 0, .k = 2, .constant = false});
}

TEST_CASE("bounds, a missing bias and numbers far apart give the reference's bits") {
  same_as_reference({.m = 9, .n = 35, .k = 40, .bias = false});
  same_as_reference({.m = 9, .n = 35, .k = 40, .act = {.low = 0, .high = 1}});
  for (std::int64_t k : {1, 2, 3, 300})
    same_as_reference({.m = 40, .n = 100, .k = k, .wild = true});
}
