#pragma once
// SPDX-License-Identifier: Apache-2.0
// Hashes that tell whether two calibrations saw the same model and the same samples. Not
// cryptographic: they guard against mistakes. Source: the mixing steps of MurmurHash3's 64-bit
// finaliser.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <ptq/core/tensor.hpp>

namespace ptq::calibration {

/// Bytes fed piece by piece; pieces count as separate.
class hasher {
 public:
  void add(std::uint64_t v) {
    v ^= v >> 33;
    v *= 0xff51afd7ed558ccdULL;
    v ^= v >> 33;
    state_ = (state_ ^ v) * 0xc4ceb9fe1a85ec53ULL;
    state_ ^= state_ >> 29;
  }
  void add(std::span<const std::byte> bytes) {
    add(static_cast<std::uint64_t>(bytes.size()));
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
      std::uint64_t v = 0;
      std::memcpy(&v, bytes.data(), 8);
      add(v);
    }
    std::uint64_t rest = 0;
    if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
    add(rest);
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  void add(const tensor& t) {
    add(static_cast<std::uint64_t>(t.type()));
    for (auto d : t.dims().dims) add(static_cast<std::uint64_t>(d));
    add(std::span(static_cast<const std::byte*>(static_cast<const void*>(t.data())),
                  t.byte_count()));
  }
  std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0x9e3779b97f4a7c15ULL;
};

/// Of what one run of a model consumes: anything with `inputs` of name and value.
template <class Sample>
std::uint64_t hash_of(const Sample& s) {
  hasher h;
  for (const auto& in : s.inputs) {
    h.add(std::string_view(in.name));
    h.add(in.value);
  }
  return h.value();
}

}  // namespace ptq::calibration
