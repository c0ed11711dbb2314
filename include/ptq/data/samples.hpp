#pragma once
// SPDX-License-Identifier: Apache-2.0
// Samples: what calibration and validation feed to a model, one at a time. A source makes a sample
// when it is asked for and keeps none, so memory does not grow with their number. Three kinds of
// source become a `samples`:
//   sequential   std::optional<sample> next(); void rewind();
//   indexed      std::int64_t count() const; sample at(std::int64_t) const;   may be shuffled
//   a function   std::optional<sample>(std::int64_t index), empty at the end
// An indexed source may also have `std::string name(i)` (its file) and `std::optional<std::int64_t>
// label(i)` (the class that is stored with the sample); labels are matched through them.

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/tensor.hpp>

namespace ptq {

/// A tensor for one input of a model; an empty name means the input at the same position.
struct named_tensor {
  std::string name;
  tensor value;
};

/// What one run of a model consumes.
struct sample {
  std::vector<named_tensor> inputs;

  sample() = default;
  explicit sample(std::vector<named_tensor> values) : inputs(std::move(values)) {}
  explicit sample(tensor only) { inputs.push_back({"", std::move(only)}); }
};

template <class S>
concept sample_source = requires(S s) {
  { s.next() } -> std::convertible_to<std::optional<sample>>;
  s.rewind();
};

template <class S>
concept indexed_source = requires(const S& s, std::int64_t i) {
  { s.count() } -> std::convertible_to<std::int64_t>;
  { s.at(i) } -> std::convertible_to<sample>;
};

template <class F>
concept sample_function = requires(F f, std::int64_t i) {
  { f(i) } -> std::convertible_to<std::optional<sample>>;
};

/// What is behind a `samples`: functions of the index. `at` returns nothing past the end; an
/// indexed one may be called from several threads at once.
struct sample_access {
  std::function<std::optional<sample>(std::int64_t)> at = {};
  std::int64_t count = -1;                             // -1: unknown until the end is met
  std::function<std::string(std::int64_t)> name = {};  // may be empty
  std::function<std::optional<std::int64_t>(std::int64_t)> label = {};  // may be empty
  std::function<std::int64_t(std::int64_t)> origin = {};                // empty: the identity
  std::int64_t origin_count = -1;  // of the source before take and shuffled
};

/// Any source, erased. A copy shares the source and has a position of its own.
class samples {
 public:
  samples()
      : samples(sample_access{.at = [](std::int64_t) { return std::optional<sample>(); },
                              .count = 0,
                              .name = {},
                              .label = {},
                              .origin = {},
                              .origin_count = 0}) {}
  explicit samples(sample_access access)
      : access_(std::make_shared<const sample_access>(std::move(access))) {}

  template <class S>
  requires(!std::same_as<std::remove_cvref_t<S>, samples> &&
           (indexed_source<std::remove_cvref_t<S>> || sample_source<std::remove_cvref_t<S>> ||
            sample_function<std::remove_cvref_t<S>>))
      samples(S&& source);  // NOLINT(google-explicit-constructor): any source is a `samples`

  /// The sample at the position, which then advances; nothing at the end.
  std::optional<sample> next() {
    auto s = at(position_);
    if (s) ++position_;
    return s;
  }
  void rewind() { position_ = 0; }

  /// Sample i, or nothing past the end. A sequential source is rewound where i lies behind its
  /// position.
  std::optional<sample> at(std::int64_t i) const {
    if (i < 0 || (access_->count >= 0 && i >= access_->count)) return std::nullopt;
    return access_->at(i);
  }

  /// Number of samples, where the source knows it.
  std::optional<std::int64_t> count() const {
    return access_->count < 0 ? std::nullopt : std::optional<std::int64_t>(access_->count);
  }

  /// The file that sample i is, relative to the folder that was opened; "" where samples aren't
  /// files.
  std::string name(std::int64_t i) const { return access_->name ? access_->name(i) : ""; }

  /// The class stored with sample i (label byte, class folder), if there is one.
  std::optional<std::int64_t> label(std::int64_t i) const {
    return access_->label ? access_->label(i) : std::nullopt;
  }

  /// Index of sample i in the source, before take and shuffled; and how many samples that source
  /// has (-1: unknown).
  std::int64_t origin(std::int64_t i) const { return access_->origin ? access_->origin(i) : i; }
  std::int64_t origin_count() const { return access_->origin_count; }

  const sample_access& access() const { return *access_; }

 private:
  std::shared_ptr<const sample_access> access_;
  std::int64_t position_ = 0;
};

namespace detail_samples {

template <class S>
sample_access access_of_indexed(S&& source) {
  using type = std::remove_cvref_t<S>;
  auto held = std::make_shared<const type>(std::forward<S>(source));
  sample_access a;
  a.count = a.origin_count = held->count();
  a.at = [held](std::int64_t i) { return std::optional<sample>(held->at(i)); };
  if constexpr (requires {
                  { held->name(0) } -> std::convertible_to<std::string>;
                })
    a.name = [held](std::int64_t i) { return std::string(held->name(i)); };
  if constexpr (requires {
                  { held->label(0) } -> std::convertible_to<std::optional<std::int64_t>>;
                })
    a.label = [held](std::int64_t i) { return std::optional<std::int64_t>(held->label(i)); };
  return a;
}

template <class S>
sample_access access_of_sequential(S&& source) {
  struct state {
    std::remove_cvref_t<S> source;
    std::int64_t position;
  };
  auto held = std::make_shared<state>(state{std::forward<S>(source), 0});
  held->source.rewind();
  sample_access a;
  a.at = [held](std::int64_t i) -> std::optional<sample> {
    if (i < held->position) {
      held->source.rewind();
      held->position = 0;
    }
    std::optional<sample> s;
    do {
      s = held->source.next();
      if (!s) return s;
    } while (held->position++ < i);
    return s;
  };
  return a;
}

template <class F>
sample_access access_of_function(F&& make) {
  auto held = std::make_shared<std::remove_cvref_t<F>>(std::forward<F>(make));
  sample_access a;
  a.at = [held](std::int64_t i) { return std::optional<sample>((*held)(i)); };
  return a;
}

template <class S>
sample_access access_of(S&& source) {
  using type = std::remove_cvref_t<S>;
  if constexpr (indexed_source<type>)
    return access_of_indexed(std::forward<S>(source));
  else if constexpr (sample_source<type>)
    return access_of_sequential(std::forward<S>(source));
  else
    return access_of_function(std::forward<S>(source));
}

/// The samples at `order[0], order[1], …` of another.
inline samples reordered(const samples& from, std::vector<std::int64_t> order) {
  auto map = std::make_shared<const std::vector<std::int64_t>>(std::move(order));
  auto to = [map](std::int64_t i) { return (*map)[static_cast<std::size_t>(i)]; };
  sample_access a;
  a.count = static_cast<std::int64_t>(map->size());
  a.origin_count = from.origin_count();
  a.at = [from, to](std::int64_t i) { return from.at(to(i)); };
  a.name = [from, to](std::int64_t i) { return from.name(to(i)); };
  a.label = [from, to](std::int64_t i) { return from.label(to(i)); };
  a.origin = [from, to](std::int64_t i) { return from.origin(to(i)); };
  return samples(std::move(a));
}

}  // namespace detail_samples

template <class S>
requires(!std::same_as<std::remove_cvref_t<S>, samples> &&
         (indexed_source<std::remove_cvref_t<S>> || sample_source<std::remove_cvref_t<S>> ||
          sample_function<std::remove_cvref_t<S>>)) samples::samples(S&& source)
    : samples(detail_samples::access_of(std::forward<S>(source))) {}

/// The first n samples, or all where there are fewer.
inline samples take(const samples& from, std::int64_t n) {
  sample_access a = from.access();
  if (a.count >= 0) {
    a.count = std::min(a.count, std::max<std::int64_t>(n, 0));
    return samples(std::move(a));
  }
  a.at = [at = std::move(a.at), n](std::int64_t i) { return i < n ? at(i) : std::nullopt; };
  return samples(std::move(a));
}

/// All samples in an order that depends on the seed alone, the same on every platform.
///
/// throws  data_error where the number of samples is unknown
inline samples shuffled(const samples& from, std::uint64_t seed) {
  if (!from.count())
    throw data_error("data: shuffle: expected a source of known count, got a sequence");
  std::vector<std::int64_t> order(static_cast<std::size_t>(*from.count()));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::mt19937_64 random(seed);  // its sequence is fixed by the standard; std::shuffle's is not
  for (std::size_t left = order.size(); left > 1; --left)
    std::swap(order[left - 1], order[static_cast<std::size_t>(random() % left)]);
  return detail_samples::reordered(from, std::move(order));
}

/// Every sample passed through a function as it is asked for; names, labels and count stay.
template <class F>
requires std::is_invocable_r_v<sample, F, sample> samples transformed(const samples& from,
                                                                      F change) {
  sample_access a = from.access();
  a.at = [at = std::move(a.at), change](std::int64_t i) {
    auto s = at(i);
    return s ? std::optional<sample>(change(std::move(*s))) : std::nullopt;
  };
  return samples(std::move(a));
}

}  // namespace ptq
