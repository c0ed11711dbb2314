#pragma once
// SPDX-License-Identifier: Apache-2.0
// Plain kernels of elementwise operators and reductions on any element type.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ptq/core/float8.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/plain/elements.hpp>

namespace ptq::lowering {

/// dst[i] = src[i] as another type, see cast_value.
struct cast_elements {
  static constexpr const char* name = "cast";
  std::int64_t size = 0;
  dtype from = dtype::f32, to = dtype::f32;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(from, [&](auto f) {
      with_type(to, [&](auto t) {
        const auto* p = static_cast<const decltype(f)*>(io.src[0]);
        auto* q = static_cast<decltype(t)*>(io.dst);
        for (std::int64_t i = 0; i < size; ++i) q[i] = cast_value<decltype(t)>(p[i]);
      });
    });
  }
};

/// Integer arithmetic, comparisons and logic of any type, broadcast.
struct binary_elements {
  static constexpr const char* name = "plain binary";
  dtype type = dtype::s64;
  binary_kind kind = binary_kind::add;
  kernels::broadcast over;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      const auto* a = static_cast<const T*>(io.src[0]);
      const auto* b = static_cast<const T*>(io.src[1]);
      for_each(over, {0, over.size()}, [&](auto i, auto ia, auto ib) {
        if (yields_bool(kind))
          static_cast<bool*>(io.dst)[i] = compare(kind, a[ia], b[ib]);
        else
          static_cast<T*>(io.dst)[i] = integer_binary(kind, a[ia], b[ib]);
      });
    });
  }
};

/// Functions of one integer; roundings leave it as it is.
struct unary_elements {
  static constexpr const char* name = "integer unary";
  dtype type = dtype::s64;
  unary_kind kind = unary_kind::neg;
  std::int64_t size = 0;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      const auto* x = static_cast<const T*>(io.src[0]);
      auto* y = static_cast<T*>(io.dst);
      const auto negated = [](T v) {
        if constexpr (std::is_floating_point_v<T>) return -v;
        else return integer_binary(binary_kind::sub, T(0), v);
      };
      for (std::int64_t i = 0; i < size; ++i) {
        const T v = x[i];
        switch (kind) {
          case unary_kind::neg: y[i] = negated(v); break;
          case unary_kind::abs: y[i] = v < T(0) ? negated(v) : v; break;
          case unary_kind::sign: y[i] = static_cast<T>((v > T(0)) - (v < T(0))); break;
          case unary_kind::relu: y[i] = v < T(0) ? T(0) : v; break;
          case unary_kind::logical_not: y[i] = static_cast<T>(!v); break;
          default: y[i] = v;
        }
      }
    });
  }
};

/// dst[i] = whether the f32 src[i] is no number.
struct nan_elements {
  static constexpr const char* name = "is nan";
  std::int64_t size = 0;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    for (std::int64_t i = 0; i < size; ++i)
      static_cast<bool*>(io.dst)[i] = std::isnan(static_cast<const float*>(io.src[0])[i]);
  }
};

/// dst[i] = condition ? a : b, all broadcast; src: condition bool, a, b of `bytes` bytes.
struct select_elements {
  static constexpr const char* name = "where";
  kernels::broadcast first, second;  // condition and a, condition and b
  std::int64_t bytes = 1;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    take(first, io, 1, true);
    take(second, io, 2, false);
  }

 private:
  void take(const kernels::broadcast& over, const kernels::operands& io, std::size_t from, bool where) const {
    const auto width = static_cast<std::size_t>(bytes);
    const auto* c = static_cast<const std::uint8_t*>(io.src[0]);
    const auto* x = static_cast<const std::byte*>(io.src[from]);
    auto* to = static_cast<std::byte*>(io.dst);
    for_each(over, {0, over.size()}, [&](auto i, auto ic, auto ix) {
      if ((c[ic] != 0) == where)
        std::memcpy(to + static_cast<std::size_t>(i) * width, x + static_cast<std::size_t>(ix) * width, width);
    });
  }
};

/// Integers [outer, size, inner] → [outer, inner].
struct reduce_elements {
  static constexpr const char* name = "integer reduce";
  dtype type = dtype::s64;
  reduce_kind kind = reduce_kind::sum;
  std::int64_t outer = 1, size = 1, inner = 1;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t o = 0; o < outer; ++o)
        for (std::int64_t i = 0; i < inner; ++i)
          static_cast<T*>(io.dst)[o * inner + i] =
              one(static_cast<const T*>(io.src[0]) + o * size * inner + i);
    });
  }

 private:
  template <class T>
  T one(const T* x) const {
    T acc = kind == reduce_kind::prod ? T(1) : T(0);
    if ((kind == reduce_kind::max || kind == reduce_kind::min) && size > 0) acc = x[0];
    for (std::int64_t k = 0; k < size; ++k) {
      const T v = x[k * inner];
      switch (kind) {
        case reduce_kind::max: acc = v > acc ? v : acc; break;
        case reduce_kind::min: acc = v < acc ? v : acc; break;
        case reduce_kind::prod: acc = integer_binary(binary_kind::mul, acc, v); break;
        case reduce_kind::l1:
          acc = integer_binary(binary_kind::add, acc, v < T(0) ? integer_binary(binary_kind::sub, T(0), v) : v);
          break;
        case reduce_kind::sum_square:
          acc = integer_binary(binary_kind::add, acc, integer_binary(binary_kind::mul, v, v));
          break;
        default: acc = integer_binary(binary_kind::add, acc, v);
      }
    }
    if (kind == reduce_kind::mean && size > 0) acc = integer_binary(binary_kind::div, acc, static_cast<T>(size));
    return acc;
  }
};

/// f32 → the FP8 number next to it, times scale.
struct float8_elements {
  static constexpr const char* name = "simulated FP8";
  std::int64_t size = 0;
  float scale = 1;
  dtype type = dtype::f8e4m3;

  std::int64_t units() const { return size; }
  void operator()(const kernels::operands& io, work_range r) const {
    const auto* x = static_cast<const float*>(io.src[0]);
    auto* y = static_cast<float*>(io.dst);
    for (std::int64_t i = r.begin; i < r.end; ++i) y[i] = rounded_to_float8(x[i], scale, type);
  }
};

}  // namespace ptq::lowering
