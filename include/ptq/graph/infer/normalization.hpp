#pragma once
// SPDX-License-Identifier: Apache-2.0
// Families that keep the extents of their input and only check what stands beside it:
// normalisations and softmax.

#include <cstdint>
#include <string>

#include <ptq/graph/infer/operands.hpp>

namespace ptq::inference {

inline std::vector<inferred> infer(const op::batch_norm&, const operands& in) {
  auto r = like(in);
  std::int64_t channels = unknown;
  if (r.shaped) {
    in.rank_at_least(0, 2);
    channels = r.dims[1];
  }
  constexpr const char* names[] = {"", "scale", "bias", "mean", "variance"};
  for (std::size_t i = 1; i <= 4; ++i) {
    in.at(i);
    in.check_vector(i, channels, names[i]);
  }
  return {r};
}

inline std::vector<inferred> infer(const op::softmax& o, const operands& in) {
  if (in.shaped(0) && in.dims(0).rank() > 0) {
    const int rank = in.dims(0).rank();
    if (!(o.flattened && o.axis == rank))
      in.axis(o.axis, rank);  // flatten may stop behind the last
  }
  return {like(in)};
}

inline std::vector<inferred> infer(const op::local_response_norm& o, const operands& in) {
  if (in.shaped(0)) in.rank_at_least(0, 3);
  if (o.size < 1) in.fail("size", "1 or more", std::to_string(o.size));
  return {like(in)};
}

inline std::vector<inferred> infer(const op::layer_norm& o, const operands& in) {
  if (in.shaped(0)) {
    const int axis = in.axis(o.axis, in.dims(0).rank());
    const auto& d = in.dims(0).dims;
    const shape normal(std::vector<std::int64_t>(d.begin() + axis, d.end()));
    for (std::size_t i = 1; i <= 2; ++i)
      if (in.has(i) && in.shaped(i) &&
          broadcast(in, in.dims(0), in.dims(i)).rank() != in.dims(0).rank())
        in.fail(i == 1 ? "scale" : "bias", "extents that broadcast to " + normal.text(),
                in.dims(i).text());
  }
  return {like(in)};
}

inline std::vector<inferred> infer(const op::group_norm& o, const operands& in) {
  if (in.shaped(0)) {
    in.rank_at_least(0, 2);
    const auto channels = in.dims(0)[1];
    if (o.groups < 0 || (o.groups > 0 && channels >= 0 && channels % o.groups != 0))
      in.fail("groups", "a divisor of " + std::to_string(channels) + " channels",
              std::to_string(o.groups));
    in.check_vector(1, channels, "scale");
    in.check_vector(2, channels, "bias");
  }
  return {like(in)};
}

}  // namespace ptq::inference
