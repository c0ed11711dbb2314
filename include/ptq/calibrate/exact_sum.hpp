#pragma once
// SPDX-License-Identifier: Apache-2.0
// A sum without rounding: a fixed-point number of 384 bits, in digits of 32 that are carried now
// and then. It does not notice the order of its terms, so that the parts of a calibration that was
// split over days or machines add up to the whole, bit for bit. Source: Kulisch 2013, the long
// accumulator.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace ptq::calibration {

/// exact   for terms that are multiples of 2^-192 and below 2^160 in magnitude; bits below 2^-192
/// are cut off
class exact_sum {
 public:
  static constexpr std::size_t digits = 12;
  static constexpr int lowest = -192;  // exponent of the last bit

  /// x  finite
  void add(double x) {
    int e = 0;
    const double fraction = std::frexp(x, &e);
    // 53 bits of magnitude, times 2^(e - 53).
    auto bits = static_cast<std::uint64_t>(std::fabs(fraction) * 0x1p53);
    int at = e - 53 - lowest;
    if (at < 0) {
      bits = at > -64 ? bits >> -at : 0;
      at = 0;
    }
    if (bits == 0) return;
    const auto first = static_cast<std::size_t>(at / 32);
    const std::uint64_t low = (bits & mask) << (at % 32), high = (bits >> 32) << (at % 32);
    const std::int64_t sign = x < 0 ? -1 : 1;
    digit_[first] += sign * static_cast<std::int64_t>(low & mask);
    digit_[first + 1] += sign * static_cast<std::int64_t>((low >> 32) + (high & mask));
    digit_[first + 2] += sign * static_cast<std::int64_t>(high >> 32);
    // A digit grows by less than 2^34 at a time.
    if (++pending_ == 1 << 28) carry();
  }

  void merge(const exact_sum& o) {
    exact_sum other = o;
    other.carry();
    carry();
    for (std::size_t i = 0; i < digits; ++i) digit_[i] += other.digit_[i];
    carry();
  }

  double value() const {
    const auto d = canonical();
    double sum = 0;
    for (std::size_t i = digits; i-- > 0;)
      sum += std::ldexp(static_cast<double>(d[i]), static_cast<int>(i) * 32 + lowest);
    return sum;
  }

  /// The digits, of which all but the last are in [0, 2^32): equal sums have equal digits.
  std::array<std::int64_t, digits> canonical() const {
    exact_sum s = *this;
    s.carry();
    return s.digit_;
  }
  static exact_sum of_digits(const std::array<std::int64_t, digits>& d) {
    exact_sum s;
    s.digit_ = d;
    s.carry();
    return s;
  }

 private:
  static constexpr std::uint64_t mask = 0xffffffff;

  void carry() {
    for (std::size_t i = 0; i + 1 < digits; ++i) {
      digit_[i + 1] += digit_[i] >> 32;
      digit_[i] &= static_cast<std::int64_t>(mask);
    }
    pending_ = 0;
  }

  std::array<std::int64_t, digits> digit_{};
  std::int32_t pending_ = 0;
};

}  // namespace ptq::calibration
