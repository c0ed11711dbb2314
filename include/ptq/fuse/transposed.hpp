#pragma once
// SPDX-License-Identifier: Apache-2.0
// A transposed convolution of stride s as an ordinary one over the small image, whose s² · o channels are
// the s × s pixels that each input pixel becomes (sub-pixel convolution, Shi et al. 2016), then depth to
// space, and a slice where the pads cut into the first or last of these pixels:
//
//   y[s·i + p] = Σ_d x[i − d] · w[p + s·d]      d from 0 to ⌈k / s⌉ − 1, weights beyond k are 0
//
// So it runs on the kernels of convolutions, in integers too, here and in other runtimes. Where s does not
// divide k, zeros are multiplied: 16 products in place of 9 for a 3×3 filter of stride 2.

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <ptq/graph/infer.hpp>
#include <ptq/graph/match.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::fusing {

/// One axis of such a rewriting, for the whole window: pads may be as large as it.
struct subpixel_axis {
  std::int64_t stride = 1, kernel = 1, taps = 1;  // taps: of the ordinary convolution
  std::int64_t pad_begin = 0, pad_end = 0;        // of it
  std::int64_t cut_begin = 0, cut_end = 0;        // of the finished pixels, each less than a stride

  subpixel_axis(std::int64_t s, std::int64_t k, std::int64_t begin, std::int64_t end) : stride(s), kernel(k) {
    const auto down = [s](std::int64_t v) { return v >= 0 ? v / s : -((-v + s - 1) / s); };
    taps = (k + s - 1) / s;
    // without pads there are stride · taps − kernel pixels too many at the end
    const std::int64_t surplus = s * taps - k + end;
    pad_begin = taps - 1 - down(begin);
    pad_end = taps - 1 - down(surplus);
    cut_begin = begin - s * down(begin);
    cut_end = surplus - s * down(surplus);
  }
};

/// Whether node n can be rewritten, and both axes.
inline std::optional<std::pair<subpixel_axis, subpixel_axis>> subpixel_axes(const rewriter& g, int n) {
  const auto* t = match::as<op::conv_transpose>(g, n);
  if (!t || t->groups != 1) return std::nullopt;
  const auto x = match::operand(g, n, 0), b = match::operand(g, n, 2), y = match::result(g, n);
  const auto* w = match::real_constant(g, match::operand(g, n, 1));
  const auto* bias = match::real_constant(g, b);
  if (!w || w->dims().rank() != 4 || (b != none && !bias)) return std::nullopt;
  if (!g[x].shaped || g[x].dims.rank() != 4 || g[x].quant || g[y].quant) return std::nullopt;
  if (bias && bias->size() != w->dims()[1]) return std::nullopt;
  const shape plane{g[x].dims[2], g[x].dims[3]}, kernel{w->dims()[2], w->dims()[3]};
  const auto c = resolved(*t, plane, kernel);
  const auto& win = c.win;
  if (win.same != op::window::auto_pad::none || !c.output_shape.empty()) return std::nullopt;
  if (win.pads.size() != 4 || win.strides.size() != 2 || c.output_padding.size() != 2) return std::nullopt;
  if (win.dilations != op::ints{1, 1} || win.strides[0] != win.strides[1] || win.strides[0] < 1) return std::nullopt;
  const auto s = win.strides[0];
  constexpr std::int64_t largest = 1 << 10;  // of what is no image
  for (auto v : {s, kernel[0], kernel[1], win.pads[0], win.pads[1], win.pads[2], win.pads[3]})
    if (v > largest || v < -largest) return std::nullopt;
  const subpixel_axis h(s, kernel[0], win.pads[0], win.pads[2] - c.output_padding[0]);
  const subpixel_axis v(s, kernel[1], win.pads[1], win.pads[3] - c.output_padding[1]);
  if (h.pad_begin < 0 || h.pad_end < 0 || v.pad_begin < 0 || v.pad_end < 0) return std::nullopt;
  // more than twice the products: zeros would cost more than the integers save
  if (s * s * h.taps * v.taps > 2 * kernel[0] * kernel[1]) return std::nullopt;
  return std::pair{h, v};
}

/// [in, out, kh, kw] → [s · s · out, in, taps, taps]: phase by phase, the taps turned round.
inline tensor subpixel_weights(const tensor& w, const subpixel_axis& h, const subpixel_axis& v) {
  const auto in = w.dims()[0], out = w.dims()[1], s = h.stride;
  tensor t(dtype::f32, {s * s * out, in, h.taps, v.taps});
  const auto from = w.view<float>();
  auto to = t.mutable_view<float>();
  std::size_t at = 0;
  for (std::int64_t phase = 0; phase < s * s; ++phase)
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i)
        for (std::int64_t a = h.taps; a-- > 0;)
          for (std::int64_t b = v.taps; b-- > 0; ++at) {
            const auto y = phase / s + s * a, x = phase % s + s * b;
            const bool there = y < h.kernel && x < v.kernel;
            to[at] = there ? from[static_cast<std::size_t>(((i * out + o) * h.kernel + y) * v.kernel + x)] : 0.0f;
          }
  return t;
}

inline tensor repeated_bias(const tensor& bias, std::int64_t times) {
  tensor t(dtype::f32, {times * bias.size()});
  const auto from = bias.view<float>();
  auto to = t.mutable_view<float>();
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = from[i % from.size()];
  return t;
}

/// One sweep; true if something changed.
inline bool transposed_convolutions(graph& g) {
  rewriter edit(infer(std::move(g)));
  const int count = edit.node_count();
  const auto integers = [&](const std::string& name, std::vector<std::int64_t> v) {
    return edit.add_constant(name, tensor::from<std::int64_t>({static_cast<std::int64_t>(v.size())},
                                                              std::span<const std::int64_t>(v)));
  };
  for (int n = 0; n < count; ++n) {
    const auto axes = edit.removed(n) ? std::nullopt : subpixel_axes(edit, n);
    if (!axes) continue;
    const auto& [h, v] = *axes;
    const auto s = h.stride;
    const auto x = match::operand(edit, n, 0), y = match::result(edit, n);
    const auto name = edit.at(n).name, y_name = edit[y].name;
    const auto& weights = *match::real_constant(edit, match::operand(edit, n, 1));
    std::vector<value_id> inputs{x, edit.add_constant(name + "_subpixels", subpixel_weights(weights, h, v))};
    if (const auto* bias = match::real_constant(edit, match::operand(edit, n, 2)))
      inputs.push_back(edit.add_constant(name + "_subpixel_bias", repeated_bias(*bias, s * s)));
    op::conv c;
    c.act = std::get<op::conv_transpose>(edit.at(n).what).act;
    c.win.kernel = {h.taps, v.taps};
    c.win.strides = {1, 1};
    c.win.dilations = {1, 1};
    c.win.pads = {h.pad_begin, v.pad_begin, h.pad_end, v.pad_end};
    const bool cut = h.cut_begin + h.cut_end + v.cut_begin + v.cut_end > 0;
    edit.set(n, c, std::move(inputs));
    if (s == 1) continue;  // nothing is cut: any pad fits
    const auto pixels = edit.add_value(y_name + "_subpixels");
    const auto whole = cut ? edit.add_value(y_name + "_whole") : y;
    edit.take_over(n, pixels);
    edit.insert(rewriter::side::after, n, {name + "_to_space", op::depth_to_space{.block = s}, {pixels}, {whole}, {}});
    if (!cut) continue;
    const auto end = [](std::int64_t less) { return less > 0 ? -less : std::numeric_limits<std::int64_t>::max(); };
    const auto starts = integers(name + "_cut_starts", {h.cut_begin, v.cut_begin});
    const auto ends = integers(name + "_cut_ends", {end(h.cut_end), end(v.cut_end)});
    const auto along = integers(name + "_cut_axes", {2, 3});
    edit.insert(rewriter::side::after, n, {name + "_cut", op::slice{}, {whole, starts, ends, along}, {y}, {}});
  }
  const bool changed = edit.changed();
  g = edit.finish();
  return changed;
}

}  // namespace ptq::fusing
