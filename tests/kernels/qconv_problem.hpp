#pragma once
// SPDX-License-Identifier: Apache-2.0
// Every table's integer convolution against the reference, byte for byte, in buffers of exactly the
// size that the contract promises (a sanitizer sees one byte too many).

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference/integer_conv.hpp>

namespace qconv_test {

using namespace ptq;
using namespace ptq::kernels;

struct problem {
  conv_geometry g;
  enum class output { codes, clamped, added, reals, leaky_relu, hard_swish } out = output::codes;
  bool extreme = false;  // only the codes 0 and 255, −128 and 127
  int largest = 128;     // of the weights' magnitudes; at most 64: no pair exceeds 16 bits
  int seldom = 0;        // one weight in this many is −128 or 127 all the same
  bool one_multiplier = false;
  bool bias = true;
  int zero_point = 113, y_zero_point = 121;
  float gain = 1;  // of the multipliers

  std::string text() const {
    return "n" + std::to_string(g.batch) + " " + std::to_string(g.in_h) + "x" +
           std::to_string(g.in_w) + "x" + std::to_string(g.in_c) + " -> " +
           std::to_string(g.out_h) + "x" + std::to_string(g.out_w) + "x" + std::to_string(g.out_c) +
           " kernel " + std::to_string(g.kernel_h) + "x" + std::to_string(g.kernel_w) + " stride " +
           std::to_string(g.stride_w) + " groups " + std::to_string(g.groups) + " output " +
           std::to_string(static_cast<int>(out)) + " zero point " + std::to_string(zero_point);
  }
};

/// Fills out_h and out_w from symmetric padding.
inline conv_geometry geometry(conv_geometry g) {
  const auto size = [](std::int64_t in, std::int64_t pad, std::int64_t dilation,
                       std::int64_t kernel, std::int64_t stride) {
    return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
  };
  g.out_h = size(g.in_h, g.pad_top, g.dilation_h, g.kernel_h, g.stride_h);
  g.out_w = size(g.in_w, g.pad_left, g.dilation_w, g.kernel_w, g.stride_w);
  return g;
}
inline conv_geometry square(std::int64_t hw, std::int64_t in_c, std::int64_t out_c, std::int64_t kernel,
                     std::int64_t stride = 1, std::int64_t groups = 1, std::int64_t dilation = 1) {
  const std::int64_t pad = dilation * (kernel / 2);
  return geometry({.in_h = hw,
                   .in_w = hw,
                   .in_c = in_c,
                   .out_c = out_c,
                   .kernel_h = kernel,
                   .kernel_w = kernel,
                   .stride_h = stride,
                   .stride_w = stride,
                   .dilation_h = dilation,
                   .dilation_w = dilation,
                   .pad_top = pad,
                   .pad_left = pad,
                   .groups = groups});
}
inline conv_geometry matrix(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {.in_w = m, .in_c = k, .out_w = m, .out_c = n};
}

/// Bytes from a pixel stride: the last pixel ends with its own channels.
inline std::size_t extent(std::int64_t pixels, std::int64_t stride, std::int64_t channels) {
  return static_cast<std::size_t>((pixels - 1) * stride + channels);
}

/// Units [0, units) split among `workers`, each with scratch of its own, exactly as large as
/// declared.
inline void run_split(const prepared& p, const operands& io, int workers) {
  for (int w = 0; w < workers; ++w) {
    std::unique_ptr<std::byte[]> scratch(new std::byte[p.scratch + 64]);
    const auto at = reinterpret_cast<std::uintptr_t>(scratch.get());
    // dirty memory: a kernel may not count on zeros
    std::memset(scratch.get(), 0xa5, p.scratch + 64);
    p.run(p.object.get(), io, scratch.get() + (64 - at % 64) % 64, share_of(p.units, w, workers));
  }
}

inline void check(const problem& q) {
  const conv_geometry& g = q.g;
  std::mt19937 random(20240229);
  const auto draw = [&](int low, int high) {
    if (q.extreme) return random() % 2 ? low : high;
    return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
  };
  const std::int64_t taps = g.kernel_h * g.kernel_w * g.group_in();
  std::vector<std::int8_t> weights(static_cast<std::size_t>(g.out_c * taps));
  for (auto& w : weights) {
    w = static_cast<std::int8_t>(draw(-q.largest, std::min(q.largest, 127)));
    if (q.seldom && random() % static_cast<unsigned>(q.seldom) == 0)
      w = random() % 2 ? std::int8_t{127} : std::int8_t{-128};
  }
  std::vector<std::int32_t> bias(static_cast<std::size_t>(g.out_c));
  for (auto& b : bias) b = static_cast<std::int32_t>(random() % 20001) - 10000;
  std::vector<float> multiplier(q.one_multiplier ? 1 : static_cast<std::size_t>(g.out_c));
  // products spread over the codes: a sum of `taps` random terms is about 5000 · sqrt(taps)
  for (auto& m : multiplier)
    m = static_cast<float>(50 + random() % 100) /
        (q.extreme ? 16384.0f * static_cast<float>(taps)
                   : 500000.0f * std::sqrt(static_cast<float>(taps))) *
        q.gain;

  const bool shaped = q.out == problem::output::leaky_relu || q.out == problem::output::hard_swish;
  constexpr float scale = 0.11f;
  if (shaped)
    for (auto& m : multiplier) m *= scale;

  const std::int64_t pixels = g.batch * g.out_h * g.out_w;
  const std::size_t src_size = extent(g.batch * g.in_h * g.in_w, g.src_pixel(), g.in_c);
  const std::size_t dst_size = extent(pixels, g.dst_pixel(), g.out_c);
  std::unique_ptr<std::uint8_t[]> x(new std::uint8_t[src_size]);
  std::unique_ptr<std::uint8_t[]> r(new std::uint8_t[dst_size]);
  for (std::size_t i = 0; i < src_size; ++i) x[i] = static_cast<std::uint8_t>(draw(0, 255));
  for (std::size_t i = 0; i < dst_size; ++i) r[i] = static_cast<std::uint8_t>(draw(0, 255));

  qconv_args a{.geometry = g,
               .weights = weights.data(),
               .bias = q.bias ? bias.data() : nullptr,
               .x_zero_point = q.zero_point,
               .epilogue = {.multiplier = multiplier, .zero_point = q.y_zero_point}};
  if (q.out == problem::output::clamped) {
    a.epilogue.low = 130;
    a.epilogue.high = 190;
  }
  if (q.out == problem::output::added) {
    a.epilogue.add = true;
    a.epilogue.low = q.y_zero_point;
    a.epilogue.residual_first = g.out_c % 2 != 0;
    a.epilogue.sum = a.epilogue.residual_first ? add_rule_of(1.2519f, 128, 0.7345f, 121, 1, 30)
                                               : add_rule_of(0.7345f, 121, 1.2519f, 128, 1, 30);
    a.epilogue.sum.low = 30;
    a.epilogue.sum.high = 250;
  }
  if (q.out == problem::output::reals) {
    a.epilogue.to_float = true;
    a.epilogue.float_low = 0;
  }
  if (shaped) {
    using kind = epilogue_function::kind;
    a.epilogue.function = {.what = q.out == problem::output::leaky_relu ? kind::leaky_relu : kind::hard_swish,
                           .alpha = 0.1f,
                           .scale = scale};
  }
  const std::size_t element = q.out == problem::output::reals ? 4 : 1;
  const auto buffer = [&] {
    std::unique_ptr<std::byte[]> y(new std::byte[dst_size * element]);
    std::memset(y.get(), 0x5a, dst_size * element);  // between pixels nothing may change
    return y;
  };
  operands io;
  io.src = {x.get(), q.out == problem::output::added ? r.get() : nullptr};
  const auto expected = buffer();
  io.dst = expected.get();
  run_split(reference::qconv(a), io, 1);

  for (const kernel_table* table : available_kernels()) {
    const prepared p = table->qconv(a);
    for (const int workers : {1, 2, 3}) {
      const auto y = buffer();
      io.dst = y.get();
      run_split(p, io, workers);
      const bool same = std::memcmp(y.get(), expected.get(), dst_size * element) == 0;
      CHECK_MESSAGE(same, std::string(table->isa) << " " << std::string(p.name) << ": " << q.text()
                                                  << ", " << workers << " workers");
      if (!same) return;
    }
  }
}

using output = problem::output;

}  // namespace qconv_test
