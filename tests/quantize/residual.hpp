#pragma once
// SPDX-License-Identifier: Apache-2.0
// A residual network small enough to be quantized in every scheme, and how far its outputs move.

#include <cmath>
#include <cstddef>

#include <ptq/execute.hpp>
#include <ptq/kernels/reference.hpp>

#include "../support/samples.hpp"
#include "network.hpp"

namespace ptq_test {

inline samples residual_images() { return images(8, {1, 3, 8, 8}); }

/// input 3×8×8 → conv → conv + skip → max pool → mean → 5 logits
inline graph pooled_residual() {
  network n;
  auto a = n.conv("a", n.input("x", {-1, 3, 8, 8}), 3, 8, positive, 3);
  auto b = n.conv("b", a, 8, 8, {}, 3);
  auto s = n.binary("sum", b, a, binary_kind::add, positive);
  n.output(n.linear("logits", n.flatten("flat", n.average("mean", n.max_pool("pool", s))), 8, 5));
  return n.done();
}

/// Of the first output, in dB, pooled over the samples.
inline double sqnr(const graph& real, const graph& quantized, samples data) {
  runner f(real, kernels::reference_kernels()), q(quantized, kernels::reference_kernels());
  double signal = 0, noise = 0;
  for (auto s = data.next(); s; s = data.next()) {
    const auto a = f.run(*s)[0], b = q.run(*s)[0];
    for (std::size_t i = 0; i < a.view<float>().size(); ++i) {
      const double y = static_cast<double>(a.view<float>()[i]);
      const double e = y - static_cast<double>(b.view<float>()[i]);
      signal += y * y;
      noise += e * e;
    }
  }
  return 10 * std::log10(signal / noise);
}

}  // namespace ptq_test
