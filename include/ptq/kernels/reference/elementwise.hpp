#pragma once
// SPDX-License-Identifier: Apache-2.0
// Elementwise kernels, in the words of the specification: each element of the destination is one
// call of a formula of core/numeric.hpp or core/elementary.hpp, so no order matters. One unit is
// one element.

#include <cstdint>
#include <memory>

#include <ptq/core/elementary.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::kernels::reference {

namespace elementwise {

template <class Args>
using runner = void (*)(const void*, const operands&, std::byte*, work_range);

/// A prepared kernel that keeps a copy of its arguments.
template <class Args>
inline prepared keep(const Args& args, runner<Args> run, std::int64_t units, const char* name) {
  prepared p;
  p.object = std::make_shared<const Args>(args);
  p.run = run;
  p.units = units;
  p.name = name;
  return p;
}

/// Where element `index` of the destination reads its operands.
struct pair_of_offsets {
  std::int64_t a = 0, b = 0;
};
inline pair_of_offsets offsets_of(const broadcast& over, std::int64_t index) {
  pair_of_offsets at;
  for (int d = over.rank; d-- > 0;) {
    const auto i = static_cast<std::size_t>(d);
    const std::int64_t along = index % over.extent[i];
    index /= over.extent[i];
    at.a += along * over.a_stride[i];
    at.b += along * over.b_stride[i];
  }
  return at;
}

inline std::uint8_t combine(const qbinary_args& args, std::int32_t a, std::int32_t b) {
  if (args.what == qbinary_args::kind::add)
    return static_cast<std::uint8_t>(add_value(a, b, args.sum));
  return static_cast<std::uint8_t>(
      requantize_value((a - args.a_zero_point) * (b - args.b_zero_point), args.multiplier,
                       args.zero_point, args.low, args.high));
}

}  // namespace elementwise

inline prepared quantize(const quantize_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& q = *static_cast<const quantize_args*>(object);
        const auto* src = static_cast<const float*>(io.src[0]);
        auto* dst = static_cast<std::uint8_t*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i)
          dst[i] = static_cast<std::uint8_t>(quantize_value(src[i], q.scale, q.zero_point, 0, 255));
      },
      args.size, "quantize");
}

inline prepared dequantize(const dequantize_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& q = *static_cast<const dequantize_args*>(object);
        const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
        auto* dst = static_cast<float*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i)
          dst[i] = dequantize_value(src[i], q.scale, q.zero_point);
      },
      args.size, "dequantize");
}

inline prepared lookup(const lookup_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& look = *static_cast<const lookup_args*>(object);
        const auto* src = static_cast<const std::uint8_t*>(io.src[0]);
        auto* dst = static_cast<std::uint8_t*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i) {
          const std::int64_t row = i / look.columns, column = i % look.columns;
          const std::int64_t from = row * (look.src_stride ? look.src_stride : look.columns);
          const std::int64_t to = row * (look.dst_stride ? look.dst_stride : look.columns);
          dst[to + column] = look.table[src[from + column]];
        }
      },
      args.rows * args.columns, "lookup");
}

inline prepared qbinary(const qbinary_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& q = *static_cast<const qbinary_args*>(object);
        const auto* a = static_cast<const std::uint8_t*>(io.src[0]);
        const auto* b = static_cast<const std::uint8_t*>(io.src[1]);
        auto* dst = static_cast<std::uint8_t*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i) {
          const auto at = elementwise::offsets_of(q.over, i);
          dst[i] = elementwise::combine(q, a[at.a], b[at.b]);
        }
      },
      args.over.size(), "qbinary");
}

inline prepared unary(const unary_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& f = *static_cast<const unary_args*>(object);
        const auto* src = static_cast<const float*>(io.src[0]);
        auto* dst = static_cast<float*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i)
          dst[i] = unary_value(f.kind, f.alpha, f.beta, src[i]);
      },
      args.size, "unary");
}

/// clamp(a ∘ b); comparisons and logical kinds give 1 or 0.
inline prepared binary(const binary_args& args) {
  return elementwise::keep(
      args,
      [](const void* object, const operands& io, std::byte*, work_range range) {
        const auto& f = *static_cast<const binary_args*>(object);
        const auto* a = static_cast<const float*>(io.src[0]);
        const auto* b = static_cast<const float*>(io.src[1]);
        auto* dst = static_cast<float*>(io.dst);
        for (std::int64_t i = range.begin; i < range.end; ++i) {
          const auto at = elementwise::offsets_of(f.over, i);
          dst[i] = elementary::clamp<scalar_lane>(binary_value(f.kind, a[at.a], b[at.b]), f.act.low,
                                                  f.act.high);
        }
      },
      args.over.size(), "binary");
}

}  // namespace ptq::kernels::reference
