#pragma once
// SPDX-License-Identifier: Apache-2.0
// What watches one value during calibration: a concept, and a holder that forgets the type. An
// observer sees each sample once, keeps a fixed number of bytes, and gives a range at the end. Two
// that watched different samples merge into one that watched both, so that a calibration can be
// split over threads, processes or days.

#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <ptq/calibrate/extremes.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/value_range.hpp>

namespace ptq::calibration {

/// add(x, r): the numbers of one sample, at least one, all finite, and their extremes r.
/// range():   what the codes should cover; called after at least one add.
/// merge(o):  as if this one had seen o's samples too.
template <class O>
concept observer = std::copyable<O> &&
    requires(O o, const O& c, std::span<const float> x, value_range r) {
  o.add(x, r);
  o.merge(c);
  { c.range() } -> std::same_as<value_range>;
};

/// Any observer. A copy has statistics of its own.
class any_observer {
 public:
  template <class O>
  requires(observer<O> && !std::same_as<O, any_observer>)
      any_observer(O o)  // NOLINT(google-explicit-constructor): any observer is one
      : state_(std::make_unique<O>(std::move(o)).release(), &table_of<O>), table_(&table_of<O>) {}

  any_observer(const any_observer& o)
      : state_(o.table_->copy(o.state_.get()), o.table_), table_(o.table_), samples_(o.samples_) {}
  any_observer(any_observer&&) noexcept = default;
  any_observer& operator=(any_observer o) noexcept {
    std::swap(state_, o.state_);
    std::swap(table_, o.table_);
    std::swap(samples_, o.samples_);
    return *this;
  }

  /// The numbers of one more sample.
  ///
  /// throws  calibration_error naming `value` if one of them is NaN or infinite
  void add(std::span<const float> x, std::string_view value) {
    if (x.empty()) return;
    table_->add(state_.get(), x, scan_finite(x, value));
    ++samples_;
  }

  /// throws  calibration_error if the two are of different kinds
  void merge(const any_observer& o) {
    if (table_ != o.table_)
      throw calibration_error("calibrate: merge: expected observers of one kind, got two");
    table_->merge(state_.get(), o.state_.get());
    samples_ += o.samples_;
  }

  /// throws  calibration_error if no sample was added
  value_range range() const {
    if (samples_ == 0) throw calibration_error("calibrate: range: expected samples, got none");
    return table_->range(state_.get());
  }

  std::int64_t samples() const { return samples_; }

  /// The observer itself, or null if it is of another type.
  template <observer O>
  const O* as() const {
    return table_ == &table_of<O> ? static_cast<const O*>(state_.get()) : nullptr;
  }

 private:
  struct functions {
    void (*add)(void*, std::span<const float>, value_range);
    void (*merge)(void*, const void*);
    value_range (*range)(const void*);
    void* (*copy)(const void*);
    void (*destroy)(void*);
  };
  struct destroyer {
    const functions* table = nullptr;
    destroyer(const functions* t) : table(t) {}  // NOLINT(google-explicit-constructor)
    void operator()(void* p) const { table->destroy(p); }
  };
  template <class O>
  static constexpr functions table_of = {
      [](void* o, std::span<const float> x, value_range r) { static_cast<O*>(o)->add(x, r); },
      [](void* o, const void* other) { static_cast<O*>(o)->merge(*static_cast<const O*>(other)); },
      [](const void* o) { return static_cast<const O*>(o)->range(); },
      [](const void* o) -> void* { return new O(*static_cast<const O*>(o)); },
      [](void* o) { delete static_cast<O*>(o); }};

  std::unique_ptr<void, destroyer> state_;
  const functions* table_;
  std::int64_t samples_ = 0;
};

}  // namespace ptq::calibration
