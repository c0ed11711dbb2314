#pragma once
// SPDX-License-Identifier: Apache-2.0
// Target extents of ONNX Reshape, Flatten, Squeeze and Unsqueeze. A free extent that is copied (0)
// cancels, so that -1 resolves beside it.

#include <algorithm>
#include <cstdint>
#include <string>

#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

/// Product of the known extents; saturates above largest_extent².
inline std::int64_t known_product(const shape& s) {
  constexpr std::int64_t most = std::int64_t{1} << 62;
  std::int64_t n = 1;
  for (auto d : s.dims)
    if (d >= 0) n = d != 0 && n > most / d ? most : n * d;
  return n;
}

/// Free extents of a reshape's input, crossed out as the target repeats them.
class free_extents {
 public:
  explicit free_extents(const shape& s) : left_(s.dims) {}
  /// Crosses out one extent equal to `d`, by preference at axis `i`; an unnamed one only there, and
  /// only if copied.
  bool cross_out(std::int64_t d, std::size_t i, bool copied) {
    if (i < left_.size() && left_[i] == d && (copied || is_symbol(d))) {
      left_[i] = 1;
      return true;
    }
    const auto at = is_symbol(d) ? std::find(left_.begin(), left_.end(), d) : left_.end();
    if (at == left_.end()) return false;
    *at = 1;
    return true;
  }
  op::ints remaining() const {
    op::ints r;
    for (auto d : left_)
      if (d < 0) r.push_back(d);
    return r;
  }

 private:
  op::ints left_;
};

/// Fills the one extent that the others determine (the -1 of the target, or an unknown element).
inline void settle(const operands& in, shape& r, int open, std::size_t unmatched,
                   const op::ints& left) {
  const shape& x = in.dims(0);
  const auto total = known_product(x), part = known_product(r);
  if (open < 0 && unmatched == 1)
    for (int i = 0; i < r.rank(); ++i)
      if (r[i] == unknown) open = i;
  if (open < 0) {
    if (unmatched == 0 && left.empty() && total != part)
      in.fail("elements", std::to_string(total) + " of " + x.text(), r.text());
    return;
  }
  if (unmatched > 1 || part == 0 || total == 0) {
    if (total == 0 && part != 0 && left.empty()) r[open] = 0;
    return;
  }
  if (left.empty()) {
    if (total % part != 0) in.fail("elements", "a multiple of " + std::to_string(part), x.text());
    r[open] = in.extent(total / part, "shape");
  } else if (left.size() == 1 && total == part) {
    r[open] = left[0];
  }
}

/// Target extents of ONNX Reshape: 0 copies, -1 takes what is left, an unknown element is an
/// unknown extent.
inline shape reshaped(const operands& in, const partial_elements& target, bool allow_zero) {
  const shape x = in.shaped(0) ? in.dims(0) : shape{};
  free_extents left(x);
  shape r;
  int open = -1;
  std::size_t unmatched = 0;  // extents of the result that are neither known nor x's
  for (std::size_t i = 0; i < target.size(); ++i) {
    auto d = target[i].value_or(unknown);
    if (target[i] && d == -1) {
      if (open >= 0) in.fail("shape", "at most one -1", "two");
      open = static_cast<int>(i);
      ++unmatched;
    } else {
      const bool copied = d == 0 && !allow_zero;
      if (copied && in.shaped(0) && i >= x.dims.size())
        in.fail("shape", "a 0 only where the input has an axis", "0 at " + std::to_string(i));
      if (copied)
        d = in.shaped(0) ? x.dims[i] : unknown;
      else if (target[i])
        in.asked(d, "shape");
      if (d < 0 && !left.cross_out(d, i, copied)) ++unmatched;
    }
    r.dims.push_back(d);
  }
  if (in.shaped(0)) settle(in, r, open, unmatched, left.remaining());
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
      d = d == 1              ? x[i]
          : x[i] == 1         ? d
          : d < 0 || x[i] < 0 ? unknown
                              : in.extent(d * x[i], "extent");
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
