#pragma once
// SPDX-License-Identifier: Apache-2.0
// Extents of operators that move elements without computing: transpose, concat, split,
// slice, gather, expand, tile, pad, depth_to_space. Small integer values keep their known elements
// through them.

#include <algorithm>
#include <cstdint>
#include <string>

#include <ptq/graph/infer/elementwise.hpp>
#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

inline std::vector<inferred> infer(const op::transpose& o, const operands& in) {
  auto r = like(in);
  if (!r.shaped) return {r};
  const auto rank = r.dims.dims.size();
  auto perm = o.perm;
  if (perm.empty())
    for (std::size_t i = rank; i-- > 0;) perm.push_back(static_cast<std::int64_t>(i));
  auto seen = perm;
  std::sort(seen.begin(), seen.end());
  bool valid = perm.size() == rank;
  for (std::size_t i = 0; valid && i < rank; ++i) valid = seen[i] == static_cast<std::int64_t>(i);
  if (!valid)
    in.fail("perm", "a permutation of " + std::to_string(rank) + " axes", shape(perm).text());
  for (std::size_t i = 0; i < rank; ++i)
    r.dims.dims[i] = in.dims(0).dims[static_cast<std::size_t>(perm[i])];
  if (rank <= 1) r.elements = in.elements(0);
  return {r};
}

inline std::vector<inferred> infer(const op::concat& o, const operands& in) {
  if (in.count() == 0) in.fail("inputs", "one or more", "none");
  inferred r = like(in);
  for (std::size_t i = 1; i < in.count(); ++i) {
    if (in.type(i) != r.type) in.fail("types", name_of(r.type), name_of(in.type(i)));
    if (!in.shaped(i)) r.shaped = false;
  }
  if (!r.shaped) return {r};
  const int axis = in.axis(o.axis, r.dims.rank());
  for (std::size_t i = 1; i < in.count(); ++i) {
    in.rank_is(i, r.dims.rank());
    for (int d = 0; d < r.dims.rank(); ++d) {
      const auto e = in.dims(i)[d];
      if (d != axis)
        r.dims[d] = in.same_extent(
            r.dims[d], e, "extent " + std::to_string(d) + " of input " + std::to_string(i));
      else
        r.dims[d] = r.dims[d] < 0 || e < 0 ? unknown : in.extent(r.dims[d] + e, "extent");
    }
  }
  if (r.dims.rank() != 1 || !followed(r)) return {r};
  r.elements.emplace();
  for (std::size_t i = 0; i < in.count(); ++i) {
    auto e = in.elements(i).value_or(partial_elements(static_cast<std::size_t>(in.dims(i)[0])));
    r.elements->insert(r.elements->end(), e.begin(), e.end());
  }
  return {r};
}

inline std::vector<inferred> infer(const op::split& o, const operands& in) {
  const auto parts = static_cast<std::int64_t>(in.self().outputs.size());
  std::vector<inferred> r(in.self().outputs.size(), like(in));
  if (!in.shaped(0)) return r;
  const int axis = in.axis(o.axis, in.dims(0).rank());
  const auto total = in.dims(0)[axis];
  op::ints sizes(r.size(), unknown);
  if (in.has(1)) {
    if (const auto given = in.integers(1)) {
      if (given->size() != sizes.size())
        in.fail("sizes", std::to_string(parts) + " elements", shape(*given).text());
      sizes = *given;
      for (auto s : sizes) in.asked(s, "part");
    }
  } else if (total >= 0 && parts > 0) {
    sizes.assign(r.size(), (total + parts - 1) / parts);
    sizes.back() = total - sizes[0] * (parts - 1);  // may be smaller than the others
    in.extent(sizes.back() < 0 ? -2 : sizes.back(), "last part");
  }
  std::int64_t sum = 0, begin = 0;
  for (auto s : sizes) sum = s < 0 || sum < 0 ? unknown : sum + s;
  if (sum >= 0) in.same_extent(sum, total, "sum of sizes " + shape(sizes).text());
  const auto e = in.dims(0).rank() == 1 && sum >= 0 ? in.elements(0) : std::nullopt;
  for (std::size_t i = 0; i < r.size(); ++i) {
    r[i].dims[axis] = sizes[i];
    if (e) {
      r[i].elements.emplace(e->begin() + begin, e->begin() + begin + sizes[i]);
      begin += sizes[i];
    }
  }
  return r;
}

/// One sliced axis: first index and count, clamped as ONNX Slice (opset 13) says.
struct slice_extent {
  std::int64_t first, count;
};
inline slice_extent sliced(std::int64_t extent, std::int64_t start, std::int64_t end,
                           std::int64_t step) {
  const auto wrap = [&](std::int64_t v) { return v < 0 ? std::max(v, -extent - 1) + extent : v; };
  const bool down = step < 0;
  // Downwards the first index lies in [-1, extent-1] and the end may be -1 ("before the first").
  const auto lo = down ? std::int64_t{-1} : 0, hi = down ? extent - 1 : extent;
  const auto first = std::clamp(wrap(start), std::min(lo, hi), hi);
  const auto last = std::clamp(end < -extent ? lo : wrap(end), std::min(lo, hi), hi);
  const auto span = down ? first - last : last - first;
  if (span <= 0) return {first, 0};
  const auto width = down ? -std::max(step, -largest_extent) : std::min(step, largest_extent);
  return {first, (span + width - 1) / width};
}

inline std::vector<inferred> infer(const op::slice&, const operands& in) {
  auto r = like(in);
  in.at(2);
  if (!r.shaped) return {r};
  const int rank = r.dims.rank();
  const auto starts = shape_operand(in, 1), ends = shape_operand(in, 2);
  const auto axes = in.integers(3);
  if ((in.has(3) && !axes) || !starts || !ends) {
    r.dims = shape(std::vector<std::int64_t>(r.dims.dims.size(), unknown));
    return {r};
  }
  const auto steps = in.has(4) ? shape_operand(in, 4) : std::nullopt;
  const auto count = starts->size();
  if (ends->size() != count || (axes && axes->size() != count) || (steps && steps->size() != count))
    in.fail("ends, axes and steps", std::to_string(count) + " elements each",
            std::to_string(ends->size()) + " ends");
  if (!axes && static_cast<int>(count) > rank)
    in.fail("starts", "at most " + std::to_string(rank), std::to_string(count));
  const auto one = in.has(4) ? std::nullopt : std::optional<std::int64_t>(1);
  auto e = in.elements(0);
  for (std::size_t i = 0; i < count; ++i) {
    const int a = in.axis(axes ? (*axes)[i] : static_cast<std::int64_t>(i), rank, "axes");
    const auto step = steps ? (*steps)[i] : one;
    if (step && *step == 0) in.fail("step", "not 0", "0");
    const auto &start = (*starts)[i], &end = (*ends)[i];
    const auto extent = r.dims[a];
    const bool all = start && *start == 0 && step == 1 && end &&
                     (*end >= std::numeric_limits<std::int32_t>::max() || *end == extent);
    if (all) continue;
    const bool moves =
        !start || !end || !step || is_symbol(*start) || is_symbol(*end) || is_symbol(*step);
    if (extent < 0 || moves) {
      r.dims[a] = unknown;
      e.reset();
      continue;
    }
    const auto s = sliced(extent, *start, *end, *step);
    r.dims[a] = s.count;
    if (!e || rank != 1) continue;
    partial_elements kept;
    for (std::int64_t k = 0; k < s.count; ++k)
      kept.push_back((*e)[static_cast<std::size_t>(s.first + k * *step)]);
    e = std::move(kept);
  }
  if (rank == 1) r.elements = e;
  return {r};
}

inline std::vector<inferred> infer(const op::gather& o, const operands& in) {
  inferred r = unshaped(in.type(0));
  if (in.type(1) != dtype::s64 && in.type(1) != dtype::s32)
    in.fail("indices", "s64 or s32", name_of(in.type(1)));
  if (!in.shaped(0) || !in.shaped(1)) return {r};
  const shape &x = in.dims(0), &at = in.dims(1);
  r.shaped = true;
  if (o.what == op::gather::kind::elements) {
    in.rank_is(1, x.rank());
    in.axis(o.axis, x.rank());
    r.dims = at;
    return {r};
  }
  if (o.what == op::gather::kind::nd) {
    const auto depth = at.rank() > 0 ? at[at.rank() - 1] : unknown;
    if (depth < 0) return {unshaped(r.type)};
    if (o.batch_dims < 0 || o.batch_dims >= at.rank() || o.batch_dims + depth > x.rank())
      in.fail("indices", "at most " + std::to_string(x.rank()) + " indices after batch axes",
              at.text() + " with batch_dims " + std::to_string(o.batch_dims));
    r.dims.dims.assign(at.dims.begin(), at.dims.end() - 1);
    r.dims.dims.insert(r.dims.dims.end(), x.dims.begin() + o.batch_dims + depth, x.dims.end());
    return {r};
  }
  const int axis = in.axis(o.axis, x.rank());
  r.dims.dims.assign(x.dims.begin(), x.dims.begin() + axis);
  r.dims.dims.insert(r.dims.dims.end(), at.dims.begin(), at.dims.end());
  r.dims.dims.insert(r.dims.dims.end(), x.dims.begin() + axis + 1, x.dims.end());
  const auto e = in.elements(0), index = in.elements(1);
  if (index && x[axis] >= 0)
    for (const auto& i : *index)
      if (i && !is_symbol(*i) && (*i < -x[axis] || *i >= x[axis]))
        in.fail("index", "[" + std::to_string(-x[axis]) + "," + std::to_string(x[axis]) + ")",
                std::to_string(*i));
  if (!e || !index || x.rank() != 1) return {r};
  r.elements.emplace();
  for (const auto& i : *index)
    r.elements->push_back(i && !is_symbol(*i)
                              ? (*e)[static_cast<std::size_t>(*i < 0 ? *i + x[0] : *i)]
                              : std::nullopt);
  return {r};
}

inline std::vector<inferred> infer(const op::expand&, const operands& in) {
  inferred r = unshaped(in.type(0));
  const auto target = shape_operand(in, 1);
  if (!target || !in.shaped(0)) return {r};
  shape t;
  for (const auto& d : *target) t.dims.push_back(d ? in.asked(*d, "shape") : unknown);
  r.dims = broadcast(in, in.dims(0), t);
  r.shaped = true;
  const auto e = in.elements(0);
  if (!e || !followed(r)) return {r};
  r.elements.emplace();
  for (std::size_t i = 0; i < static_cast<std::size_t>(r.dims.size()); ++i)
    r.elements->push_back((*e)[broadcast_index(in.dims(0), r.dims, i)]);
  return {r};
}

inline std::vector<inferred> infer(const op::tile&, const operands& in) {
  auto r = like(in);
  if (!r.shaped) return {r};
  const auto repeats = shape_operand(in, 1);
  if (repeats && repeats->size() != r.dims.dims.size())
    in.fail("repeats", std::to_string(r.dims.rank()) + " elements",
            std::to_string(repeats->size()));
  for (std::size_t i = 0; i < r.dims.dims.size(); ++i) {
    auto& d = r.dims.dims[i];
    if (!repeats || !(*repeats)[i]) {
      d = unknown;
      continue;
    }
    const auto n = in.asked(*(*repeats)[i], "repeats");
    if (d == 1)
      d = n;
    else if (n != 1)
      d = n < 0 || d < 0 ? unknown : in.extent(d * n, "extent");
  }
  return {r};
}

inline std::vector<inferred> infer(const op::pad&, const operands& in) {
  auto r = like(in);
  if (!r.shaped) return {r};
  const int rank = r.dims.rank();
  const auto pads = shape_operand(in, 1);
  const auto axes = in.integers(3);
  if (!pads || (in.has(3) && !axes)) {
    r.dims = shape(std::vector<std::int64_t>(r.dims.dims.size(), unknown));
    return {r};
  }
  const auto n = in.has(3) ? axes->size() : static_cast<std::size_t>(rank);
  if (pads->size() != 2 * n)
    in.fail("pads", std::to_string(2 * n) + " elements", std::to_string(pads->size()));
  for (std::size_t i = 0; i < n; ++i) {
    const int a = in.axis(axes ? (*axes)[i] : static_cast<std::int64_t>(i), rank, "axes");
    const auto &begin = (*pads)[i], &end = (*pads)[n + i];
    for (const auto& p : {begin, end})
      if (p && !is_symbol(*p) && (*p > largest_extent || *p < -largest_extent))
        in.fail("pads", "a sane extent", std::to_string(*p));
    if (r.dims[a] < 0 || !begin || !end || is_symbol(*begin) || is_symbol(*end)) {
      if (!(begin == 0 && end == 0)) r.dims[a] = unknown;
      continue;
    }
    const auto d = r.dims[a] + *begin + *end;
    r.dims[a] = in.extent(d < 0 ? -2 : d, "padded extent");
  }
  return {r};
}

inline std::vector<inferred> infer(const op::depth_to_space& o, const operands& in) {
  auto r = like(in);
  if (!r.shaped) return {r};
  in.rank_is(0, 4);
  constexpr std::int64_t largest_block = 1 << 15;  // its square stays an extent
  if (o.block < 1 || o.block > largest_block)
    in.fail("block", "[1," + std::to_string(largest_block) + "]", std::to_string(o.block));
  const auto area = o.block * o.block;
  const auto divided = [&](std::int64_t d, std::int64_t by, const char* what) {
    if (d >= 0 && d % by != 0)
      in.fail(what, "a multiple of " + std::to_string(by), std::to_string(d));
    return d < 0 ? unknown : d / by;
  };
  const auto times = [&](std::int64_t d, std::int64_t by) {
    return d < 0 ? unknown : in.extent(d * by, "extent");
  };
  r.dims[1] = o.inverse ? times(r.dims[1], area) : divided(r.dims[1], area, "channels");
  for (int i = 2; i < 4; ++i)
    r.dims[i] = o.inverse ? divided(r.dims[i], o.block, "extent") : times(r.dims[i], o.block);
  return {r};
}

}  // namespace ptq::inference
