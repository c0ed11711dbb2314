#pragma once
// SPDX-License-Identifier: Apache-2.0
// What the machine can do at best, to compare steps with: 8-bit and float multiply-adds from registers alone, measured
// in the same run, on as many threads.

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <numeric>
#include <string_view>
#include <vector>

#include <ptq/core/parallel.hpp>
#include <ptq/kernels/amx.hpp>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ptq {

/// Operations per second (a multiply-add counts two); 0 where it is not known how to ask.
struct machine_peaks {
  double int8 = 0, f32 = 0;  // from vector registers
  double int8_tiles = 0;     // from AMX's tiles, where this process may use them

  /// What the integer kernels of a table can reach.
  double int8_of(std::string_view isa) const { return isa == "amx_int8" ? int8_tiles : int8; }
};

namespace detail_peak {

/// Seconds of processor time of this thread, so that a busy machine disturbs less.
inline double seconds_used() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
#else
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
#endif
}

/// Work per second of all threads at once, in the fastest of a few runs; `work` is done by one call.
template <class Run>
double best_rate(double work, int threads, const Run& run) {
  double best = 0;
  std::vector<double> rate(static_cast<std::size_t>(threads));
  for (int turn = 0; turn < 10; ++turn) {
    run_workers(threads, [&](int w) {
      const double begin = seconds_used();
      run();
      const double s = seconds_used() - begin;
      rate[static_cast<std::size_t>(w)] = s > 0 ? work / s : 0;
    });
    best = std::max(best, std::accumulate(rate.begin(), rate.end(), 0.0));
  }
  return best;
}

#if defined(__x86_64__)

// Unrolled, the sums stay in registers.
#if defined(__clang__)
#define PTQ_PEAK_UNROLL _Pragma("unroll")
#else
#define PTQ_PEAK_UNROLL _Pragma("GCC unroll 12")
#endif

/// 12 chains: more than latency times ports of any core so far, fewer than its registers.
inline constexpr int chains = 12;
inline constexpr int rounds = 1 << 17, tile_rounds_made = 1 << 14;

__attribute__((target("avx512f,avx512bw,avx512vnni"))) inline std::int32_t vnni_rounds() {
  __m512i a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x01ff01ff);
  __m512i sum[chains] = {};
  for (int i = 0; i < rounds; ++i) {
    PTQ_PEAK_UNROLL
    for (auto& s : sum) {
      s = _mm512_dpbusd_epi32(s, a, b);
      asm volatile("" : "+v"(s));  // else equal chains become one
    }
  }
  PTQ_PEAK_UNROLL
  for (int i = 1; i < chains; ++i) sum[0] = _mm512_add_epi32(sum[0], sum[i]);
  std::int32_t lanes[16];  // g++ 12 warns of undefined registers in its own casts
  _mm512_storeu_si512(lanes, sum[0]);
  return lanes[0];
}

/// Pairs of u8 · s8 to 16 bits, pairs of those to 32, added: AVX2's way.
__attribute__((target("avx2"))) inline std::int32_t avx2_rounds() {
  __m256i a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x01ff01ff);
  const __m256i one = _mm256_set1_epi16(1);
  __m256i sum[chains] = {};
  for (int i = 0; i < rounds; ++i) {
    PTQ_PEAK_UNROLL
    for (auto& s : sum) {
      asm volatile("" : "+x"(a));  // else equal products become one
      s = _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
    }
  }
  PTQ_PEAK_UNROLL
  for (int i = 1; i < chains; ++i) sum[0] = _mm256_add_epi32(sum[0], sum[i]);
  return _mm256_extract_epi32(sum[0], 0);
}

/// Four products of 16 × 64 by 64 × 16 per round, as many tiles of sums as hide their latency.
__attribute__((target("amx-tile,amx-int8"))) inline std::int32_t tile_rounds() {
  alignas(64) std::uint8_t config[64] = {1};  // palette; bytes of rows from 16 on, rows from 48 on
  for (int tile = 0; tile < 8; ++tile) config[16 + 2 * tile] = 64, config[48 + tile] = 16;
  alignas(64) std::int32_t sums[256];
  asm volatile("ldtilecfg %0" : : "m"(config));
  for (int i = 0; i < tile_rounds_made; ++i)
    asm volatile(
        "tdpbusd %tmm6, %tmm4, %tmm0\n\ttdpbusd %tmm7, %tmm4, %tmm1\n\t"
        "tdpbusd %tmm6, %tmm5, %tmm2\n\ttdpbusd %tmm7, %tmm5, %tmm3");
  asm volatile("tilestored %%tmm0, (%0,%1,1)" : : "r"(sums), "r"(std::int64_t{64}) : "memory");
  asm volatile("tilerelease");
  return sums[0];
}

__attribute__((target("avx512f"))) inline float fma512_rounds() {
  __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f), sum[chains] = {};
  for (int i = 0; i < rounds; ++i) {
    PTQ_PEAK_UNROLL
    for (auto& s : sum) {
      s = _mm512_fmadd_ps(a, b, s);
      asm volatile("" : "+v"(s));  // else equal chains become one
    }
  }
  PTQ_PEAK_UNROLL
  for (int i = 1; i < chains; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  float lanes[16];
  _mm512_storeu_ps(lanes, sum[0]);
  return lanes[0];
}

__attribute__((target("avx2,fma"))) inline float fma256_rounds() {
  __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f), sum[chains] = {};
  for (int i = 0; i < rounds; ++i) {
    PTQ_PEAK_UNROLL
    for (auto& s : sum) {
      s = _mm256_fmadd_ps(a, b, s);
      asm volatile("" : "+x"(s));  // else equal chains become one
    }
  }
  PTQ_PEAK_UNROLL
  for (int i = 1; i < chains; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}

#undef PTQ_PEAK_UNROLL
#endif

}  // namespace detail_peak

/// Peaks of `threads` threads together. 20 ms.
inline machine_peaks measure_peaks(int threads = 1) {
  machine_peaks p;
#if defined(__x86_64__)
  using namespace detail_peak;
  const double work = 2.0 * chains * rounds;  // two operations per multiply-add
  const auto measured = [&](double operations, auto function) {
    return best_rate(operations, threads, [&] {
      [[maybe_unused]] volatile auto sink = function();
    });
  };
  const auto rate = [&](int lanes, auto function) { return measured(work * lanes, function); };
  if (__builtin_cpu_supports("avx512vnni")) p.int8 = rate(64, vnni_rounds);
  else if (__builtin_cpu_supports("avx2")) p.int8 = rate(32, avx2_rounds);
  constexpr double products = 16 * 16 * 64;  // of two tiles
  if (kernels::request_amx()) p.int8_tiles = measured(2 * 4 * products * tile_rounds_made, tile_rounds);
  if (__builtin_cpu_supports("avx512f")) p.f32 = rate(16, fma512_rounds);
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) p.f32 = rate(8, fma256_rounds);
#endif
  return p;
}

}  // namespace ptq
