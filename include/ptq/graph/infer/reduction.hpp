#pragma once
// SPDX-License-Identifier: Apache-2.0
// Extents of products and reductions, and of operators that search or scan along an axis.

#include <algorithm>
#include <cstdint>
#include <string>

#include <ptq/graph/infer/elementwise.hpp>
#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

/// Leading axes broadcast, the last two multiply; a vector operand lends a 1 that is dropped again.
inline shape product(const operands& in, const op::matmul& o) {
  shape a = in.dims(0), b = in.dims(1);
  if (a.rank() == 0 || b.rank() == 0) in.fail("operands", "rank 1 or more", "a scalar");
  if ((o.trans_a && a.rank() != 2) || (o.trans_b && b.rank() != 2))
    in.fail("transposed operand", "rank 2", (o.trans_a && a.rank() != 2 ? a : b).text());
  const bool row = a.rank() == 1, column = b.rank() == 1;
  if (row) a.dims.insert(a.dims.begin(), 1);
  if (column) b.dims.push_back(1);
  if (o.trans_a) std::swap(a[0], a[1]);
  if (o.trans_b) std::swap(b[0], b[1]);
  const int ra = a.rank(), rb = b.rank();
  in.same_extent(a[ra - 1], b[rb - 2], "inner extent of " + a.text() + " · " + b.text());
  const shape outer_a(std::vector<std::int64_t>(a.dims.begin(), a.dims.end() - 2));
  const shape outer_b(std::vector<std::int64_t>(b.dims.begin(), b.dims.end() - 2));
  shape r = broadcast(in, outer_a, outer_b);
  if (!row) r.dims.push_back(a[ra - 2]);
  if (!column) r.dims.push_back(b[rb - 1]);
  return r;
}

inline std::vector<inferred> infer(const op::matmul& o, const operands& in) {
  if (!in.shaped(0) || !in.shaped(1)) return {unshaped(in.type(0))};
  const shape r = product(in, o);
  if (in.has(2) && in.shaped(2)) {
    const shape with = broadcast(in, r, in.dims(2));
    bool grows = with.rank() != r.rank();
    for (int i = 0; !grows && i < r.rank(); ++i)
      grows = r[i] >= 0 && with[i] >= 0 && with[i] != r[i];
    if (grows) in.fail("bias", "extents that broadcast to " + r.text(), in.dims(2).text());
  }
  return {shaped_as(in.type(0), r)};
}

/// The one element that a reduction of a whole small value leaves.
inline std::optional<std::int64_t> reduced(reduce_kind k, const partial_elements& e) {
  if (e.empty()) return std::nullopt;
  std::optional<std::int64_t> r;
  for (const auto& x : e) {
    if (!x || is_symbol(*x)) return std::nullopt;
    const auto ux = static_cast<std::uint64_t>(*x);
    const auto ur = static_cast<std::uint64_t>(r.value_or(0));
    switch (k) {
      case reduce_kind::prod:
        r = r ? wrapping(ur * ux) : *x;
        break;
      case reduce_kind::sum:
        r = wrapping(ur + ux);
        break;
      case reduce_kind::max:
        r = r ? std::max(*r, *x) : *x;
        break;
      case reduce_kind::min:
        r = r ? std::min(*r, *x) : *x;
        break;
      default:
        return std::nullopt;
    }
  }
  return r;
}

inline std::vector<inferred> infer(const op::reduce& o, const operands& in) {
  inferred r = unshaped(in.type(0));
  if (!in.shaped(0)) return {r};
  const shape& x = in.dims(0);
  const int rank = x.rank();
  std::vector<bool> gone(x.dims.size());
  if (!in.has(1)) {
    gone.assign(x.dims.size(), !o.noop_with_empty_axes);
  } else if (const auto axes = in.integers(1)) {
    if (axes->empty()) gone.assign(x.dims.size(), !o.noop_with_empty_axes);
    for (auto a : *axes) gone[static_cast<std::size_t>(in.axis(a, rank, "axes"))] = true;
  } else {
    if (o.keepdims) r = shaped_as(r.type, shape(std::vector<std::int64_t>(x.dims.size(), unknown)));
    return {r};
  }
  r.shaped = true;
  for (int i = 0; i < rank; ++i) {
    if (!gone[static_cast<std::size_t>(i)])
      r.dims.dims.push_back(x[i]);
    else if (o.keepdims)
      r.dims.dims.push_back(1);
  }
  const auto e = in.elements(0);
  const bool whole = std::all_of(gone.begin(), gone.end(), [](bool b) { return b; });
  if (e && whole && in.type(0) != dtype::f32) r.elements = partial_elements{reduced(o.kind, *e)};
  return {r};
}

inline std::vector<inferred> infer(const op::arg_reduce& o, const operands& in) {
  inferred r = unshaped(dtype::s64);
  if (!in.shaped(0)) return {r};
  r = shaped_as(dtype::s64, in.dims(0));
  const int axis = in.axis(o.axis, r.dims.rank());
  if (o.keepdims)
    r.dims[axis] = 1;
  else
    r.dims.dims.erase(r.dims.dims.begin() + axis);
  return {r};
}

inline std::vector<inferred> infer(const op::top_k& o, const operands& in) {
  inferred values = like(in), indices = like(in);
  indices.type = dtype::s64;
  in.at(1);
  if (values.shaped) {
    const int axis = in.axis(o.axis, values.dims.rank());
    const auto k = in.integers(1);
    const auto extent = values.dims[axis];
    std::int64_t n = unknown;
    if (k) {
      if (k->size() != 1) in.fail("k", "one element", std::to_string(k->size()));
      n = (*k)[0];
      if (n < 0 || (extent >= 0 && n > extent))
        in.fail("k", "[0," + std::to_string(extent) + "]", std::to_string(n));
    }
    values.dims[axis] = indices.dims[axis] = n;
  }
  return {values, indices};
}

inline std::vector<inferred> infer(const op::cumulative_sum&, const operands& in) {
  if (in.shaped(0))
    if (const auto axis = in.integers(1)) {
      if (axis->size() != 1) in.fail("axis", "one element", std::to_string(axis->size()));
      in.axis((*axis)[0], in.dims(0).rank());
    }
  return {like(in)};
}

inline std::vector<inferred> infer(const op::triangle&, const operands& in) {
  if (in.shaped(0)) in.rank_at_least(0, 2);
  return {like(in)};
}

}  // namespace ptq::inference
