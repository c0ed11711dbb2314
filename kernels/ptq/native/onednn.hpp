#pragma once
// SPDX-License-Identifier: Apache-2.0
// Float convolution and matrix product by oneDNN (2.6 and 3.x), for programs that hold no integers:
// the baseline and calibration. Equal to the reference within the rounding of k terms in any order;
// deterministic for one build and CPU.
//
// Source and destination stay n h w c with their strides; weights are brought into the layout that
// oneDNN asks for once. The primitive is immutable and its scratchpad is the caller's, so that one
// object serves any number of threads; each call has a stream of its own. oneDNN threads by itself
// with the OpenMP setting of its caller (`whole_op`), and plans for the setting that it meets at
// preparation: prepare and run under the same one.
//
// One row times a matrix takes as long as reading the matrix. From beyond the cache, our own kernel
// reads it in half of oneDNN's time (1280 x 1000 on Zen 4: 0.16 and 0.31 ms), so that is left to it.
//
// This file alone includes oneDNN; include it nowhere but in the file that fills the table.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>
#include <vector>

#include <oneapi/dnnl/dnnl.hpp>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::native {

namespace onednn {

using dims = dnnl::memory::dims;
using desc = dnnl::memory::desc;

inline desc f32_desc(const dims& extent, const dims& strides) {
  return {extent, dnnl::memory::data_type::f32, strides};
}
inline desc any_f32(const dims& extent) {
  return {extent, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any};
}

/// Clamp as a post-operation, scratchpad from the caller.
inline dnnl::primitive_attr attributes(const clamp& act) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (!act.active()) return attr;
  const bool relu = act.low == 0 && act.high == std::numeric_limits<float>::infinity();
  const auto kind = relu ? dnnl::algorithm::eltwise_relu : dnnl::algorithm::eltwise_clip;
  const float alpha = relu ? 0.0f : act.low, beta = relu ? 0.0f : act.high;
  dnnl::post_ops ops;
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(kind, alpha, beta);
#else
  ops.append_eltwise(1.0f, kind, alpha, beta);
#endif
  attr.set_post_ops(ops);
  return attr;
}

/// A primitive with its constants.
struct primitive {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::primitive run;
  desc src, weights, dst, scratchpad;
  dnnl::memory constant;  // weights in oneDNN's layout, or empty: the second source
  dnnl::memory bias;      // or empty

  explicit primitive(const float* values, std::int64_t count) {
    if (!values) return;
    bias =
        dnnl::memory({{count}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::x}, engine);
    std::copy(values, values + count, static_cast<float*>(bias.get_data_handle()));
  }

  /// Keeps a copy of `values`, laid out as `from`, in the layout that the primitive chose.
  void keep(const float* values, const desc& from) {
    constant = dnnl::memory(weights, engine);
    dnnl::memory user(from, engine, const_cast<float*>(values));
    dnnl::stream stream(engine);
    dnnl::reorder(user, constant).execute(stream, user, constant);
    stream.wait();
  }

  template <class Descriptor>
  void take(const Descriptor& pd) {
    src = pd.src_desc();
    weights = pd.weights_desc();
    dst = pd.dst_desc();
    scratchpad = pd.scratchpad_desc();
  }

  void execute(const float* x, const float* w, float* y, std::byte* scratch) const {
    const auto at = [this](const desc& d, const void* p) {
      return dnnl::memory(d, engine, const_cast<void*>(p));
    };
    dnnl::stream stream(engine);
    std::unordered_map<int, dnnl::memory> io = {
        {DNNL_ARG_SRC, at(src, x)},
        {DNNL_ARG_WEIGHTS, constant ? constant : at(weights, w)},
        {DNNL_ARG_DST, at(dst, y)},
        {DNNL_ARG_SCRATCHPAD, at(scratchpad, scratch)}};
    if (bias) io.emplace(DNNL_ARG_BIAS, bias);
    run.execute(stream, io);
    stream.wait();
  }
};

inline void run_conv(const void* object, const kernels::operands& io, std::byte* scratch,
                     work_range) {
  static_cast<const primitive*>(object)->execute(static_cast<const float*>(io.src[0]), nullptr,
                                                 static_cast<float*>(io.dst), scratch);
}

/// A convolution's extents and strides as oneDNN counts them: n c h w, o i h w.
struct conv_layout {
  dims x, x_strides, y, y_strides, w, w_strides;
  dims step, dilation, before, after;

  explicit conv_layout(const kernels::conv_geometry& g) {
    const auto pixels = [](std::int64_t h, std::int64_t width, std::int64_t pixel) {
      return dims{h * width * pixel, 1, width * pixel, pixel};
    };
    const auto beyond = [](std::int64_t out, std::int64_t stride, std::int64_t kernel,
                           std::int64_t dilated, std::int64_t in, std::int64_t pad) {
      return (out - 1) * stride + (kernel - 1) * dilated + 1 - in - pad;
    };
    const std::int64_t in = g.group_in(), row = g.kernel_w * in, filter = g.kernel_h * row;
    w = {g.group_out(), in, g.kernel_h, g.kernel_w};
    w_strides = {filter, 1, row, in};
    if (g.groups > 1) {
      w.insert(w.begin(), g.groups);
      w_strides.insert(w_strides.begin(), g.group_out() * filter);
    }
    x = {g.batch, g.in_c, g.in_h, g.in_w};
    x_strides = pixels(g.in_h, g.in_w, g.src_pixel());
    y = {g.batch, g.out_c, g.out_h, g.out_w};
    y_strides = pixels(g.out_h, g.out_w, g.dst_pixel());
    step = {g.stride_h, g.stride_w};
    dilation = {g.dilation_h - 1, g.dilation_w - 1};
    before = {g.pad_top, g.pad_left};
    after = {beyond(g.out_h, g.stride_h, g.kernel_h, g.dilation_h, g.in_h, g.pad_top),
             beyond(g.out_w, g.stride_w, g.kernel_w, g.dilation_w, g.in_w, g.pad_left)};
  }
};

inline std::shared_ptr<primitive> make_conv(const kernels::conv_args& args) {
  const conv_layout l(args.geometry);
  auto o = std::make_shared<primitive>(args.bias, args.geometry.out_c);
  const desc x = f32_desc(l.x, l.x_strides), y = f32_desc(l.y, l.y_strides);
  constexpr auto inference = dnnl::prop_kind::forward_inference;
  constexpr auto direct = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  using forward = dnnl::convolution_forward::primitive_desc;
  const auto attr = attributes(args.act);
  const auto pd = o->bias
                      ? forward(o->engine, inference, direct, x, any_f32(l.w), o->bias.get_desc(),
                                y, l.step, l.dilation, l.before, l.after, attr)
                      : forward(o->engine, inference, direct, x, any_f32(l.w), y, l.step,
                                l.dilation, l.before, l.after, attr);
#else
  const dnnl::convolution_forward::desc d =
      o->bias
          ? dnnl::convolution_forward::desc(inference, direct, x, any_f32(l.w), o->bias.get_desc(),
                                            y, l.step, l.dilation, l.before, l.after)
          : dnnl::convolution_forward::desc(inference, direct, x, any_f32(l.w), y, l.step,
                                            l.dilation, l.before, l.after);
  const dnnl::convolution_forward::primitive_desc pd(d, attributes(args.act), o->engine);
#endif
  o->take(pd);
  o->run = dnnl::convolution_forward(pd);
  o->keep(args.weights, f32_desc(l.w, l.w_strides));
  return o;
}

/// Products that one primitive computes, and where the calls of it start.
struct product {
  std::shared_ptr<primitive> one;
  std::vector<std::int64_t> a_offset, b_offset;  // [calls]
  std::vector<float> b;                          // a constant right side that is not in `one`
  std::int64_t c_step = 0;                       // from call to call
};

inline void run_matmul(const void* object, const kernels::operands& io, std::byte* scratch,
                       work_range) {
  const auto& o = *static_cast<const product*>(object);
  const auto* a = static_cast<const float*>(io.src[0]);
  const auto* b = o.b.empty() ? static_cast<const float*>(io.src[1]) : o.b.data();
  auto* c = static_cast<float*>(io.dst);
  for (std::size_t i = 0; i < o.a_offset.size(); ++i, c += o.c_step)
    o.one->execute(a + o.a_offset[i], b ? b + o.b_offset[i] : nullptr, c, scratch);
}

/// The step of evenly spaced offsets, or -1.
inline std::int64_t even_step(const std::vector<std::int64_t>& offset) {
  const std::int64_t step = offset.size() > 1 ? offset[1] - offset[0] : 0;
  for (std::size_t i = 1; i < offset.size(); ++i)
    if (offset[i] - offset[i - 1] != step) return -1;
  return step;
}

/// Products that lie a_step and b_step elements apart (0: the same source for all).
struct batching {
  std::int64_t count = 1, a_step = 0, b_step = 0;
};

/// The primitive for a batch of m-row products. With `keep`, a constant b is laid out as oneDNN
/// likes.
inline std::shared_ptr<primitive> make_products(const kernels::matmul_args& args, std::int64_t m,
                                                const batching& batch, const float* keep) {
  const auto [count, a_step, b_step] = batch;
  auto o = std::make_shared<primitive>(args.bias, args.n);
  const desc a =
      f32_desc({a_step ? count : 1, m, args.k},
               {a_step ? a_step : m * args.k, args.a_trans ? 1 : args.k, args.a_trans ? m : 1});
  const dims b_extent = {b_step ? count : 1, args.k, args.n};
  const desc b = f32_desc(b_extent, {b_step ? b_step : args.k * args.n, args.b_trans ? 1 : args.n,
                                     args.b_trans ? args.k : 1});
  const desc c = f32_desc({count, m, args.n}, {m * args.n, args.n, 1});
  const desc w = keep ? any_f32(b_extent) : b;
  const desc bias = f32_desc({1, 1, args.n}, {args.n, args.n, 1});
#if DNNL_VERSION_MAJOR >= 3
  const auto pd = o->bias
                      ? dnnl::matmul::primitive_desc(o->engine, a, w, bias, c, attributes(args.act))
                      : dnnl::matmul::primitive_desc(o->engine, a, w, c, attributes(args.act));
#else
  const dnnl::matmul::desc d =
      o->bias ? dnnl::matmul::desc(a, w, bias, c) : dnnl::matmul::desc(a, w, c);
  const dnnl::matmul::primitive_desc pd(d, attributes(args.act), o->engine);
#endif
  o->take(pd);
  o->run = dnnl::matmul(pd);
  if (o->bias) {  // the same numbers seen as [1,1,n]
    dnnl::memory seen(bias, o->engine);
    std::copy(args.bias, args.bias + args.n, static_cast<float*>(seen.get_data_handle()));
    o->bias = seen;
  }
  if (keep) o->keep(keep, b);
  return o;
}

inline std::shared_ptr<product> make_matmul(const kernels::matmul_args& args) {
  const std::size_t batch = std::max({args.a_offset.size(), args.b_offset.size(), std::size_t{1}});
  const auto count = static_cast<std::int64_t>(batch);
  auto o = std::make_shared<product>();
  o->a_offset.assign(args.a_offset.begin(), args.a_offset.end());
  o->b_offset.assign(args.b_offset.begin(), args.b_offset.end());
  o->a_offset.resize(batch);
  o->b_offset.resize(batch);
  const std::int64_t a_step = even_step(o->a_offset), b_step = even_step(o->b_offset);
  const bool tall = batch == 1 || (b_step == 0 && a_step == args.m * args.k && !args.a_trans);
  if (args.b && tall) {
    o->one = make_products(args, args.m * count, {}, args.b + o->b_offset[0]);
    o->b_offset = {0};
    o->a_offset.resize(1);
    return o;
  }
  if (args.b) {
    const std::int64_t last = *std::max_element(o->b_offset.begin(), o->b_offset.end());
    o->b.assign(args.b, args.b + last + args.k * args.n);
  }
  if (a_step >= 0 && b_step >= 0) {
    o->one = make_products(args, args.m, {count, a_step, b_step}, nullptr);
    o->a_offset.resize(1);
    o->b_offset.resize(1);
  } else {
    o->one = make_products(args, args.m, {}, nullptr);
    o->c_step = args.m * args.n;
  }
  return o;
}

}  // namespace onednn

/// Convolution by oneDNN, direct algorithm.
///
/// returns  one unit for the whole operation; empty where oneDNN refuses, is slower, or nothing is to be computed
/// error    |y - exact| ≤ (k + 1) · 2^-24 · (|bias| + Σ|w · x|), to first order
inline kernels::prepared onednn_conv(const kernels::conv_args& args) {
  const kernels::conv_geometry& g = args.geometry;
  if (std::min({g.batch, g.in_h, g.in_w, g.in_c, g.out_h, g.out_w, g.out_c}) < 1) return {};
  if (g.batch * g.in_h * g.in_w == 1 && g.groups == 1) return {};
  try {
    auto o = onednn::make_conv(args);
    const std::size_t scratch = o->scratchpad.get_size();
    return {.object = std::move(o),
            .run = onednn::run_conv,
            .units = 1,
            .scratch = scratch,
            .whole_op = true,
            .name = "oneDNN"};
  } catch (const dnnl::error&) {
    return {};
  }
}

/// Batched product by oneDNN: one call for evenly spaced batches, one per product otherwise.
///
/// returns  one unit for the whole operation; empty where oneDNN refuses, is slower, or nothing is to be computed
/// error    |c - exact| ≤ (k + 1) · 2^-24 · (|bias| + Σ|a · b|), to first order
inline kernels::prepared onednn_matmul(const kernels::matmul_args& args) {
  if (std::min({args.m, args.n, args.k}) < 1) return {};
  if (args.m == 1 && args.b && std::max(args.a_offset.size(), args.b_offset.size()) <= 1) return {};
  try {
    auto o = onednn::make_matmul(args);
    const std::size_t scratch = o->one->scratchpad.get_size();
    return {.object = std::move(o),
            .run = onednn::run_matmul,
            .units = 1,
            .scratch = scratch,
            .whole_op = true,
            .name = "oneDNN"};
  } catch (const dnnl::error&) {
    return {};
  }
}

/// The table with oneDNN behind fast_conv and fast_matmul.
inline kernels::kernel_table with_onednn(kernels::kernel_table table) {
  table.fast_conv = onednn_conv;
  table.fast_matmul = onednn_matmul;
  return table;
}

}  // namespace ptq::native
