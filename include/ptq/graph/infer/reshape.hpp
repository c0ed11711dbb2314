#pragma once
// SPDX-License-Identifier: Apache-2.0
// Target extents of ONNX Reshape, Flatten, Squeeze and Unsqueeze. A free extent that is copied (0) cancels, so that -1
// resolves beside it.

#include <algorithm>
#include <cstdint>
#include <string>

#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

/// Product of the known extents; unknown ones are counted in `free`. Saturates above
/// largest_extent².
inline std::int64_t known_product(const shape& s, int& free) {
  std::int64_t n = 1;
  free = 0;
  for (auto d : s.dims) {
    if (d < 0)
      ++free;
    else
      n = d != 0 && n > (std::int64_t{1} << 62) / d ? std::int64_t{1} << 62 : n * d;
  }
  return n;
}

/// Target extents of ONNX Reshape: 0 copies, -1 takes what is left, an unknown element is an
/// unknown extent.
inline shape reshaped(const operands& in, const partial_elements& target, bool allow_zero) {
  const shape* x = in.shaped(0) ? &in.dims(0) : nullptr;
  shape r;
  int inferred_at = -1, copied_free = 0;
  for (std::size_t i = 0; i < target.size(); ++i) {
    auto d = target[i].value_or(unknown);
    if (target[i] && d == -1) {
      if (inferred_at >= 0) in.fail("shape", "at most one -1", "two");
      inferred_at = static_cast<int>(i);
    } else if (d == 0 && !allow_zero) {
      if (x && i >= x->dims.size())
        in.fail("shape", "a 0 only where the input has an axis", "0 at " + std::to_string(i));
      d = x ? x->dims[i] : unknown;
      if (d < 0) ++copied_free;  // the same free extent on both sides: it cancels below
    } else if (target[i]) {
      in.extent(d < 0 ? -2 : d, "shape");
    }
    r.dims.push_back(d);
  }
  if (!x) return r;
  int x_free = 0, r_free = 0;
  const auto total = known_product(*x, x_free), part = known_product(r, r_free);
  const bool open = inferred_at >= 0;
  if (x_free == copied_free && r_free == copied_free + (open ? 1 : 0)) {
    if (open && part > 0) {
      if (total % part != 0)
        in.fail("elements", "a multiple of " + std::to_string(part), x->text());
      r[inferred_at] = in.extent(total / part, "shape");
    } else if (open) {
      r[inferred_at] = 0;
    } else if (total != part && x_free == 0) {
      in.fail("elements", std::to_string(total) + " of " + x->text(), r.text());
    }
  } else if (x_free == 0 && r_free == 1 && !open && part > 0 && total % part == 0) {
    for (auto& d : r.dims)
      if (d < 0) d = total / part;  // the one unknown element has no choice
  }
  return r;
}

inline shape flattened(const operands& in, std::int64_t axis) {
  const shape& x = in.dims(0);
  const int at = axis == x.rank() ? x.rank() : in.axis(axis, std::max(1, x.rank()));
  shape r{1, 1};
  for (int i = 0; i < x.rank(); ++i) {
    auto& d = r[i < at ? 0 : 1];
    if (x[i] == 0 || d == 0)
      d = 0;
    else
      d = d < 0 || x[i] < 0 ? unknown : in.extent(d * x[i], "extent");
  }
  return r;
}

inline std::optional<shape> squeezed(const operands& in) {
  const shape& x = in.dims(0);
  std::vector<bool> gone(x.dims.size());
  if (in.has(1)) {
    const auto axes = in.integers(1);
    if (!axes) return std::nullopt;
    for (auto a : *axes) {
      const int i = in.axis(a, x.rank(), "axes");
      in.same_extent(1, x[i], "extent of axis " + std::to_string(i));
      gone[static_cast<std::size_t>(i)] = true;
    }
  } else {
    if (!x.known()) return std::nullopt;
    for (std::size_t i = 0; i < gone.size(); ++i) gone[i] = x.dims[i] == 1;
  }
  shape r;
  for (std::size_t i = 0; i < gone.size(); ++i)
    if (!gone[i]) r.dims.push_back(x.dims[i]);
  return r;
}

inline std::optional<shape> unsqueezed(const operands& in) {
  in.at(1);
  const auto axes = in.integers(1);
  if (!axes) return std::nullopt;
  const shape& x = in.dims(0);
  const int rank = x.rank() + static_cast<int>(axes->size());
  std::vector<bool> fresh(static_cast<std::size_t>(rank));
  for (auto a : *axes) {
    const auto i = static_cast<std::size_t>(in.axis(a, rank, "axes"));
    if (fresh[i]) in.fail("axes", "distinct", shape(*axes).text());
    fresh[i] = true;
  }
  shape r;
  std::size_t next = 0;
  for (bool f : fresh) r.dims.push_back(f ? 1 : x.dims[next++]);
  return r;
}

inline std::vector<inferred> infer(const op::reshape& o, const operands& in) {
  inferred r = unshaped(in.type(0));
  std::optional<shape> s;
  if (o.what == op::reshape::kind::to_shape) {
    in.at(1);
    if (const auto target = shape_operand(in, 1)) s = reshaped(in, *target, o.allow_zero);
  } else if (!in.shaped(0)) {
    return {r};
  } else if (o.what == op::reshape::kind::flatten) {
    s = flattened(in, o.axis);
  } else {
    s = o.what == op::reshape::kind::squeeze ? squeezed(in) : unsqueezed(in);
  }
  if (!s) return {r};
  r.dims = *s;
  r.shaped = true;
  r.elements = in.elements(0);
  return {r};
}

}  // namespace ptq::inference
