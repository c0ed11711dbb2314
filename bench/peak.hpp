#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the machine can do at best, measured in the same run as what is compared with it: 8-bit
// multiply-adds of one core from registers alone, float multiply-adds, and bytes copied.

#include <cstdint>
#include <cstring>
#include <ctime>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ptq_bench {

/// Seconds of processor time, so that a busy machine disturbs less.
inline double seconds_used() {
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

/// Work per second of the fastest of a few runs. `work` is done by one call.
template <class Run>
double best_rate(double work, Run&& run) {
  double best = 0;
  for (int turn = 0; turn < 10; ++turn) {
    const double begin = seconds_used();
    run();
    const double s = seconds_used() - begin;
    if (s > 0 && work / s > best) best = work / s;
  }
  return best;
}

#if defined(__x86_64__)

// Unrolled, the sums stay in registers.
#if defined(__clang__)
#define PTQ_BENCH_UNROLL _Pragma("unroll")
#else
#define PTQ_BENCH_UNROLL _Pragma("GCC unroll 12")
#endif

/// 12 chains: more than latency times ports of any core so far, fewer than its registers.
inline constexpr int peak_chains = 12;
inline constexpr int peak_rounds = 1 << 17;

__attribute__((target("avx512f,avx512bw,avx512vnni"))) inline std::int32_t vnni_rounds() {
  __m512i a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x01ff01ff);
  __m512i sum[peak_chains] = {};
  for (int i = 0; i < peak_rounds; ++i) {
    PTQ_BENCH_UNROLL
    for (auto& s : sum) {
      s = _mm512_dpbusd_epi32(s, a, b);
      asm volatile("" : "+v"(s));  // else equal chains become one
    }
  }
  PTQ_BENCH_UNROLL
  for (int i = 1; i < peak_chains; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  std::int32_t lanes[16];  // g++ 12 warns of undefined registers in its own casts
  _mm512_storeu_si512(lanes, sum[0]);
  return lanes[0];
}

/// Pairs of u8 · s8 to 16 bits, pairs of those to 32, added: AVX2's way.
__attribute__((target("avx2"))) inline std::int32_t avx2_rounds() {
  __m256i a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x01ff01ff);
  const __m256i one = _mm256_set1_epi16(1);
  __m256i sum[peak_chains] = {};
  for (int i = 0; i < peak_rounds; ++i) {
    PTQ_BENCH_UNROLL
    for (auto& s : sum) {
      __m256i product = _mm256_maddubs_epi16(a, b);
      asm volatile("" : "+x"(product));  // else equal chains become one
      s = _mm256_add_epi32(s, _mm256_madd_epi16(product, one));
    }
  }
  PTQ_BENCH_UNROLL
  for (int i = 1; i < peak_chains; ++i) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  return _mm256_extract_epi32(sum[0], 0);
}

__attribute__((target("avx512f"))) inline float fma512_rounds() {
  __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f), sum[peak_chains] = {};
  for (int i = 0; i < peak_rounds; ++i) {
    PTQ_BENCH_UNROLL
    for (auto& s : sum) {
      s = _mm512_fmadd_ps(a, b, s);
      asm volatile("" : "+v"(s));  // else equal chains become one
    }
  }
  PTQ_BENCH_UNROLL
  for (int i = 1; i < peak_chains; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, sum[0]);
  return lanes[0];
}

__attribute__((target("avx2,fma"))) inline float fma256_rounds() {
  __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f), sum[peak_chains] = {};
  for (int i = 0; i < peak_rounds; ++i) {
    PTQ_BENCH_UNROLL
    for (auto& s : sum) {
      s = _mm256_fmadd_ps(a, b, s);
      asm volatile("" : "+x"(s));  // else equal chains become one
    }
  }
  PTQ_BENCH_UNROLL
  for (int i = 1; i < peak_chains; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}

#endif

/// Operations per second of one core (a multiply-add counts two); 0 where it is not known how to
/// ask.
struct peaks {
  double int8 = 0, f32 = 0;
  double copy = 0;  // bytes read and written per second, far beyond the caches
};

inline peaks measure_peaks() {
  peaks p;
#if defined(__x86_64__)
  volatile std::int32_t int_sink = 0;
  volatile float float_sink = 0;
  const double rounds = 2.0 * peak_chains * peak_rounds;  // two operations per multiply-add
  if (__builtin_cpu_supports("avx512vnni"))
    p.int8 = best_rate(rounds * 64, [&] { int_sink = vnni_rounds(); });
  else if (__builtin_cpu_supports("avx2"))
    p.int8 = best_rate(rounds * 32, [&] { int_sink = avx2_rounds(); });
  if (__builtin_cpu_supports("avx512f"))
    p.f32 = best_rate(rounds * 16, [&] { float_sink = fma512_rounds(); });
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    p.f32 = best_rate(rounds * 8, [&] { float_sink = fma256_rounds(); });
#endif
  constexpr std::size_t bytes = std::size_t{128} << 20;
  std::vector<char> from(bytes, 1), to(bytes);
  p.copy = best_rate(2.0 * static_cast<double>(bytes), [&] {
    std::memcpy(to.data(), from.data(), bytes);
#if defined(__GNUC__)
    asm volatile("" : : "r"(to.data()) : "memory");
#endif
  });
  return p;
}

/// Measured once per run, before anything else.
inline const peaks& machine() {
  static const peaks p = measure_peaks();
  return p;
}

}  // namespace ptq_bench
