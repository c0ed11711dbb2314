#pragma once
// SPDX-License-Identifier: Apache-2.0
// Float unary and binary functions in registers: the templates of core/elementary.hpp on the lanes
// of an ISA, so equal to the reference bit for bit. Broadcasting runs along the innermost
// dimension, one operand repeating or both moving.

#include <cstdint>
#include <utility>

#include <ptq/core/elementary.hpp>
#include <ptq/core/kinds.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/lanes.hpp>
#include <ptq/native/runs.hpp>

namespace ptq::native {

template <class Isa>
struct unary_kernel {
  using lane = lanes<Isa>;
  unary_kind kind;
  float alpha, beta;
  std::int64_t size;

  template <unary_kind K>
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const unary_kernel*>(object);
    const auto alpha = lane::constant(k.alpha), beta = lane::constant(k.beta);
    const std::int64_t first = range.begin * chunk_elements;
    const std::int64_t last = least<Isa>(range.end * chunk_elements, k.size);
    const auto* src = static_cast<const float*>(io.src[0]);
    auto* dst = static_cast<float*>(io.dst);
    std::int64_t i = first;
    for (; i + lane::width <= last; i += lane::width)
      lane::store(dst + i, elementary::unary<K, lane>(lane::load(src + i), alpha, beta));
    if (i < last)
      lane::store(dst + i, elementary::unary<K, lane>(lane::load(src + i, last - i), alpha, beta),
                  last - i);
  }
};

template <class Isa>
inline kernels::prepared unary(const kernels::unary_args& args) {
  using kernel = unary_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  *object_of<kernel>(p) = {args.kind, args.alpha, args.beta, args.size};
  p.units = chunks_of<Isa>(args.size);
  p.run = elementary::with_kind(args.kind, []<unary_kind K>() {
    return static_cast<decltype(p.run)>(&kernel::template apply<K>);
  });
  p.name = "unary registers";
  return p;
}

template <class Isa>
struct binary_kernel {
  using lane = lanes<Isa>;
  using real = typename lane::real;
  clamp act;
  broadcast_runs<Isa> runs;

  /// n elements; a stride is 0, 1 or anything else
  template <binary_kind K, int A, int B>
  static void run_of(const binary_kernel& k, const float* a, const float* b, float* dst,
                     std::int64_t n) {
    const auto low = lane::constant(k.act.low), high = lane::constant(k.act.high);
    const std::int64_t a_step = k.runs.a_step(), b_step = k.runs.b_step();
    const auto part = [&]<int Stride>(const float* p, std::int64_t i, std::int64_t step,
                                      std::int64_t count) PTQ_INLINE_LAMBDA {
      if constexpr (Stride == 0)
        return lane::constant(*p);
      else if constexpr (Stride == 1)
        return count == lane::width ? lane::load(p + i) : lane::load(p + i, count, 1.0f);
      else
        return lane::gather(p + i * step, step, count, 1.0f);
    };
    const auto value = [&](std::int64_t i, std::int64_t count) PTQ_INLINE_LAMBDA {
      const real x = part.template operator()<A>(a, i, a_step, count);
      const real y = part.template operator()<B>(b, i, b_step, count);
      return elementary::clamp<lane>(elementary::binary<K, lane>(x, y), low, high);
    };
    std::int64_t i = 0;
    for (; i + lane::width <= n; i += lane::width) lane::store(dst + i, value(i, lane::width));
    if (i < n) lane::store(dst + i, value(i, n - i), n - i);
  }

  template <binary_kind K>
  static void apply(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const binary_kernel*>(object);
    const auto* a = static_cast<const float*>(io.src[0]);
    const auto* b = static_cast<const float*>(io.src[1]);
    auto* dst = static_cast<float*>(io.dst);
    k.runs.for_runs(range, [&]<int A, int B>(std::int64_t to, std::int64_t from_a,
                                             std::int64_t from_b, std::int64_t n) {
      run_of<K, A, B>(k, a + from_a, b + from_b, dst + to, n);
    });
  }
};

template <class Isa>
inline kernels::prepared binary(const kernels::binary_args& args) {
  using kernel = binary_kernel<Isa>;
  auto p = blank<Isa>(sizeof(kernel));
  auto& k = *object_of<kernel>(p);
  k.act = args.act;
  k.runs = broadcast_runs<Isa>::of(args.over);
  p.units = k.runs.units();
  p.run = elementary::with_kind(args.kind, []<binary_kind K>() {
    return static_cast<decltype(p.run)>(&kernel::template apply<K>);
  });
  p.name = "binary registers";
  return p;
}

}  // namespace ptq::native
