#pragma once
// SPDX-License-Identifier: Apache-2.0
// 8-bit convolution by oneDNN 2.x, to compare with and to fall back on. Equal to the reference where
// oneDNN has vpdpbusd; on AVX2 and SSE4.1 its vpmaddubsw saturates, and results differ where a pair
// of weights exceeds 16 bits (pair_add.hpp). So no exact table lists it.
//
// oneDNN 3.x adds the bias after its scales, in float: not our arithmetic, and refused here.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include <ptq/native/onednn.hpp>

namespace ptq::native {

#if DNNL_VERSION_MAJOR < 3

namespace onednn {

/// A convolution of codes with its constants.
struct code_primitive {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::primitive run;
  desc src, dst, scratchpad;
  dnnl::memory weights, bias;

  void execute(const void* x, void* y, std::byte* scratch) const {
    const auto at = [this](const desc& d, const void* p) {
      return dnnl::memory(d, engine, const_cast<void*>(p));
    };
    dnnl::stream stream(engine);
    run.execute(stream, {{DNNL_ARG_SRC, at(src, x)},
                         {DNNL_ARG_WEIGHTS, weights},
                         {DNNL_ARG_BIAS, bias},
                         {DNNL_ARG_DST, at(dst, y)},
                         {DNNL_ARG_SCRATCHPAD, at(scratchpad, scratch)}});
    stream.wait();
  }
};

/// round(acc · multiplier), clamped, plus zero point; or the clamped product as a real.
inline dnnl::primitive_attr code_attributes(const kernels::qconv_args& args) {
  const kernels::int_epilogue& e = args.epilogue;
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const int per_channel = e.multiplier.size() > 1 ? 1 << 1 : 0;
  attr.set_output_scales(per_channel, {e.multiplier.begin(), e.multiplier.end()});
  if (args.x_zero_point != 0) attr.set_zero_points(DNNL_ARG_SRC, 0, {args.x_zero_point});
  const float low = e.to_float ? e.float_low : static_cast<float>(e.low - e.zero_point);
  const float high = e.to_float ? e.float_high : static_cast<float>(e.high - e.zero_point);
  if (!e.to_float && e.zero_point != 0) attr.set_zero_points(DNNL_ARG_DST, 0, {e.zero_point});
  const bool whole = e.to_float ? !clamp{low, high}.active() : e.low <= 0 && e.high >= 255;
  if (whole) return attr;
  dnnl::post_ops ops;
  ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_clip, low, high);
  attr.set_post_ops(ops);
  return attr;
}

inline std::shared_ptr<code_primitive> make_code_conv(const kernels::qconv_args& args) {
  using type = dnnl::memory::data_type;
  const conv_layout l(args.geometry);
  auto o = std::make_shared<code_primitive>();
  o->src = desc(l.x, type::u8, l.x_strides);
  o->dst = desc(l.y, args.epilogue.to_float ? type::f32 : type::u8, l.y_strides);
  const desc any(l.w, type::s8, dnnl::memory::format_tag::any);
  const desc bias({args.geometry.out_c}, type::s32, dnnl::memory::format_tag::x);
  const dnnl::convolution_forward::desc d(dnnl::prop_kind::forward_inference,
                                          dnnl::algorithm::convolution_direct, o->src, any, bias,
                                          o->dst, l.step, l.dilation, l.before, l.after);
  const dnnl::convolution_forward::primitive_desc pd(d, code_attributes(args), o->engine);
  o->run = dnnl::convolution_forward(pd);
  o->scratchpad = pd.scratchpad_desc();
  o->weights = dnnl::memory(pd.weights_desc(), o->engine);
  o->bias = dnnl::memory(bias, o->engine);
  auto* sums = static_cast<std::int32_t*>(o->bias.get_data_handle());
  std::fill(sums, sums + args.geometry.out_c, 0);
  if (args.bias) std::copy(args.bias, args.bias + args.geometry.out_c, sums);
  dnnl::memory user(desc(l.w, type::s8, l.w_strides), o->engine,
                    const_cast<std::int8_t*>(args.weights));
  dnnl::stream stream(o->engine);
  dnnl::reorder(user, o->weights).execute(stream, user, o->weights);
  stream.wait();
  return o;
}

inline void run_code_conv(const void* object, const kernels::operands& io, std::byte* scratch,
                          work_range) {
  static_cast<const code_primitive*>(object)->execute(io.src[0], io.dst, scratch);
}

}  // namespace onednn

/// 8-bit convolution by oneDNN.
///
/// returns  one unit for the whole operation; empty where oneDNN refuses, nothing is to be computed,
///          or a residual is to be added or a function taken (their roundings are not ours)
inline kernels::prepared onednn_qconv(const kernels::qconv_args& args) {
  const kernels::conv_geometry& g = args.geometry;
  if (args.epilogue.add) return {};
  if (args.epilogue.function.what != kernels::epilogue_function::kind::none) return {};
  if (std::min({g.batch, g.in_h, g.in_w, g.in_c, g.out_h, g.out_w, g.out_c}) < 1) return {};
  try {
    auto o = onednn::make_code_conv(args);
    const std::size_t scratch = o->scratchpad.get_size();
    return {.object = std::move(o),
            .run = onednn::run_code_conv,
            .units = 1,
            .scratch = scratch,
            .whole_op = true,
            .name = "oneDNN"};
  } catch (const dnnl::error&) {
    return {};
  }
}

#else

inline kernels::prepared onednn_qconv(const kernels::qconv_args&) { return {}; }

#endif

/// What oneDNN computes of integer programs.
inline kernels::kernel_table onednn_int8_table() {
  kernels::kernel_table table;
  table.isa = "onednn_int8";
  table.qconv = onednn_qconv;
  return table;
}

}  // namespace ptq::native
