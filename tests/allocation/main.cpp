// SPDX-License-Identifier: Apache-2.0
// No kernel allocates: every entry of every table that this CPU runs, with malloc counted. A program of its own,
// because it replaces malloc.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/dispatch.hpp>

namespace {
std::size_t allocations = 0;
}

// glibc's own, under the name that is free to be replaced; operator new ends here too
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t n) {
  ++allocations;
  return __libc_malloc(n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  ++allocations;
  return __libc_memalign(alignment, n);
}
}

namespace {

using namespace ptq;
using namespace ptq::kernels;

/// Sources and a destination that are large enough for any case below.
struct buffers {
  std::vector<float> a = std::vector<float>(1 << 16, 0.5f), b = a, y = a;
  operands io() { return {.src = {a.data(), b.data()}, .dst = y.data()}; }
};

template <class Args>
void check(entry<Args> kernel_table::*field, const Args& args, const char* what) {
  buffers data;
  const operands io = data.io();
  for (const kernel_table* table : available_kernels()) {
    if (!(table->*field)) continue;
    const prepared p = (table->*field)(args);
    const auto scratch = allocate_aligned(p.scratch);
    const std::size_t before = allocations;
    p.run(p.object.get(), io, scratch.get(), {0, p.units});
    const std::size_t after = allocations;
    CHECK_MESSAGE(after == before, std::string(table->isa) << " " << what << " " << p.name);
  }
}

conv_geometry square(std::int64_t side, std::int64_t in, std::int64_t out, std::int64_t kernel,
                     std::int64_t groups = 1) {
  conv_geometry g;
  g.in_h = g.in_w = g.out_h = g.out_w = side;
  g.in_c = in;
  g.out_c = out;
  g.kernel_h = g.kernel_w = kernel;
  g.pad_top = g.pad_left = kernel / 2;
  g.groups = groups;
  return g;
}

TEST_CASE("malloc is counted") {
  const std::size_t before = allocations;
  const std::vector<int> v(100);
  CHECK(v.size() == 100);
  CHECK(allocations > before);
}

TEST_CASE("no integer product allocates") {
  const float multiplier[1] = {0.001f};
  for (const int weight : {1, 127}) {  // pairs that fit 16 bits, and pairs that don't
    const std::vector<std::int8_t> weights(100000, static_cast<std::int8_t>(weight));
    for (const conv_geometry& g :
         {square(9, 21, 37, 1), square(9, 21, 37, 3), square(9, 3, 20, 3), square(9, 24, 12, 3, 4),
          square(9, 6, 6, 3, 3), square(9, 33, 33, 3, 33), square(9, 20, 20, 5, 20),
          square(9, 10, 20, 3, 10)})
      for (const bool reals : {false, true}) {
        qconv_args a{.geometry = g, .weights = weights.data(), .x_zero_point = 3, .epilogue = {}};
        a.epilogue.multiplier = multiplier;
        a.epilogue.to_float = reals;
        check(&kernel_table::qconv, a, "qconv");
      }
  }
  const std::int64_t offset[1] = {0};
  for (const bool transposed : {false, true}) {
    qmatmul_args a{.m = 7,
                   .n = 33,
                   .k = 19,
                   .a_trans = transposed,
                   .b_trans = transposed,
                   .a_offset = offset,
                   .b_offset = offset,
                   .b_zero_point = 9,
                   .epilogue = {}};
    a.epilogue.multiplier = multiplier;
    check(&kernel_table::qmatmul, a, "qmatmul");
  }
}

TEST_CASE("no elementwise kernel allocates") {
  constexpr std::int64_t n = 1009;
  check(&kernel_table::quantize, quantize_args{.size = n, .scale = 0.1f}, "quantize");
  check(&kernel_table::dequantize, dequantize_args{.size = n, .scale = 0.1f}, "dequantize");
  check(&kernel_table::lookup, lookup_args{.columns = n}, "lookup");
  check(&kernel_table::unary, unary_args{.kind = unary_kind::gelu, .size = n}, "unary");
  broadcast over;
  over.extent[0] = n;
  over.a_stride[0] = over.b_stride[0] = 1;
  check(&kernel_table::qbinary, qbinary_args{.over = over}, "qbinary");
  check(&kernel_table::binary, binary_args{.over = over}, "binary");
  check(&kernel_table::softmax, softmax_args{.outer = 7, .size = 31, .inner = 3}, "softmax");
  check(&kernel_table::layer_norm, layer_norm_args{.rows = 7, .size = 31}, "layer_norm");
  check(&kernel_table::reduce, reduce_args{.outer = 7, .size = 31, .inner = 3}, "reduce");
  copy_args c;
  c.extent[0] = n;
  c.src_stride[0] = c.dst_stride[0] = 1;
  c.rank = 1;
  check(&kernel_table::copy, c, "copy");
}

TEST_CASE("no pool and no float product allocates") {
  const std::vector<float> weights(100000, 0.5f);
  for (const bool average : {false, true})
    check(&kernel_table::qpool, qpool_args{.average = average, .geometry = square(9, 21, 21, 3)},
          "qpool");
  check(&kernel_table::pool, pool_args{.geometry = square(9, 21, 21, 3)}, "pool");
  for (const conv_geometry& g : {square(9, 21, 37, 3), square(9, 33, 33, 3, 33)})
    check(&kernel_table::conv, conv_args{.geometry = g, .weights = weights.data()}, "conv");
  const std::int64_t offset[1] = {0};
  check(&kernel_table::matmul,
        matmul_args{
            .m = 7, .n = 33, .k = 19, .a_offset = offset, .b_offset = offset, .b = weights.data()},
        "matmul");
}

}  // namespace

int main(int argc, char** argv) { return doctest::Context(argc, argv).run(); }
