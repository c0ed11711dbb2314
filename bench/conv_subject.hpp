#pragma once
// SPDX-License-Identifier: Apache-2.0
// A convolution (a matrix product is one with a 1×1 kernel) through every way we have: 8-bit by the
// best table and by the reference, float by the same table and by oneDNN.

#include <string>

#include <ptq/dispatch.hpp>
#include <ptq/kernels/reference.hpp>

#include "measure.hpp"

namespace ptq_bench {

using ptq::kernels::conv_geometry;

inline double multiply_adds(const conv_geometry& g) {
  return static_cast<double>(g.batch * g.out_h * g.out_w * g.out_c) *
         static_cast<double>(g.kernel_h * g.kernel_w * g.group_in());
}

/// Calls per second, of the fastest of repeats of about `calls` calls: the clock counts microseconds,
/// so a repeat should last a millisecond at least.
template <class Call>
double call_rate(double calls, double seconds, Call&& call) {
  const int count = static_cast<int>(std::max(1.0, calls));
  double best = 0, used = 0;
  call();
  while (used < seconds) {
    const double begin = seconds_used();
    for (int i = 0; i < count; ++i) call();
    const double s = seconds_used() - begin;
    used += std::max(s, 1e-6);
    if (s > 0) best = std::max(best, count / s);
  }
  return best;
}

/// Operands of one convolution, in codes and in reals.
struct conv_data {
  conv_geometry geometry;
  ptq::tensor x, w, y, expected;
  ptq::tensor real_x, real_w, real_y, real_expected;
  std::vector<float> multiplier;

  explicit conv_data(const conv_geometry& g) : geometry(g) {
    const ptq::shape source{g.batch, g.in_h, g.in_w, g.in_c};
    const ptq::shape filter{g.out_c, g.kernel_h, g.kernel_w, g.group_in()};
    const ptq::shape result{g.batch, g.out_h, g.out_w, g.out_c};
    x = random_codes(source, 1);
    w = random_weights(filter, 2);
    y = expected = ptq::tensor(ptq::dtype::u8, result);
    real_x = random_reals(source, 3);
    real_w = random_reals(filter, 4);
    real_y = real_expected = ptq::tensor(ptq::dtype::f32, result);
    // Results spread over the codes: the sum of k products of about 74 · 73 each has this
    // deviation.
    const double k = static_cast<double>(g.kernel_h * g.kernel_w * g.group_in());
    multiplier.assign(static_cast<std::size_t>(g.out_c),
                      static_cast<float>(40.0 / (74.0 * 73.0 * std::sqrt(k))));
  }

  ptq::kernels::qconv_args codes() const {
    ptq::kernels::qconv_args a;
    a.geometry = geometry;
    a.weights = w.view<std::int8_t>().data();
    a.x_zero_point = 0;  // behind a ReLU, as in these networks
    a.epilogue.multiplier = multiplier;
    a.epilogue.zero_point = 0;
    return a;
  }
  ptq::kernels::conv_args reals() const {
    return {.geometry = geometry, .weights = real_w.view<float>().data()};
  }

  subject integer(ptq::kernels::entry<ptq::kernels::qconv_args> make) {
    const auto reference = ptq::kernels::reference_kernels().qconv(codes());
    run_once(reference, {.src = {x.data()}, .dst = expected.mutable_data()});
    subject s;
    if (make) s.kernel = make(codes());
    s.io = {.src = {x.data()}, .dst = y.mutable_data()};
    s.result = &y;
    s.expected = &expected;
    s.work = {.operations = 2 * multiply_adds(geometry), .peak_operations = machine().int8_of(ptq::available_kernels().front()->isa)};
    return s;
  }
  /// tolerance  of what oneDNN may do to the order of k terms
  subject real(ptq::kernels::entry<ptq::kernels::conv_args> make, bool any_order) {
    const auto reference = ptq::kernels::reference_kernels().conv(reals());
    run_once(reference, {.src = {real_x.data()}, .dst = real_expected.mutable_data()});
    subject s;
    if (make) s.kernel = make(reals());
    s.io = {.src = {real_x.data()}, .dst = real_y.mutable_data()};
    s.result = &real_y;
    s.expected = &real_expected;
    s.tolerance = any_order ? 1e-4f : 0.0f;
    s.work = {.operations = 2 * multiply_adds(geometry), .peak_operations = machine().f32};
    return s;
  }
};

/// The measurements of one shape, side by side.
inline void add_conv(const std::string& origin, const conv_geometry& g) {
  const auto& best = *ptq::available_kernels().front();
  add(origin + "/int8/" + best.isa, [g, &best](benchmark::State& state) {
    conv_data d(g);
    measure(state, d.integer(best.qconv));
  });
  add(origin + "/float/" + best.isa, [g, &best](benchmark::State& state) {
    conv_data d(g);
    measure(state, d.real(best.conv, false));
  });
  if (best.fast_conv)
    add(origin + "/float/oneDNN", [g, &best](benchmark::State& state) {
      conv_data d(g);
      measure(state, d.real(best.fast_conv, true));
    });
  if (best.winograd_conv)
    add(origin + "/float/Winograd", [g, &best](benchmark::State& state) {
      conv_data d(g);
      measure(state, d.real(best.winograd_conv, true));
    });
  add(
      origin + "/int8/reference",
      [g](benchmark::State& state) {
        conv_data d(g);
        measure(state, d.integer(ptq::kernels::reference_kernels().qconv));
      },
      true);
}

}  // namespace ptq_bench
