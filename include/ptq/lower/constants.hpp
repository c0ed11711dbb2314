#pragma once
// SPDX-License-Identifier: Apache-2.0
// Constants in the form that a kernel reads: real numbers in place of codes, unsigned codes in place of
// signed ones, another order in memory. All of it happens once, at lowering.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/float8.hpp>
#include <ptq/core/tensor.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/reference.hpp>
#include <ptq/lower/order.hpp>

namespace ptq::lowering {

/// Real numbers of a constant, dequantized if need be, in ONNX order.
///
/// throws  shape_error naming the constant where its codes have no such type
inline tensor real_numbers(const value& v) {
  if (!v.quant) return *v.constant;
  const auto& q = *v.quant;
  const auto& codes = *v.constant;
  tensor out(dtype::f32, codes.dims());
  auto y = out.mutable_view<float>();
  const auto strides = strides_of(codes.dims());
  const auto n = codes.dims();
  const auto fill = [&](auto x) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      std::size_t c = 0;
      if (q.per_channel())
        c = (i / static_cast<std::size_t>(strides[static_cast<std::size_t>(q.axis)])) %
            static_cast<std::size_t>(n[q.axis]);
      y[i] = q.scale[c] * (static_cast<float>(x[i]) - static_cast<float>(q.zero_point[c]));
    }
  };
  switch (codes.type()) {
    case dtype::s8: fill(codes.view<std::int8_t>()); break;
    case dtype::u8: fill(codes.view<std::uint8_t>()); break;
    case dtype::s16: fill(codes.view<std::int16_t>()); break;
    case dtype::u16: fill(codes.view<std::uint16_t>()); break;
    case dtype::s32: fill(codes.view<std::int32_t>()); break;
    case dtype::f8e4m3:
    case dtype::f8e5m2: {
      std::vector<float> x(y.size());
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = float8_value(std::to_integer<std::uint8_t>(codes.data()[i]), codes.type());
      fill(std::span<const float>(x));
      break;
    }
    default:
      throw shape_error("lower: constant '" + v.name + "': codes of type " + name_of(codes.type()));
  }
  return out;
}

/// s8 and s16 codes as the kernels know them: u8 less 128, u16 less 32768; others as they are.
inline tensor unsigned_codes(const tensor& t) {
  const auto shifted = [&]<class Signed, class Unsigned>(dtype to, int by, Signed, Unsigned) {
    tensor u(to, t.dims());
    const auto y = u.mutable_view<Unsigned>();
    const auto x = t.view<Signed>();
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<Unsigned>(x[i] + by);
    return u;
  };
  if (t.type() == dtype::s16) return shifted(dtype::u16, 32768, std::int16_t{}, std::uint16_t{});
  if (t.type() == dtype::s8) return shifted(dtype::u8, 128, std::int8_t{}, std::uint8_t{});
  return t;
}

/// The same numbers in another order in memory.
inline tensor laid_out(const tensor& t, const order& o) {
  const auto plain = plain_order(t.dims().rank());
  if (same_memory(t.dims(), o, plain)) return t;
  tensor laid(t.type(), t.dims());
  const auto args = copy_between(t.dims(), strides_in(t.dims(), plain), strides_in(t.dims(), o),
                                 static_cast<int>(size_of(t.type())));
  const auto k = kernels::reference_kernels().copy(args);
  k.run(k.object.get(), {.src = {t.data()}, .dst = laid.mutable_data()}, nullptr, {0, k.units});
  return laid;
}

}  // namespace ptq::lowering
