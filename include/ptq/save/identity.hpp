#pragma once
// SPDX-License-Identifier: Apache-2.0
// What tells two kernel tables apart: the entries that they have, and how those pack. Found by packing small examples,
// so that a change to a kernel changes it, and nobody has to remember a number. Microseconds.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <ptq/core/hash.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/recipe.hpp>

namespace ptq::saving {

/// Weights that pairs of bytes exceed 16 bits with, and others.
template <class T>
std::vector<T> example_weights(std::int64_t count) {
  std::vector<T> w;
  for (std::int64_t i = 0; i < count; ++i) w.push_back(static_cast<T>(i * i * 37 % 255 - 127));
  return w;
}

template <class = void>
void add_example(hasher& h, const kernels::prepared& made) {
  const std::string_view name = made.name;
  const std::int64_t facts[] = {made.units, static_cast<std::int64_t>(made.scratch),
                                static_cast<std::int64_t>(made.packed.bytes)};
  h.add(std::as_bytes(std::span(name.data(), name.size())));
  h.add(std::as_bytes(std::span(facts)));
  h.add({made.packed.data, made.packed.bytes});
}

template <class = void>
std::uint64_t identity_of(const kernels::kernel_table& table) {
  hasher h;
  const auto look = [&](auto field) {
    const bool there = table.*field != nullptr;
    h.add(std::as_bytes(std::span(&there, 1)));
  };
  std::apply([&](auto... fields) { (look(fields), ...); }, lowering::kernel_entries);
  kernels::conv_geometry one{.in_w = 5, .in_c = 37, .out_w = 5, .out_c = 83};
  kernels::conv_geometry taps{.in_h = 7, .in_w = 7, .in_c = 20, .out_h = 7, .out_w = 7, .out_c = 34, .kernel_h = 3,
                              .kernel_w = 3, .pad_top = 1, .pad_left = 1, .groups = 2};
  kernels::conv_geometry first = taps, single = taps;
  first.in_c = 3;
  first.groups = 1;
  single.in_c = single.out_c = single.groups = 41;
  for (const auto& g : {one, taps, first, single}) {
    const float multiplier = 0.01f;
    const auto bytes = example_weights<std::int8_t>(lowering::weight_count(g));
    const auto reals = example_weights<float>(lowering::weight_count(g));
    kernels::qconv_args integers{.geometry = g, .weights = bytes.data(), .bias = nullptr, .x_zero_point = 3, .epilogue = {}};
    integers.epilogue.multiplier = std::span(&multiplier, 1);
    if (table.qconv) add_example(h, table.qconv(integers));
    if (table.conv) add_example(h, table.conv({.geometry = g, .weights = reals.data()}));
  }
  const auto reals = example_weights<float>(37 * 83);
  if (table.matmul) add_example(h, table.matmul({.m = 5, .n = 83, .k = 37, .b = reals.data()}));
  return h.value();
}

}  // namespace ptq::saving
