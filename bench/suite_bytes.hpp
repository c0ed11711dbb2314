#pragma once
// SPDX-License-Identifier: Apache-2.0
// The suite's rows that are bound by memory: quantize, dequantize and look-up beside a copy of as
// many elements, and products of one row beside reading as many bytes as the weights are.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "conv_subject.hpp"

namespace ptq_bench {

#if defined(__x86_64__)
// Unrolled, the sums stay in registers.
#if defined(__clang__)
#define PTQ_BENCH_UNROLL _Pragma("unroll")
#else
#define PTQ_BENCH_UNROLL _Pragma("GCC unroll 4")
#endif

/// Reads with the loads that every x86-64 has widest but AVX-512's.
__attribute__((target("avx2"))) inline std::int64_t sum_wide(const std::uint64_t* p,
                                                             std::size_t n) {
  __m256i sum[4] = {};
  for (std::size_t i = 0; i + 16 <= n; i += 16) {
    PTQ_BENCH_UNROLL
    for (std::size_t j = 0; j < 4; ++j)
      sum[j] = _mm256_add_epi64(
          sum[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i + 4 * j)));
  }
  const __m256i all =
      _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
  return _mm256_extract_epi64(all, 0) + _mm256_extract_epi64(all, 1) +
         _mm256_extract_epi64(all, 2) + _mm256_extract_epi64(all, 3);
}
#endif

inline std::int64_t sum_of(const std::uint64_t* p, std::size_t n) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return sum_wide(p, n);
#endif
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += p[i];
  return static_cast<std::int64_t>(sum);
}

/// Bytes per second of reading a buffer again and again.
inline double read_rate(std::size_t bytes, double seconds) {
  const std::vector<std::uint64_t> from(bytes / 8, 1);
  const auto size = static_cast<double>(bytes);
  return size * call_rate(2e7 / size, seconds, [&] {
           std::int64_t sum = sum_of(from.data(), from.size());
           benchmark::DoNotOptimize(sum);
         });
}

struct bytes_row {
  const char* bench;
  const char* origin;  // where the data lies, or the product's name
  std::string shape;
  double bytes = 0;  // read and written by a call
  double calls = 0;  // per second
  double peer = 0;   // bytes per second
};

inline nlohmann::json json_of(const bytes_row& r, const char* isa) {
  const double rate = r.bytes * r.calls;
  return {{"bench", r.bench},
          {"shape", r.shape},
          {"origin", r.origin},
          {"isa", isa},
          {"gbps", rate * 1e-9},
          {"peer_gbps", r.peer * 1e-9},
          {"share_of_peer", rate / r.peer}};
}

/// Calls per second of an entry's kernel, whose result is compared with the reference's first.
template <class Args>
double checked_rate(const ptq::kernels::kernel_table& table,
                    ptq::kernels::entry<Args> ptq::kernels::kernel_table::*field, const Args& args,
                    const ptq::tensor& x, ptq::tensor y, double bytes, double seconds) {
  ptq::tensor expected = ptq::tensor(y.type(), y.dims());
  const auto& reference = ptq::kernels::reference_kernels();
  run_once((reference.*field)(args), {.src = {x.data()}, .dst = expected.mutable_data()});
  const auto k = (table.*field)(args);
  const ptq::kernels::operands io{.src = {x.data()}, .dst = y.mutable_data()};
  run_once(k, io);
  if (std::memcmp(y.data(), expected.data(), y.byte_count()) != 0)
    throw std::runtime_error(std::string(k.name) + ": differs from the reference");
  return call_rate(2e7 / bytes, seconds, [&] { k.run(k.object.get(), io, nullptr, {0, k.units}); });
}

/// f(row) for every row of the best table.
template <class F>
void for_bytes_rows(double seconds, F f) {
  using namespace ptq;
  const kernels::kernel_table& best = *available_kernels().front();
  const std::pair<const char*, std::int64_t> places[] = {
      {"first cache", 2049}, {"second cache", 100003}, {"memory", 64 << 20}};
  for (const auto& [place, n] : places) {
    const tensor x = random_reals({n}, 1), q = random_codes({n}, 2);
    tensor copied(dtype::f32, {n});
    const auto size = static_cast<double>(n);
    const double copy = 8 * size * call_rate(2e7 / (8 * size), seconds, [&] {
                          std::memcpy(copied.mutable_data(), x.data(), x.byte_count());
                          benchmark::DoNotOptimize(copied.mutable_data());
                        });
    const std::string shape = std::to_string(n);
    f(bytes_row{
        "quantize", place, shape, 5 * size,
        checked_rate<kernels::quantize_args>(best, &kernels::kernel_table::quantize,
                                             {.size = n, .scale = 1.0f / 127, .zero_point = 128}, x,
                                             tensor(dtype::u8, {n}), 5 * size, seconds),
        copy});
    f(bytes_row{
        "dequantize", place, shape, 5 * size,
        checked_rate<kernels::dequantize_args>(best, &kernels::kernel_table::dequantize,
                                               {.size = n, .scale = 1.0f / 127, .zero_point = 128},
                                               q, tensor(dtype::f32, {n}), 5 * size, seconds),
        copy});
    kernels::lookup_args table{.columns = n};
    for (std::size_t i = 0; i < 256; ++i) table.table[i] = static_cast<std::uint8_t>(i * 37 + 5);
    f(bytes_row{"lookup", place, shape, 2 * size,
                checked_rate<kernels::lookup_args>(best, &kernels::kernel_table::lookup, table, q,
                                                   tensor(dtype::u8, {n}), 2 * size, seconds),
                copy});
  }
  for (const std::int64_t k : {4096, 16384}) {  // 16 MiB of weights, and 256 MiB
    conv_geometry g;
    g.in_c = g.out_c = k;
    conv_data d(g);
    const auto p = best.qconv(d.codes());
    const kernels::operands io{.src = {d.x.data()}, .dst = d.y.mutable_data()};
    run_once(available_kernels().back()->qconv(d.codes()),
             {.src = {d.x.data()}, .dst = d.expected.mutable_data()});
    run_once(p, io);
    if (std::memcmp(d.y.data(), d.expected.data(), d.y.byte_count()) != 0)
      throw std::runtime_error("matvec: differs from the portable kernels");
    const auto scratch = allocate_aligned(p.scratch);
    const auto bytes = static_cast<double>(k * k);
    f(bytes_row{"matvec", k == 4096 ? "16 MiB" : "256 MiB",
                "1x" + std::to_string(k) + "x" + std::to_string(k), bytes,
                call_rate(2e7 / bytes, seconds,
                          [&] {
                            p.run(p.object.get(), io, scratch.get(), {0, p.units});
                          }),
                read_rate(static_cast<std::size_t>(k * k), seconds)});
  }
}

}  // namespace ptq_bench
