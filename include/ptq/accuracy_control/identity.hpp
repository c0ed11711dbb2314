#pragma once
// SPDX-License-Identifier: Apache-2.0
// What makes a search this search and no other: a journal is of one alone.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include <ptq/accuracy_control/budget.hpp>
#include <ptq/core/hash.hpp>
#include <ptq/graph/graph.hpp>

namespace ptq::control {

/// Everything that an answer of the search depends on, as a number.
/// Statistics, Data, Options: those of the stage; Settings: what `settings_of` makes of its quantization
template <class Statistics, class Data, class Options, class Settings>
std::string identity_of(const graph& g, const Statistics& observed, const Data& data,
                        const Options& o, const Settings& settings) {
  hasher h;
  const auto bytes = [&](const void* at, std::size_t n) { h.add({static_cast<const std::byte*>(at), n}); };
  const auto text = [&](const std::string& s) { bytes(s.data(), s.size() + 1); };
  const auto number = [&](double x) { bytes(&x, sizeof x); };
  for (const auto& n : g.nodes) text(n.name);
  for (const auto& v : g.values)
    if (v.constant) bytes(v.constant->data(), v.constant->byte_count());
  for (const auto& [name, s] : observed.values) {
    text(name);
    number(static_cast<double>(s.range.min));
    number(static_cast<double>(s.range.max));
    for (double m : s.channel_means) number(m);
  }
  for (const auto& l : data.labels) bytes(l.data(), l.byte_count());
  for (double x : {o.max_drop, static_cast<double>(o.drop), static_cast<double>(o.annotation_free),
                   static_cast<double>(o.tune_hyperparams), static_cast<double>(o.restore), static_cast<double>(o.front_points),
                   static_cast<double>(o.ranking_subset_size),
                   static_cast<double>(o.max_iterations), o.max_latency_ms, o.min_speedup,
                   o.max_float_macs})
    number(x);
  for (const auto& [name, chosen] : settings) {
    text(name);
    text(chosen);
  }
  text(o.metric.name);
  for (const auto& b : o.more) {
    text(b.metric.name);
    number(b.max_drop);
  }
  if (o.costs) text(cost_text(*o.costs));
  char hex[20];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(h.value()));
  return hex;
}

}  // namespace ptq::control
