// SPDX-License-Identifier: Apache-2.0
#include "exact.hpp"

#include <array>

using namespace ptq;
using namespace ptq::kernels;
using namespace ptq_test;

namespace {

/// extent, source stride, destination stride of each dimension
copy_args dims(std::initializer_list<std::array<std::int64_t, 3>> list) {
  copy_args c;
  c.rank = static_cast<int>(list.size());
  std::size_t i = 0;
  for (const auto& d : list) {
    c.extent[i] = d[0];
    c.src_stride[i] = d[1];
    c.dst_stride[i++] = d[2];
  }
  return c;
}

/// Elements that a side spans, its offset placed so that negative strides stay inside.
std::int64_t span_of(const copy_args& c, const std::array<std::int64_t, 8>& stride,
                     std::int64_t& offset) {
  std::int64_t low = 0, high = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(c.rank); ++i) {
    const std::int64_t reach = (c.extent[i] - 1) * stride[i];
    (reach < 0 ? low : high) += reach;
  }
  offset = -low;
  return high - low + 1;
}

void check(copy_args c, const std::string& what) {
  const std::int64_t from = span_of(c, c.src_stride, c.src_offset);
  const std::int64_t to = span_of(c, c.dst_stride, c.dst_offset);
  for (const int bytes : {1, 2, 4, 8}) {
    c.element_bytes = bytes;
    const auto src = codes(from * bytes, 41);
    equals_reference<std::uint8_t>(&kernel_table::copy, c, {src.data()}, to * bytes,
                                   what + ", bytes " + std::to_string(bytes));
  }
}

}  // namespace

TEST_CASE("copies equal the reference for runs, gaps, repeats and flips of every size") {
  for (const auto n : awkward_sizes()) {
    check(dims({{n, 1, 1}}), "contiguous");
    check(dims({{n, 2, 1}}), "every other element");
    check(dims({{n, 0, 1}}), "repeat");
    check(dims({{n, -1, 1}}), "flip");
    check(dims({{n, 1, 3}}), "scatter");
    check(dims({{3, n + 2, n}, {n, 1, 1}}), "rows with gaps");
    check(dims({{3, 0, n}, {n, 1, 1}}), "repeated rows");
  }
}

TEST_CASE("transposes equal the reference at tile edges") {
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 15, 16, 17, 33, 64, 65})
    for (const std::int64_t columns : {1, 3, 4, 7, 16, 17, 31, 50}) {
      check(dims({{rows, 1, columns}, {columns, rows, 1}}), "transpose");
      check(dims({{2, rows * columns, rows * columns}, {rows, 1, columns}, {columns, rows, 1}}),
            "batch of transposes");
      check(dims({{rows, 1, columns + 3}, {columns, rows + 2, 1}}), "transpose with gaps");
    }
}

TEST_CASE("permutations of four dimensions equal the reference") {
  const std::array<std::int64_t, 4> extent = {3, 5, 18, 20};
  std::array<std::size_t, 4> order = {0, 1, 2, 3};
  do {
    std::array<std::int64_t, 4> src{}, dst{};
    std::int64_t s = 1, d = 1;
    for (std::size_t i = 4; i-- > 0;) {
      src[i] = s;
      s *= extent[i];
      dst[order[i]] = d;
      d *= extent[order[i]];
    }
    copy_args c = dims({{extent[0], src[0], dst[0]},
                        {extent[1], src[1], dst[1]},
                        {extent[2], src[2], dst[2]},
                        {extent[3], src[3], dst[3]}});
    check(c, "permutation");
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a transposing copy puts each element in its place") {
  const std::vector<std::uint8_t> src = {1, 2, 3, 4, 5, 6};  // 2 × 3
  auto c = dims({{2, 3, 1}, {3, 1, 2}});
  c.element_bytes = 1;
  auto got = run_parts<std::uint8_t>(reference_kernels().copy(c), {src.data()}, 6, 1);
  got.resize(6);
  CHECK(got == std::vector<std::uint8_t>{1, 4, 2, 5, 3, 6});
}

TEST_CASE("an empty copy has nothing to do") {
  for (const auto* table : available_kernels()) {
    if (!table->copy) continue;
    CHECK(table->copy(dims({{0, 1, 1}})).units == 0);
    CHECK(table->copy(dims({{3, 0, 0}, {0, 1, 1}})).units == 0);
    CHECK(table->copy(dims({{0, 1, 4}, {4, 0, 1}})).units == 0);
  }
}
