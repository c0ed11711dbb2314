#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: how good is a program? Accuracy against labels, and the error of one program against another, value by value.
// Both run in the executor that ships, so the figures are those of the integers.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ptq/core/progress.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute.hpp>

namespace ptq {

/// Share of samples, in percent, whose label is the highest logit, or among the five highest.
struct accuracy {
  std::int64_t n = 0;
  double top1 = 0, top5 = 0;
};

/// How far one tensor is from another, sums pooled over samples.
///
///   SQNR = 10 · log10(Σy² / Σ(y − ŷ)²) dB;  infinite where both are equal
struct distortion {
  double signal = 0, noise = 0, other = 0, product = 0, largest = 0;
  std::int64_t count = 0;

  void add(double y, double q) {
    signal += y * y;
    other += q * q;
    product += y * q;
    noise += (y - q) * (y - q);
    largest = std::max(largest, std::abs(y - q));
    ++count;
  }
  void add(std::span<const float> y, std::span<const float> q) {
    for (std::size_t i = 0; i < y.size(); ++i) add(static_cast<double>(y[i]), static_cast<double>(q[i]));
  }
  void add(const distortion& more) {
    signal += more.signal;
    other += more.other;
    product += more.product;
    noise += more.noise;
    largest = std::max(largest, more.largest);
    count += more.count;
  }
  double sqnr_db() const {
    if (noise == 0) return INFINITY;
    return signal == 0 ? -INFINITY : 10 * std::log10(signal / noise);
  }
  double cosine() const {
    return signal == 0 || other == 0 ? (signal == other ? 1.0 : 0.0) : product / std::sqrt(signal * other);
  }
};

/// The error of one value.
struct value_error {
  std::string name;
  std::string what;          // the operator that makes it
  distortion error;
  bool integer = false;      // computed in integers by the second program
};

struct comparison {
  std::int64_t n = 0;
  double agreement = 0;                // percent of samples with the same top class in the first output
  std::vector<value_error> outputs;
  std::vector<value_error> layers;     // in the order of the second program
  /// The lowest over outputs, in dB.
  double output_sqnr_db() const {
    double low = INFINITY;
    for (const auto& o : outputs) low = std::min(low, o.error.sqnr_db());
    return low;
  }
};

struct validate_options {
  std::int64_t limit = -1;             // samples; -1: all
  bool layers = true;                  // compare(): every value that both programs have
  progress report;
};

/// Scores of classes as reals: codes of 16 bits or fewer order classes as the scores they stand for do.
/// Empty for other types.
inline tensor class_scores(const tensor& output) {
  const bool codes = output.type() != dtype::boolean && size_of(output.type()) <= 2;
  return output.type() == dtype::f32 ? output
         : codes                     ? detail_runner::converted<float>(output)
                                     : tensor();
}

/// Index of the largest element, the first of equals; -1 if there is none.
inline std::int64_t top_class(const tensor& logits) {
  const auto v = logits.view<float>();
  return v.empty() ? -1 : std::max_element(v.begin(), v.end()) - v.begin();
}

/// Top-1 and top-5 accuracy of a classifier: its first output holds the logits of one sample.
///
/// labels  one per sample, in order; a class that the model does not have counts as wrong
/// throws  data_error if labels and samples differ in number, or the first output holds neither reals
///         nor codes of them
template <class = void>
accuracy classify(runner& model, samples data, std::span<const std::int64_t> labels,
                         const validate_options& options = {}) {
  accuracy a;
  std::int64_t first = 0, fifth = 0;
  data.rewind();
  const auto total = options.limit >= 0 ? std::min<std::int64_t>(options.limit, static_cast<std::int64_t>(labels.size()))
                                        : static_cast<std::int64_t>(labels.size());
  while (options.limit < 0 || a.n < options.limit) {
    const auto s = data.next();
    if (!s) break;
    if (a.n >= static_cast<std::int64_t>(labels.size()))
      throw data_error("validate: labels: there are more samples than the " + std::to_string(labels.size()) + " labels");
    const auto out = model.run(*s);
    const tensor scores = out.empty() ? tensor() : class_scores(out[0]);
    if (scores.empty())
      throw data_error("validate: the model's first output holds no scores of classes: expected reals or their codes, got " +
                       (out.empty() ? std::string("no output") : name_of(out[0].type()) + (" " + out[0].dims().text())));
    const auto v = scores.view<float>();
    const auto label = labels[static_cast<std::size_t>(a.n)];
    if (label >= 0 && label < static_cast<std::int64_t>(v.size())) {
      const float own = v[static_cast<std::size_t>(label)];
      std::int64_t before = 0;
      for (std::size_t i = 0; i < v.size(); ++i)
        before += v[i] > own || (v[i] == own && static_cast<std::int64_t>(i) < label);
      first += before == 0;
      fifth += before < 5;
    }
    ++a.n;
    if (options.report) options.report("validate", a.n, total);
  }
  if (a.n == 0) throw data_error("validate: there are no samples");
  if (options.limit < 0 && a.n != static_cast<std::int64_t>(labels.size()))
    throw data_error("validate: labels: expected " + std::to_string(a.n) + ", one per sample, got " + std::to_string(labels.size()));
  a.top1 = 100.0 * static_cast<double>(first) / static_cast<double>(a.n);
  a.top5 = 100.0 * static_cast<double>(fifth) / static_cast<double>(a.n);
  return a;
}

namespace detail_validate {

/// A value of a run that is over: codes stay codes, a quarter of the reals' bytes.
class kept_value {
 public:
  explicit kept_value(const tapped& t)
      : name_(t.value), type_(t.type), dims_(t.dims), memory_(t.memory), codes_(t.codes) {
    const auto* bytes = static_cast<const std::byte*>(t.data);
    bytes_.assign(bytes, bytes + static_cast<std::size_t>(t.size()) * size_of(t.type));
  }
  const shape& dims() const { return dims_; }
  tensor real() const { return tapped{name_, type_, bytes_.data(), dims_, memory_, codes_}.real(); }

 private:
  std::string name_;
  dtype type_;
  shape dims_;
  lowering::order memory_;
  std::optional<code> codes_;
  std::vector<std::byte> bytes_;
};

/// Values of one run by name; of one that is made twice, the last.
using kept_values = std::map<std::string, kept_value, std::less<>>;

inline tap_function keep(kept_values& into) {
  return [&into](const tapped& t) {
    if (t.type == dtype::f32 || t.codes) into.insert_or_assign(std::string(t.value), kept_value(t));
  };
}

/// How far values of another run, which ran before, are from those of this one. Each is compared as it is
/// made: of reals, none are held.
inline tap_function measure(const kept_values& other, std::map<std::string, distortion>& into) {
  return [&](const tapped& t) {
    if (t.type != dtype::f32 && !t.codes) return;
    const auto q = other.find(t.value);
    if (q == other.end()) return;
    if (q->second.dims() != t.dims) return void(into.erase(std::string(t.value)));
    const tensor reals = t.real(), others = q->second.real();
    distortion error;
    error.add(reals.view<float>(), others.view<float>());
    into.insert_or_assign(std::string(t.value), error);
  };
}

inline value_error& entry_for(std::vector<value_error>& list, const std::string& name) {
  for (auto& e : list)
    if (e.name == name) return e;
  list.push_back(value_error{.name = name, .what = "", .error = {}, .integer = false});
  return list.back();
}

/// Operator and precision of every value the program makes.
inline void describe(const program& p, std::vector<value_error>& layers) {
  std::map<std::string, const step*> maker;
  for (const auto& s : p.steps) {
    auto& m = maker[p.slots[static_cast<std::size_t>(s.dst)].value];
    if (!m || s.what != "QuantizeLinear") m = &s;
  }
  for (auto& l : layers)
    if (const auto m = maker.find(l.name); m != maker.end()) {
      l.what = m->second->what;
      l.integer = m->second->integer;
    }
}

}  // namespace detail_validate

/// What the second model does to the first one's values, sample by sample.
///
/// throws  data_error if there are no samples, shape_error if the models' outputs differ in number or extents
template <class = void>
comparison compare(runner& reference, runner& other, samples data,
                          const validate_options& options = {}) {
  comparison c;
  data.rewind();
  std::int64_t same = 0;
  const auto total = options.limit >= 0 ? options.limit : data.count().value_or(0);
  while (options.limit < 0 || c.n < options.limit) {
    const auto s = data.next();
    if (!s) break;
    detail_validate::kept_values kept;  // the second's: in codes mostly
    std::map<std::string, distortion> errors;
    const auto q = other.run(*s, options.layers ? detail_validate::keep(kept) : tap_function{});
    const auto y = reference.run(*s, options.layers ? detail_validate::measure(kept, errors) : tap_function{});
    if (y.size() != q.size())
      throw shape_error("validate: outputs: expected " + std::to_string(y.size()) + ", got " + std::to_string(q.size()));
    for (std::size_t i = 0; i < y.size(); ++i) {
      const auto& name = reference.current_program().outputs[i].name;
      if (y[i].dims() != q[i].dims() || y[i].type() != q[i].type())
        throw shape_error("validate: output '" + name + "': expected " + name_of(y[i].type()) + " " + y[i].dims().text() +
                          ", got " + name_of(q[i].type()) + " " + q[i].dims().text());
      if (y[i].type() == dtype::f32)
        detail_validate::entry_for(c.outputs, name).error.add(y[i].view<float>(), q[i].view<float>());
    }
    if (const tensor a0 = y.empty() ? tensor() : class_scores(y[0]); !a0.empty())
      same += top_class(a0) == top_class(class_scores(q[0]));
    for (const auto& t : other.current_program().taps) {
      const auto& name = other.current_program().slots[static_cast<std::size_t>(t.slot)].value;
      if (const auto error = errors.extract(name); !error.empty())
        detail_validate::entry_for(c.layers, name).error.add(error.mapped());
    }
    ++c.n;
    if (options.report) options.report("compare", c.n, total);
  }
  if (c.n == 0) throw data_error("validate: there are no samples");
  c.agreement = 100.0 * static_cast<double>(same) / static_cast<double>(c.n);
  detail_validate::describe(other.current_program(), c.layers);
  return c;
}

}  // namespace ptq
