// SPDX-License-Identifier: Apache-2.0
// Every table's product of two activations against the reference, byte for byte, in buffers of
// exact size.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference/integer_conv.hpp>

namespace {

using namespace ptq;
using namespace ptq::kernels;

struct problem {
  std::int64_t batch = 1, m = 1, n = 1, k = 1;
  bool a_trans = false, b_trans = false, to_float = false, extreme = false;
  int a_zero_point = 117, b_zero_point = 131;
  bool repeat_b = false;  // every batch item reads the same b
};

void run_split(const prepared& p, const operands& io, int workers) {
  for (int w = 0; w < workers; ++w) {
    std::unique_ptr<std::byte[]> scratch(new std::byte[p.scratch + 64]);
    const auto at = reinterpret_cast<std::uintptr_t>(scratch.get());
    std::memset(scratch.get(), 0xa5, p.scratch + 64);
    p.run(p.object.get(), io, scratch.get() + (64 - at % 64) % 64, share_of(p.units, w, workers));
  }
}

void check(const problem& q) {
  std::mt19937 random(7);
  const auto fill = [&](std::int64_t size) {
    std::unique_ptr<std::uint8_t[]> x(new std::uint8_t[static_cast<std::size_t>(size)]);
    for (std::int64_t i = 0; i < size; ++i)
      x[static_cast<std::size_t>(i)] =
          static_cast<std::uint8_t>(q.extreme ? (random() % 2 ? 255 : 0) : random() % 256);
    return x;
  };
  const auto a = fill(q.batch * q.m * q.k);
  const auto b = fill((q.repeat_b ? 1 : q.batch) * q.k * q.n);
  std::vector<std::int64_t> a_offset, b_offset;
  for (std::int64_t i = 0; i < q.batch; ++i) {
    a_offset.push_back((q.batch - 1 - i) * q.m * q.k);  // any order
    b_offset.push_back(q.repeat_b ? 0 : i * q.k * q.n);
  }
  const float multiplier[1] = {0.005f / std::sqrt(static_cast<float>(q.k))};
  qmatmul_args args{
      .m = q.m,
      .n = q.n,
      .k = q.k,
      .a_trans = q.a_trans,
      .b_trans = q.b_trans,
      .a_offset = a_offset,
      .b_offset = b_offset,
      .a_zero_point = q.a_zero_point,
      .b_zero_point = q.b_zero_point,
      .epilogue = {.multiplier = multiplier, .zero_point = 99, .low = 3, .high = 251}};
  args.epilogue.to_float = q.to_float;
  const auto size = static_cast<std::size_t>(q.batch * q.m * q.n) * (q.to_float ? 4 : 1);
  std::unique_ptr<std::byte[]> expected(new std::byte[size]), y(new std::byte[size]);
  operands io;
  io.src = {a.get(), b.get()};
  io.dst = expected.get();
  run_split(reference::qmatmul(args), io, 1);
  for (const kernel_table* table : available_kernels()) {
    const prepared p = table->qmatmul(args);
    for (const int workers : {1, 2, 3}) {
      std::memset(y.get(), 0x5a, size);
      io.dst = y.get();
      run_split(p, io, workers);
      const bool same = std::memcmp(y.get(), expected.get(), size) == 0;
      CHECK_MESSAGE(same, std::string(table->isa) << ": batch " << q.batch << " m " << q.m << " n "
                                                  << q.n << " k " << q.k << " trans " << q.a_trans
                                                  << q.b_trans << ", " << workers << " workers");
    }
  }
}

TEST_CASE("a product of activations equals the reference at every edge of a tile") {
  for (const bool a_trans : {false, true})
    for (const bool b_trans : {false, true}) {
      for (const std::int64_t m : {1, 5, 6, 7, 12, 13, 49})
        check({.batch = 2, .m = m, .n = 37, .k = 19, .a_trans = a_trans, .b_trans = b_trans});
      for (const std::int64_t n : {1, 7, 8, 9, 15, 16, 17, 48, 63, 64, 65, 129})
        check({.batch = 3, .m = 7, .n = n, .k = 20, .a_trans = a_trans, .b_trans = b_trans});
      for (const std::int64_t k : {1, 2, 3, 4, 5, 6, 7, 8, 64, 67, 131})
        check({.m = 9, .n = 21, .k = k, .a_trans = a_trans, .b_trans = b_trans});
    }
}

TEST_CASE("a product of activations of many rows equals the reference at every edge of a tile") {
  for (const bool trans : {false, true})
    for (const std::int64_t edge : {16, 17, 20, 32, 33, 65, 197}) {
      check({.batch = 2, .m = edge, .n = 37, .k = 64, .a_trans = trans, .b_trans = !trans});
      check({.m = 21, .n = edge, .k = 67, .a_trans = trans, .b_trans = trans});
      check({.m = 36, .n = 64, .k = edge + 16, .a_trans = trans, .b_trans = trans});
    }
}

TEST_CASE("a product of activations is exact at the ends of the codes") {
  for (const int za : {0, 255})
    for (const int zb : {0, 128, 255})
      check({.m = 8, .n = 66, .k = 1003, .extreme = true, .a_zero_point = za, .b_zero_point = zb});
}

TEST_CASE("a product of activations may be stored as floats") {
  check({.batch = 4, .m = 13, .n = 70, .k = 64, .to_float = true});
  check({.batch = 4,
         .m = 13,
         .n = 70,
         .k = 64,
         .b_trans = true,
         .to_float = true,
         .b_zero_point = 128});
}

TEST_CASE("batch items may share one operand") {
  check({.batch = 5, .m = 6, .n = 18, .k = 10, .repeat_b = true});
}

}  // namespace
