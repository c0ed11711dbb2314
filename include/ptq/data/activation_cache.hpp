#pragma once
// SPDX-License-Identifier: Apache-2.0
// Values of a network for each of many samples, within a bound of memory: what does not fit goes to
// a temporary file that is gone when the cache is. So a prefix of a network is computed once, and a
// sweep or a search runs only what lies behind.
//
// A value with 8-bit qparams per tensor is kept as its codes, a quarter of the bytes, and comes back
// as the same reals.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <ptq/core/error.hpp>
#include <ptq/core/numeric.hpp>
#include <ptq/core/qparams.hpp>
#include <ptq/core/tensor.hpp>

namespace ptq {

class activation_cache {
 public:
  /// memory  bytes that tensors may take; the rest is spilled
  explicit activation_cache(std::size_t memory) : left_(memory) {}

  /// Keeps the tensor as `value` of sample `index`, in place of what was there.
  ///
  /// q        of the value: its reals are on that grid
  /// throws   io_error if the temporary file can't be made or written
  void put(const std::string& value, std::int64_t index, const tensor& t,
           const qparams* q = nullptr);

  /// throws  error naming the value if it is not kept for that sample, io_error if the temporary
  /// file can't be read
  tensor at(const std::string& value, std::int64_t index) const;

  bool has(const std::string& value, std::int64_t index) const {
    const auto it = kept_.find(value);
    return it != kept_.end() && it->second.contains(index);
  }

  /// Forgets the value for all samples; its room is free again.
  void drop(const std::string& value);

  std::size_t spilled_bytes() const { return spilled_; }

 private:
  struct entry {
    tensor held;              // empty elements where spilled
    dtype type = dtype::f32;  // of what is kept
    shape dims;
    std::optional<std::pair<float, std::int32_t>> grid;  // scale and zero point of codes
    std::int64_t offset = -1;                            // in the file, where spilled
    std::size_t bytes() const { return static_cast<std::size_t>(dims.size()) * size_of(type); }
  };
  void release(entry& e);
  std::int64_t write(const tensor& t);
  tensor stored(const entry& e) const;

  std::map<std::string, std::map<std::int64_t, entry>> kept_;
  std::size_t left_;
  std::size_t spilled_ = 0;
  std::shared_ptr<std::FILE> file_;
  std::int64_t end_ = 0;                                // of the file
  std::multimap<std::size_t, std::int64_t> free_ = {};  // holes of the file by size
};

// -------------------------------------------------------------------------------------------------

inline void activation_cache::put(const std::string& value, std::int64_t index, const tensor& t,
                                  const qparams* q) {
  entry e{.held = t, .type = t.type(), .dims = t.dims(), .grid = {}, .offset = -1};
  if (q && t.type() == dtype::f32 && !q->per_channel() && size_of(q->type) == 1) {
    const std::int32_t low = q->type == dtype::s8 ? -128 : 0;
    tensor codes(dtype::u8, t.dims());
    const auto from = t.view<float>();
    const auto to = codes.mutable_view<std::uint8_t>();
    // On the grid already: the product with the reciprocal is a step's 2^-15 from the code at most,
    // so that adding half a step and cutting off gives it.
    const float inverse = 1.0f / q->scale[0];
    const float start = static_cast<float>(q->zero_point[0] - low) + 0.5f;
    for (std::size_t i = 0; i < to.size(); ++i)
      to[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(from[i] * inverse + start));
    e.grid = {q->scale[0], q->zero_point[0] - low};
    e.held = std::move(codes);
    e.type = dtype::u8;
  }
  auto& slot = kept_[value][index];
  release(slot);
  if (e.bytes() <= left_) {
    left_ -= e.bytes();
  } else {
    e.offset = write(e.held);
    e.held = tensor();
  }
  slot = std::move(e);
}

inline tensor activation_cache::stored(const entry& e) const {
  if (e.offset < 0) return e.held;
  tensor t(e.type, e.dims);
  if (std::fseek(file_.get(), static_cast<long>(e.offset), SEEK_SET) != 0 ||
      std::fread(t.mutable_data(), 1, e.bytes(), file_.get()) != e.bytes())
    throw io_error("cache: temporary file: expected " + std::to_string(e.bytes()) + " bytes at " +
                   std::to_string(e.offset) + ", got fewer");
  return t;
}

inline tensor activation_cache::at(const std::string& value, std::int64_t index) const {
  const auto it = kept_.find(value);
  if (it == kept_.end() || !it->second.contains(index))
    throw error("cache: value '" + value + "': expected it for sample " + std::to_string(index) +
                ", got none");
  const auto& e = it->second.at(index);
  tensor t = stored(e);
  if (!e.grid) return t;
  tensor real(dtype::f32, e.dims);
  std::array<float, 256> reals;
  for (std::int32_t c = 0; c < 256; ++c)
    reals[static_cast<std::size_t>(c)] = dequantize_value(c, e.grid->first, e.grid->second);
  const auto from = t.view<std::uint8_t>();
  const auto to = real.mutable_view<float>();
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = reals[from[i]];
  return real;
}

inline void activation_cache::drop(const std::string& value) {
  const auto it = kept_.find(value);
  if (it == kept_.end()) return;
  for (auto& [index, e] : it->second) release(e);
  kept_.erase(it);
}

inline void activation_cache::release(entry& e) {
  if (e.offset >= 0) {
    free_.emplace(e.bytes(), e.offset);
    spilled_ -= e.bytes();
  } else if (!e.held.empty()) {
    left_ += e.bytes();
  }
  e = entry();
}

inline std::int64_t activation_cache::write(const tensor& t) {
  if (!file_) {
    file_ = std::shared_ptr<std::FILE>(std::tmpfile(), [](std::FILE* f) {
      if (f) std::fclose(f);
    });
    if (!file_) throw io_error("cache: expected a temporary file, got none: is there room for it?");
  }
  const auto bytes = t.byte_count();
  std::int64_t offset = end_;
  if (const auto hole = free_.find(bytes); hole != free_.end()) {
    offset = hole->second;
    free_.erase(hole);
  } else {
    end_ += static_cast<std::int64_t>(bytes);
  }
  if (std::fseek(file_.get(), static_cast<long>(offset), SEEK_SET) != 0 ||
      std::fwrite(t.data(), 1, bytes, file_.get()) != bytes || std::fflush(file_.get()) != 0)
    throw io_error("cache: temporary file: " + std::to_string(bytes) +
                   " bytes can't be written: is there room for it?");
  spilled_ += bytes;
  return offset;
}

}  // namespace ptq
