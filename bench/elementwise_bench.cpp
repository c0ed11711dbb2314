// SPDX-License-Identifier: Apache-2.0
// Kernels that are bound by memory: their measure is the share of the speed of a copy.

#include <array>
#include <string>

#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference.hpp>

#include "measure.hpp"
#include "shapes.hpp"

namespace {

using namespace ptq;
using ptq_bench::subject;

/// One kernel over n elements: sources, a result, and the entry's arguments.
template <class Args>
struct element_data {
  Args args;
  std::vector<tensor> src;
  tensor result, expected;

  subject over(kernels::entry<Args> make, kernels::entry<Args> reference) {
    kernels::operands io;
    double bytes = static_cast<double>(result.byte_count());
    for (std::size_t i = 0; i < src.size(); ++i) {
      io.src[i] = src[i].data();
      bytes += static_cast<double>(src[i].byte_count());
    }
    io.dst = expected.mutable_data();
    ptq_bench::run_once(reference(args), io);
    subject s;
    if (make) s.kernel = make(args);
    io.dst = result.mutable_data();
    s.io = io;
    s.result = &result;
    s.expected = &expected;
    s.work.bytes = bytes;
    return s;
  }
};

/// Registers the kernel for every size, with the best table and the reference.
template <class Args, class Make>
void add_kernel(const std::string& what, kernels::entry<Args> kernels::kernel_table::*field,
                Make make) {
  for (const std::int64_t n : ptq_bench::element_counts) {
    const std::string name = what + "/" + std::to_string(n) + "/";
    for (const auto* table : {available_kernels().front(), &kernels::reference_kernels()}) {
      const bool slow = table == &kernels::reference_kernels();
      ptq_bench::add(
          name + table->isa,
          [=](benchmark::State& state) {
            element_data<Args> d = make(n);
            ptq_bench::measure(state, d.over(table->*field, kernels::reference_kernels().*field));
          },
          slow);
    }
  }
}

tensor codes(std::int64_t n, std::uint32_t seed) { return ptq_bench::random_codes({n}, seed); }
tensor reals(std::int64_t n, std::uint32_t seed) { return ptq_bench::random_reals({n}, seed); }

kernels::broadcast same_extents(std::int64_t n) {
  kernels::broadcast over;
  over.extent[0] = n;
  over.a_stride[0] = over.b_stride[0] = 1;
  return over;
}

template <class Args>
element_data<Args> data_for(Args args, std::vector<tensor> src, dtype result) {
  const shape dims = src[0].dims();
  return {std::move(args), std::move(src), tensor(result, dims), tensor(result, dims)};
}

void register_all(int, char**) {
  add_kernel<kernels::quantize_args>(
      "quantize", &kernels::kernel_table::quantize, [](std::int64_t n) {
        return data_for(kernels::quantize_args{.size = n, .scale = 0.0078f, .zero_point = 128},
                        {reals(n, 1)}, dtype::u8);
      });
  add_kernel<kernels::dequantize_args>(
      "dequantize", &kernels::kernel_table::dequantize, [](std::int64_t n) {
        return data_for(kernels::dequantize_args{.size = n, .scale = 0.0078f, .zero_point = 128},
                        {codes(n, 1)}, dtype::f32);
      });
  add_kernel<kernels::lookup_args>("lookup", &kernels::kernel_table::lookup, [](std::int64_t n) {
    kernels::lookup_args a;
    a.columns = n;
    for (std::size_t i = 0; i < a.table.size(); ++i)
      a.table[i] = static_cast<std::uint8_t>(255 - i);
    return data_for(a, {codes(n, 1)}, dtype::u8);
  });
  for (const auto kind : {kernels::qbinary_args::kind::add, kernels::qbinary_args::kind::mul}) {
    const bool add = kind == kernels::qbinary_args::kind::add;
    add_kernel<kernels::qbinary_args>(add ? "int8 add" : "int8 mul",
                                      &kernels::kernel_table::qbinary, [=](std::int64_t n) {
                                        kernels::qbinary_args a;
                                        a.what = kind;
                                        a.over = same_extents(n);
                                        a.a_zero_point = a.b_zero_point = a.zero_point = 128;
                                        a.multiplier = 0.0078125f;
                                        a.sum = add_rule_of(0.5f, 128, 0.75f, 128, 1, 128);
                                        return data_for(a, {codes(n, 1), codes(n, 2)}, dtype::u8);
                                      });
  }
  add_kernel<kernels::binary_args>("float add", &kernels::kernel_table::binary, [](std::int64_t n) {
    return data_for(kernels::binary_args{.kind = binary_kind::add, .over = same_extents(n)},
                    {reals(n, 1), reals(n, 2)}, dtype::f32);
  });
  for (const auto& [name, kind] :
       {std::pair("gelu", unary_kind::gelu), std::pair("sigmoid", unary_kind::sigmoid)})
    add_kernel<kernels::unary_args>(name, &kernels::kernel_table::unary, [=](std::int64_t n) {
      return data_for(kernels::unary_args{.kind = kind, .size = n}, {reals(n, 1)}, dtype::f32);
    });
}

}  // namespace

int main(int argc, char** argv) { return ptq_bench::run_all(argc, argv, register_all); }
