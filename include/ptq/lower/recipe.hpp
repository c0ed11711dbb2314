#pragma once
// SPDX-License-Identifier: Apache-2.0
// What a kernel of a program was made of: the table's entry and its arguments, so that a saved program makes it again
// without the graph. Where the entry packs weights, the packed memory stands for them, and nothing is copied.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>

namespace ptq::lowering {

/// The entries that lowering calls. Their positions are in files: new ones go to the end.
inline constexpr auto kernel_entries = std::tuple{
    &kernels::kernel_table::qconv,      &kernels::kernel_table::qmatmul,       &kernels::kernel_table::quantize,
    &kernels::kernel_table::dequantize, &kernels::kernel_table::lookup,        &kernels::kernel_table::qbinary,
    &kernels::kernel_table::qpool,      &kernels::kernel_table::conv,          &kernels::kernel_table::matmul,
    &kernels::kernel_table::unary,      &kernels::kernel_table::binary,        &kernels::kernel_table::pool,
    &kernels::kernel_table::softmax,    &kernels::kernel_table::layer_norm,    &kernels::kernel_table::reduce,
    &kernels::kernel_table::copy,       &kernels::kernel_table::wide_conv,     &kernels::kernel_table::wide_quantize,
    &kernels::kernel_table::wide_dequantize, &kernels::kernel_table::fast_conv, &kernels::kernel_table::fast_matmul,
    &kernels::kernel_table::winograd_conv};
inline constexpr std::size_t kernel_entry_count = std::tuple_size_v<decltype(kernel_entries)>;

template <class Args>
using entry_field = kernels::entry<Args> kernels::kernel_table::*;

template <class Args>
std::size_t position_of(entry_field<Args> field) {
  std::size_t at = 0, found = kernel_entry_count;
  const auto look = [&](auto candidate) {
    if constexpr (std::is_same_v<decltype(candidate), entry_field<Args>>)
      if (candidate == field) found = at;
    ++at;
  };
  std::apply([&](auto... all) { (look(all), ...); }, kernel_entries);
  return found;
}

/// f(field) for the entry at `position`, which is less than kernel_entry_count.
template <class F>
void with_entry(std::size_t position, F&& f) {
  std::size_t at = 0;
  const auto pick = [&](auto field) {
    if (at++ == position) f(field);
  };
  std::apply([&](auto... all) { (pick(all), ...); }, kernel_entries);
}

// ---- arrays that arguments borrow: f(span) or f(pointer, its elements), where a null pointer has none

/// Elements of the weights of a convolution.
inline std::int64_t weight_count(const kernels::conv_geometry& g) {
  return g.out_c * g.kernel_h * g.kernel_w * g.group_in();
}
/// Elements of the constant b that the batches read.
inline std::int64_t weight_count(const kernels::matmul_args& a) {
  std::int64_t first = 0;
  for (auto at : a.b_offset) first = std::max(first, at);
  return first + a.k * a.n;
}

template <class Args, class F>
void each_array(Args&, F&&) {}
template <class F>
void each_array(kernels::qconv_args& a, F&& f) {
  f(a.weights, weight_count(a.geometry));
  f(a.bias, a.geometry.out_c);
  f(a.epilogue.multiplier);
}
template <class F>
void each_array(kernels::wide_conv_args& a, F&& f) {
  f(a.weights, weight_count(a.geometry));
  f(a.bias, a.geometry.out_c);
  f(a.multiplier);
}
template <class F>
void each_array(kernels::qmatmul_args& a, F&& f) {
  f(a.a_offset);
  f(a.b_offset);
  f(a.epilogue.multiplier);
}
template <class F>
void each_array(kernels::conv_args& a, F&& f) {
  f(a.weights, weight_count(a.geometry));
  f(a.bias, a.geometry.out_c);
}
template <class F>
void each_array(kernels::matmul_args& a, F&& f) {
  f(a.a_offset);
  f(a.b_offset);
  f(a.b, weight_count(a));
  f(a.bias, a.n);
}
template <class F>
void each_array(kernels::layer_norm_args& a, F&& f) {
  f(a.scale, a.size);
  f(a.bias, a.size);
}

// ---- what packed memory takes the place of

template <class Args>
concept packs_weights = requires(Args a) { a.packed; };

inline void drop_weights(kernels::qconv_args& a) {
  a.weights = nullptr;
  a.bias = nullptr;
  a.epilogue.amplifies = kernels::amplifying(a.epilogue.multiplier);
  a.epilogue.multiplier = {};
}
inline void drop_weights(kernels::wide_conv_args& a) {
  a.weights = nullptr;
  a.bias = nullptr;
  a.multiplier = {};
}
inline void drop_weights(kernels::conv_args& a) { a.weights = a.bias = nullptr; }
inline void drop_weights(kernels::matmul_args& a) { a.b = a.bias = nullptr; }

/// Arguments that own their arrays.
struct recipe {
  std::size_t entry = 0;                         // of kernel_entries
  std::shared_ptr<const void> arguments;         // the entry's Args
  std::vector<std::shared_ptr<std::byte>> arrays;  // what they point at

  /// Arrays of arguments → copies that the recipe owns.
  template <class T>
  void operator()(const T*& p, std::int64_t count) {
    if (!p) return;
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
    arrays.push_back(allocate_aligned(bytes));
    std::memcpy(arrays.back().get(), p, bytes);
    p = reinterpret_cast<const T*>(arrays.back().get());
  }
  template <class T>
  void operator()(std::span<const T>& s) {
    const T* p = s.data();
    (*this)(p, static_cast<std::int64_t>(s.size()));
    s = {p, s.size()};
  }
};

/// The recipe of a kernel that is its object.
inline std::shared_ptr<const recipe> recipe_of_object(std::size_t entry, const kernels::prepared& made) {
  auto r = std::make_shared<recipe>();
  r->entry = entry;
  r->arguments = made.object;
  return r;
}

/// The recipe of `made`, which `field` or its reference made of `args`.
template <class Args>
std::shared_ptr<const recipe> recipe_of(entry_field<Args> field, Args args, const kernels::prepared& made) {
  auto r = std::make_shared<recipe>();
  r->entry = position_of<Args>(field);
  if constexpr (packs_weights<Args>) {
    if (made.packed.data) drop_weights(args);
    args.packed = {};
  }
  each_array(args, *r);
  r->arguments = std::make_shared<const Args>(args);
  return r;
}

}  // namespace ptq::lowering
