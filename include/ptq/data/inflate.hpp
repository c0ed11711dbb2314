#pragma once
// SPDX-License-Identifier: Apache-2.0
// DEFLATE, decompression only, for .npz and .gz: a canonical Huffman decoder over memory. Untrusted
// bytes: no read past the input, no write past `limit`, no output that the input can't produce.
// Source: RFC 1951, after zlib's puff.c.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ptq/data/bytes.hpp>

namespace ptq::data {

/// CRC-32 of IEEE 802.3 as zip and gzip use it; pass the previous value to go on.
inline std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) {
  static constexpr auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = (c & 1u) != 0 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  std::uint32_t c = ~before;
  for (std::byte b : bytes) c = table[(c ^ std::to_integer<std::uint32_t>(b)) & 255u] ^ (c >> 8);
  return ~c;
}

namespace detail_inflate {

inline constexpr int longest = 15;  // bits of a code
inline constexpr int quick = 10;    // bits looked up at once; longer codes are walked

/// Codes of one alphabet, in canonical order.
struct huffman {
  std::array<std::uint16_t, longest + 1> count{};
  std::array<std::uint16_t, 288> symbol{};
  std::array<std::uint16_t, 1 << quick> fast{};  // symbol << 4 | length, 0: longer than `quick`

  /// False if the lengths are over-subscribed, or incomplete with more than one code.
  bool build(std::span<const std::uint8_t> lengths) {
    count.fill(0);
    for (auto l : lengths) ++count[l];
    int left = 1;
    for (std::size_t l = 1; l <= longest; ++l) {
      left = 2 * left - count[l];
      if (left < 0) return false;
    }
    const bool single = lengths.size() - count[0] <= 1;
    if (left > 0 && !single) return false;
    count[0] = 0;
    std::array<std::uint16_t, longest + 2> offset{}, code{};
    for (std::size_t l = 1; l <= longest; ++l) {
      offset[l + 1] = static_cast<std::uint16_t>(offset[l] + count[l]);
      code[l + 1] = static_cast<std::uint16_t>((code[l] + count[l]) << 1);
    }
    fast.fill(0);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const std::size_t l = lengths[s];
      if (l == 0) continue;
      symbol[offset[l]++] = static_cast<std::uint16_t>(s);
      const std::uint32_t c = code[l]++;
      if (l > quick) continue;
      std::uint32_t reversed = 0;  // codes arrive most significant bit first
      for (std::size_t b = 0; b < l; ++b) reversed |= ((c >> b) & 1u) << (l - 1 - b);
      for (std::uint32_t i = reversed; i < (1u << quick); i += 1u << l)
        fast[i] = static_cast<std::uint16_t>(s << 4 | l);
    }
    return true;
  }
};

class decoder {
 public:
  decoder(std::span<const std::byte> src, std::size_t limit, const std::string& file)
      : src_(src), limit_(limit), file_(file) {}

  byte_vector run(std::size_t& consumed) {
    bool last = false;
    while (!last) {
      last = bits(1) != 0;
      const std::uint32_t kind = bits(2);
      if (kind == 0)
        copy_stored();
      else if (kind == 1)
        fixed_block();
      else if (kind == 2)
        dynamic_block();
      else
        fail(file_, "deflate block", "kind 0 to 2", "3");
    }
    consumed = position_ - static_cast<std::size_t>(held_ / 8);
    return std::move(out_);
  }

 private:
  void refill(int n) {
    while (held_ < n) {
      if (position_ >= src_.size())
        fail(file_, "deflate stream: truncated after " + std::to_string(src_.size()) + " bytes");
      buffer_ |= std::to_integer<std::uint64_t>(src_[position_++]) << held_;
      held_ += 8;
    }
  }
  std::uint32_t bits(int n) {
    refill(n);
    const auto v = static_cast<std::uint32_t>(buffer_ & ((std::uint64_t{1} << n) - 1));
    drop(n);
    return v;
  }
  void drop(int n) {
    buffer_ >>= n;
    held_ -= n;
  }

  std::uint32_t symbol(const huffman& h) {
    while (held_ < longest && position_ < src_.size()) refill(held_ + 1);
    const std::uint16_t hit = h.fast[buffer_ & ((1u << quick) - 1)];
    if (hit != 0 && (hit & 15) <= held_) {
      drop(hit & 15);
      return hit >> 4;
    }
    int code = 0, first = 0, index = 0;
    for (std::size_t l = 1; l <= longest; ++l) {
      code |= static_cast<int>(bits(1));
      const int n = h.count[l];
      if (code - n < first) return h.symbol[static_cast<std::size_t>(index + code - first)];
      index += n;
      first = (first + n) << 1;
      code <<= 1;
    }
    fail(file_, "deflate stream: invalid code at byte " + std::to_string(position_));
  }

  void require_room(std::size_t n) {
    if (n > limit_ - out_.size())
      fail(file_, "deflate stream", "at most " + std::to_string(limit_) + " bytes", "more");
  }

  void copy_stored() {
    drop(held_ % 8);
    const std::uint32_t n = bits(16), inverse = bits(16);
    if ((n ^ inverse) != 0xffffu)
      fail(file_, "deflate stored block", "length and complement", "neither");
    require_room(n);
    for (std::uint32_t i = 0; i < n; ++i) out_.push_back(static_cast<std::byte>(bits(8)));
  }

  void fixed_block() {
    std::array<std::uint8_t, 288> l{};
    for (std::size_t i = 0; i < l.size(); ++i) l[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    std::array<std::uint8_t, 32> d{};
    d.fill(5);
    literals_.build(l);
    distances_.build(d);
    codes();
  }

  void dynamic_block() {
    const std::uint32_t literals = bits(5) + 257, distances = bits(5) + 1, meta = bits(4) + 4;
    if (literals > 286 || distances > 30)
      fail(file_, "deflate block: " + std::to_string(literals) + " literals, " +
                      std::to_string(distances) + " distances");
    constexpr std::uint8_t order[19] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                        11, 4,  12, 3, 13, 2, 14, 1, 15};
    std::array<std::uint8_t, 320> l{};
    for (std::uint32_t i = 0; i < meta; ++i) l[order[i]] = static_cast<std::uint8_t>(bits(3));
    bool good = literals_.build(std::span(l).first(19));
    l.fill(0);
    for (std::size_t i = 0; good && i < literals + distances;) {
      const std::uint32_t s = symbol(literals_);
      if (s < 16) {
        l[i++] = static_cast<std::uint8_t>(s);
        continue;
      }
      good = s != 16 || i > 0;
      const std::uint8_t value = s == 16 && i > 0 ? l[i - 1] : std::uint8_t{0};
      std::uint32_t n = s == 16 ? 3 + bits(2) : s == 17 ? 3 + bits(3) : 11 + bits(7);
      good = good && i + n <= literals + distances;
      for (; good && n > 0; --n) l[i++] = value;
    }
    good = good && l[256] != 0 && literals_.build(std::span(l).first(literals)) &&
           distances_.build(std::span(l).subspan(literals, distances));
    if (!good)
      fail(file_, "deflate block: invalid code lengths at byte " + std::to_string(position_));
    codes();
  }

  void codes() {
    constexpr std::uint16_t base[29] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                        15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                        67, 83, 99, 115, 131, 163, 195, 227, 258};
    constexpr std::uint8_t extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                        2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    for (;;) {
      const std::uint32_t s = symbol(literals_);
      if (s == 256) return;
      if (s < 256) {
        require_room(1);
        out_.push_back(static_cast<std::byte>(s));
        continue;
      }
      if (s > 285) fail(file_, "deflate stream: length code " + std::to_string(s));
      std::size_t n = base[s - 257] + bits(extra[s - 257]);
      const std::uint32_t d = symbol(distances_);
      if (d > 29) fail(file_, "deflate stream: distance code " + std::to_string(d));
      const int more = d < 4 ? 0 : static_cast<int>(d / 2 - 1);
      const std::size_t back = (d < 4 ? d : (2u + (d & 1u)) << more) + 1 + bits(more);
      if (back > out_.size())
        fail(file_, "deflate distance", "at most " + std::to_string(out_.size()),
             std::to_string(back));
      require_room(n);
      for (std::size_t from = out_.size() - back; n > 0; --n) out_.push_back(out_[from++]);
    }
  }

  std::span<const std::byte> src_;
  std::size_t limit_;
  const std::string& file_;
  std::size_t position_ = 0;
  std::uint64_t buffer_ = 0;
  int held_ = 0;  // bits in buffer_
  byte_vector out_;
  huffman literals_, distances_;
};

}  // namespace detail_inflate

/// A raw deflate stream → bytes.
///
/// limit     most bytes to produce
/// consumed  bytes of src that the stream took
/// throws    data_error naming the file if the stream is damaged or passes the limit
inline byte_vector inflate(std::span<const std::byte> src, std::size_t limit, std::size_t& consumed,
                           const std::string& file) {
  return detail_inflate::decoder(src, limit, file).run(consumed);
}

}  // namespace ptq::data
