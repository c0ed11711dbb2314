#pragma once
// SPDX-License-Identifier: Apache-2.0
// Plain kernels of QuantizeLinear and DequantizeLinear of any integer type, per tensor or along an axis.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/plain/elements.hpp>

namespace ptq::lowering {

/// Constant scale and zero point of a Q or DQ node, with the axis they lie along.
struct grid {
  std::vector<float> scale;
  std::vector<std::int32_t> zero_point;
  dtype type = dtype::u8;
  std::int64_t inner = 1;   // elements that share one channel step

  std::size_t channel(std::int64_t i) const {
    return static_cast<std::size_t>(i / inner) % scale.size();
  }
};

/// f32 [count] → codes of the grid.
struct quantize_elements {
  static constexpr const char* name = "quantize";
  std::int64_t count = 0;
  grid g;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(g.type, [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto c = g.channel(i);
        static_cast<T*>(io.dst)[i] = static_cast<T>(
            quantize_value(static_cast<const float*>(io.src[0])[i], g.scale[c], g.zero_point[c],
                           lowest_code(g.type), highest_code(g.type)));
      }
    });
  }
};

/// Codes of type `from` [count] → f32.
struct dequantize_elements {
  static constexpr const char* name = "dequantize";
  std::int64_t count = 0;
  dtype from = dtype::u8;
  grid g;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(from, [&](auto zero) {
      using T = decltype(zero);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto c = g.channel(i);
        static_cast<float*>(io.dst)[i] = g.scale[c] * (static_cast<float>(static_cast<const T*>(io.src[0])[i]) -
                                                       static_cast<float>(g.zero_point[c]));
      }
    });
  }
};

}  // namespace ptq::lowering
