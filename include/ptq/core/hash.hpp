#pragma once
// SPDX-License-Identifier: Apache-2.0
// A fast checksum: XXH64, seed 0. It finds damage and tells contents apart, it does not resist malice; some ten bytes
// per nanosecond.
// Source: xxHash fast digest algorithm, specification 0.1.1 (Collet).

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ptq {

namespace xxh64 {

inline constexpr std::uint64_t prime1 = 0x9E3779B185EBCA87ULL, prime2 = 0xC2B2AE3D27D4EB4FULL,
                               prime3 = 0x165667B19E3779F9ULL, prime4 = 0x85EBCA77C2B2AE63ULL,
                               prime5 = 0x27D4EB2F165667C5ULL;

template <class T>
T load(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
  return std::rotl(lane + input * prime2, 31) * prime1;
}
inline std::uint64_t merged(std::uint64_t hash, std::uint64_t lane) {
  return (hash ^ round(0, lane)) * prime1 + prime4;
}

}  // namespace xxh64

/// XXH64 of all bytes that are added, seed 0: pieces count as one run.
class hasher {
 public:
  void add(std::span<const std::byte> bytes) {
    total_ += bytes.size();
    if (kept_ > 0) {
      const std::size_t more = std::min(bytes.size(), stripe - kept_);
      if (more > 0) std::memcpy(rest_ + kept_, bytes.data(), more);
      kept_ += more;
      bytes = bytes.subspan(more);
      if (kept_ < stripe) return;
      add_stripes(rest_, stripe);
      kept_ = 0;
    }
    const std::size_t whole = bytes.size() / stripe * stripe;
    add_stripes(bytes.data(), whole);
    kept_ = bytes.size() - whole;
    if (kept_ > 0) std::memcpy(rest_, bytes.data() + whole, kept_);
  }

  std::uint64_t value() const {
    using namespace xxh64;
    std::uint64_t hash = prime5;
    if (total_ >= stripe) {
      hash = std::rotl(a_, 1) + std::rotl(b_, 7) + std::rotl(c_, 12) + std::rotl(d_, 18);
      hash = merged(merged(merged(merged(hash, a_), b_), c_), d_);
    }
    hash += total_;
    const std::byte *p = rest_, *end = rest_ + kept_;
    for (; end - p >= 8; p += 8) hash = std::rotl(hash ^ round(0, load<std::uint64_t>(p)), 27) * prime1 + prime4;
    for (; end - p >= 4; p += 4) hash = std::rotl(hash ^ load<std::uint32_t>(p) * prime1, 23) * prime2 + prime3;
    for (; p != end; ++p) hash = std::rotl(hash ^ load<std::uint8_t>(p) * prime5, 11) * prime1;
    hash = (hash ^ (hash >> 33)) * prime2;
    hash = (hash ^ (hash >> 29)) * prime3;
    return hash ^ (hash >> 32);
  }

 private:
  static constexpr std::size_t stripe = 32;

  void add_stripes(const std::byte* p, std::size_t bytes) {
    using namespace xxh64;
    std::uint64_t a = a_, b = b_, c = c_, d = d_;  // in registers
    for (const std::byte* end = p + bytes; p != end; p += stripe) {
      a = round(a, load<std::uint64_t>(p));
      b = round(b, load<std::uint64_t>(p + 8));
      c = round(c, load<std::uint64_t>(p + 16));
      d = round(d, load<std::uint64_t>(p + 24));
    }
    a_ = a, b_ = b, c_ = c, d_ = d;
  }

  std::uint64_t a_ = xxh64::prime1 + xxh64::prime2, b_ = xxh64::prime2, c_ = 0, d_ = 0 - xxh64::prime1;
  std::byte rest_[stripe] = {};
  std::size_t kept_ = 0;
  std::uint64_t total_ = 0;
};

inline std::uint64_t hash_of(std::span<const std::byte> bytes) {
  hasher h;
  h.add(bytes);
  return h.value();
}

}  // namespace ptq
