#pragma once
// SPDX-License-Identifier: Apache-2.0
// IDX, the container of MNIST: magic 0 0 type rank, big-endian extents, elements. Images [n,h,w]
// become samples [1,h,w] (one channel) for preprocess.hpp; labels [n] become classes. A gzip'd file
// is brought into memory by archive.hpp and passed here as bytes. Source: LeCun et al., The MNIST
// database.

#include <cstdint>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/data/array.hpp>
#include <ptq/data/bytes.hpp>
#include <ptq/data/samples.hpp>

namespace ptq {

namespace data {

/// True if the bytes open like an IDX file.
inline bool is_idx(const byte_run& run) {
  if (run.size() < 8) return false;
  const auto m = run.read(0, 4);
  const int type = std::to_integer<int>(m[2]), rank = std::to_integer<int>(m[3]);
  return m[0] == std::byte{0} && m[1] == std::byte{0} && type >= 8 && type <= 14 && type != 10 &&
         rank >= 1 && rank <= 8;
}

/// The array behind an IDX header; throws data_error naming the file if its size is another.
inline stored_array idx_array(const byte_run& run) {
  if (!is_idx(run)) fail(run.name(), "IDX: expected 0 0 type rank, got a file of another kind");
  const auto head = run.read(0, 4);
  const auto rank = std::to_integer<std::uint64_t>(head[3]);
  stored_array a;
  switch (std::to_integer<int>(head[2])) {
    case 0x08:
      a.format = {'u', 1, true};
      break;
    case 0x09:
      a.format = {'i', 1, true};
      break;
    case 0x0b:
      a.format = {'i', 2, true};
      break;
    case 0x0c:
      a.format = {'i', 4, true};
      break;
    case 0x0d:
      a.format = {'f', 4, true};
      break;
    default:
      a.format = {'f', 8, true};
      break;
  }
  const auto extents = run.read(4, 4 * rank);
  for (std::uint64_t i = 0; i < rank; ++i) a.dims.dims.push_back(big32(extents.data() + 4 * i));
  const std::uint64_t start = 4 + 4 * rank;
  a.bytes = run.part(start, run.size() - start);
  require_size(a.dims, a.format, a.bytes.size(), run.name());
  return a;
}

}  // namespace data

/// Raw samples of an IDX file: [1,h,w] of [n,h,w], [c,h,w] of [n,c,h,w], otherwise the row itself.
class idx_samples {
 public:
  explicit idx_samples(const data::byte_run& run) : array_(data::idx_array(run)) {}
  std::int64_t count() const { return array_.rows(); }
  sample at(std::int64_t i) const {
    tensor t = array_.row(i);
    if (t.dims().rank() == 2) t = t.reshaped({1, t.dims()[0], t.dims()[1]});
    return sample(std::move(t));
  }

 private:
  data::stored_array array_;
};

}  // namespace ptq
