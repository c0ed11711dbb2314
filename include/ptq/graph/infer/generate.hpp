#pragma once
// SPDX-License-Identifier: Apache-2.0
// Extents of operators whose result depends on shapes or on a few numbers: shape_of,
// constant_of_shape, range, resize; and of those that only change what a value is called or coded
// as.

#include <cmath>
#include <cstdint>
#include <string>

#include <ptq/graph/infer/elementwise.hpp>
#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

inline std::vector<inferred> infer(const op::shape_of& o, const operands& in) {
  inferred r = unshaped(dtype::s64);
  in.at(0);
  if (!in.shaped(0)) {
    r.dims = shape{unknown};
    r.shaped = true;
    return {r};
  }
  const auto& d = in.dims(0).dims;
  const auto rank = static_cast<std::int64_t>(d.size());
  const auto place = [&](std::int64_t v) {
    return std::clamp<std::int64_t>(v < 0 ? std::max(v, -rank) + rank : v, 0, rank);
  };
  const auto begin = place(o.start), end = std::max(begin, place(o.end));
  r.elements.emplace();
  for (auto i = begin; i < end; ++i) {
    const auto e = d[static_cast<std::size_t>(i)];
    r.elements->push_back(e < 0 && !is_symbol(e) ? std::nullopt : std::optional(e));
  }
  r.dims = shape{end - begin};
  r.shaped = true;
  if (end - begin > most_elements) r.elements.reset();
  return {r};
}

inline std::vector<inferred> infer(const op::constant_of_shape& o, const operands& in) {
  inferred r = unshaped(o.value.empty() ? dtype::f32 : o.value.type());
  const auto target = shape_operand(in, 0);
  if (!target) return {r};
  for (const auto& d : *target) r.dims.dims.push_back(d ? in.asked(*d, "shape") : unknown);
  r.shaped = true;
  if (!followed(r)) return {r};
  const auto fill =
      o.value.empty() ? std::optional(partial_elements{bits_of(0.0f)}) : elements_of(o.value);
  if (fill && fill->size() == 1)
    r.elements.emplace(static_cast<std::size_t>(r.dims.size()), (*fill)[0]);
  return {r};
}

inline std::vector<inferred> infer(const op::range&, const operands& in) {
  in.at(2);
  inferred r = shaped_as(in.type(0), shape{unknown});
  const auto one = [&](std::size_t i) -> std::optional<std::int64_t> {
    const auto e = in.elements(i);
    if (!e) return std::nullopt;
    if (e->size() != 1) in.fail("operand " + std::to_string(i), "a scalar", in.dims(i).text());
    return (*e)[0] && is_symbol(*(*e)[0]) ? std::nullopt : (*e)[0];
  };
  const auto start = one(0), limit = one(1), delta = one(2);
  if (!start || !limit || !delta) return {r};
  const bool real = r.type == dtype::f32;
  const auto number = [&](std::int64_t v) {
    return real ? static_cast<double>(real_of(v)) : static_cast<double>(v);
  };
  if (!(number(*delta) != 0.0)) in.fail("delta", "not 0", "0");
  const double n = std::ceil((number(*limit) - number(*start)) / number(*delta));
  if (!(n <= static_cast<double>(largest_extent)))
    in.fail("elements", "at most " + std::to_string(largest_extent), std::to_string(n));
  r.dims[0] = n < 0 ? 0 : static_cast<std::int64_t>(n);
  if (real || !followed(r)) return {r};
  r.elements.emplace();
  for (std::int64_t i = 0; i < r.dims[0]; ++i)
    r.elements->push_back(
        combined(binary_kind::add, *start, *combined(binary_kind::mul, i, *delta)));
  return {r};
}

/// Extents asked for by `sizes`; under an aspect policy all axes share the smallest or largest of
/// their scales.
inline void fit_sizes(const op::resize& o, const operands& in, const op::ints& axes,
                      const partial_elements& sizes, shape& out) {
  std::optional<double> shared;
  const shape& x = in.dims(0);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (!sizes[i]) continue;
    const int a = static_cast<int>(axes[i]);
    out[a] = in.asked(*sizes[i], "sizes");
    if (x[a] <= 0 || out[a] < 0) continue;
    const double s = static_cast<double>(out[a]) / static_cast<double>(x[a]);
    const bool least = o.keep_aspect == op::resize::policy::not_larger;
    shared = !shared ? s : least ? std::min(*shared, s) : std::max(*shared, s);
  }
  if (o.keep_aspect == op::resize::policy::stretch) return;
  for (auto axis : axes) {
    const int a = static_cast<int>(axis);
    // Half rounds up, as the operator says.
    out[a] = x[a] < 0 || !shared
                 ? unknown
                 : static_cast<std::int64_t>(std::floor(*shared * static_cast<double>(x[a]) + 0.5));
  }
}

inline std::vector<inferred> infer(const op::resize& o, const operands& in) {
  auto r = like(in);
  if (!r.shaped) return {r};
  const int rank = r.dims.rank();
  auto axes = o.axes;
  if (axes.empty())
    for (int i = 0; i < rank; ++i) axes.push_back(i);
  for (auto& a : axes) a = in.axis(a, rank, "axes");
  const auto n = axes.size();
  const auto check = [&](const partial_elements& e, const char* what) {
    if (e.size() != n) in.fail(what, std::to_string(n) + " elements", std::to_string(e.size()));
  };
  for (auto a : axes) r.dims[static_cast<int>(a)] = unknown;
  if (in.has(3)) {
    if (const auto sizes = shape_operand(in, 3)) {
      check(*sizes, "sizes");
      fit_sizes(o, in, axes, *sizes, r.dims);
    }
    return {r};
  }
  if (!in.has(2)) in.fail("inputs", "scales or sizes", "neither");
  const auto scales = in.elements(2);
  if (!scales || in.type(2) != dtype::f32) return {r};
  check(*scales, "scales");
  const bool cropped = o.at == op::resize::coordinates::tf_crop_and_resize;
  const auto roi = cropped ? in.elements(1) : std::nullopt;
  for (std::size_t i = 0; i < n; ++i) {
    const auto d = in.dims(0)[static_cast<int>(axes[i])];
    if (d < 0 || !(*scales)[i]) continue;
    float extent = static_cast<float>(d) * real_of(*(*scales)[i]);
    if (cropped) {
      if (!roi || roi->size() != 2 * n || !(*roi)[i] || !(*roi)[n + i]) continue;
      extent = static_cast<float>(d) * (real_of(*(*roi)[n + i]) - real_of(*(*roi)[i])) *
               real_of(*(*scales)[i]);
    }
    if (!(extent >= 0.0f && extent <= static_cast<float>(largest_extent)))
      in.fail("scale", "a positive finite number", std::to_string(real_of(*(*scales)[i])));
    r.dims[static_cast<int>(axes[i])] = static_cast<std::int64_t>(std::floor(extent));
  }
  return {r};
}

inline std::vector<inferred> infer(const op::identity&, const operands& in) {
  auto r = like(in);
  r.elements = in.elements(0);
  return {r};
}

inline std::vector<inferred> infer(const op::quantize_linear&, const operands& in) {
  auto r = like(in);
  r.type = in.has(2) ? in.type(2) : dtype::u8;
  in.at(1);
  return {r};
}

inline std::vector<inferred> infer(const op::dequantize_linear&, const operands& in) {
  auto r = like(in);
  r.type = dtype::f32;
  in.at(1);
  return {r};
}

}  // namespace ptq::inference
