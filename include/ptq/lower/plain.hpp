#pragma once
// SPDX-License-Identifier: Apache-2.0
// Kernels of operators that have no faster version, the same on every ISA. Those that are types of their own, with what
// they need as members, can be in a saved program; others are lambdas where they are emitted.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include <ptq/core/tensor.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/plain/elements.hpp>
#include <ptq/lower/plain/grid.hpp>
#include <ptq/lower/plain/taps.hpp>
#include <ptq/lower/recipe.hpp>

namespace ptq::lowering {

/// A kernel from a callable f(operands, range).
template <class F>
kernels::prepared plain_kernel(const char* name, F f, std::int64_t units = 1) {
  kernels::prepared p;
  p.object = std::make_shared<const F>(std::move(f));
  p.run = [](const void* object, const kernels::operands& io, std::byte*, work_range r) {
    (*static_cast<const F*>(object))(io, r);
  };
  p.units = units;
  p.name = name;
  return p;
}

/// Reads index i of a tensor of s32 or s64, wrapped to [0, extent) and held inside (a wild index must not read wild memory).
template <class = void>
std::int64_t index_at(const void* p, dtype t, std::int64_t i, std::int64_t extent) {
  const auto v = t == dtype::s32 ? static_cast<const std::int32_t*>(p)[i]
                                 : static_cast<const std::int64_t*>(p)[i];
  return std::clamp<std::int64_t>(v < 0 ? v + extent : v, 0, extent - 1);
}

/// dst[o, k] = src[o, index[k]] in runs of bytes; src: [outer, extent] runs, [count] indices (s32 or s64).
struct gather_rows {
  static constexpr const char* name = "gather rows";
  std::int64_t outer = 1, count = 0, extent = 0, run = 1;
  dtype index = dtype::s64;

  std::int64_t units() const { return outer * count; }
  void operator()(const kernels::operands& io, work_range r) const {
    const auto bytes = static_cast<std::size_t>(run);
    for (auto k = r.begin; k < r.end && extent > 0; ++k) {
      const auto row = k / count * extent + index_at(io.src[1], index, k % count, extent);
      std::memcpy(static_cast<std::byte*>(io.dst) + static_cast<std::size_t>(k) * bytes,
                  static_cast<const std::byte*>(io.src[0]) + static_cast<std::size_t>(row) * bytes, bytes);
    }
  }
};

/// dst[i] = element, count times.
struct fill_elements {
  static constexpr const char* name = "fill";
  std::int64_t count = 0;
  tensor element;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    const auto bytes = size_of(element.type());
    auto* to = static_cast<std::byte*>(io.dst);
    for (std::int64_t i = 0; i < count; ++i)
      std::memcpy(to + static_cast<std::size_t>(i) * bytes, element.data(), bytes);
  }
};

/// dst[i] = src[i] as another type, see cast_value.
struct cast_elements {
  static constexpr const char* name = "cast";
  std::int64_t size = 0;
  dtype from = dtype::f32, to = dtype::f32;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(from, [&](auto f) {
      with_type(to, [&](auto t) {
        const auto* p = static_cast<const decltype(f)*>(io.src[0]);
        auto* q = static_cast<decltype(t)*>(io.dst);
        for (std::int64_t i = 0; i < size; ++i) q[i] = cast_value<decltype(t)>(p[i]);
      });
    });
  }
};

/// Integer arithmetic, comparisons and logic of any type, broadcast.
struct binary_elements {
  static constexpr const char* name = "plain binary";
  dtype type = dtype::s64;
  binary_kind kind = binary_kind::add;
  kernels::broadcast over;

  std::int64_t units() const { return 1; }
  void operator()(const kernels::operands& io, work_range) const {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      const auto* a = static_cast<const T*>(io.src[0]);
      const auto* b = static_cast<const T*>(io.src[1]);
      for_each(over, {0, over.size()}, [&](auto i, auto ia, auto ib) {
        if (yields_bool(kind))
          static_cast<bool*>(io.dst)[i] = compare(kind, a[ia], b[ib]);
        else
          static_cast<T*>(io.dst)[i] = integer_binary(kind, a[ia], b[ib]);
      });
    });
  }
};

/// Those that a file can hold. It holds their positions behind the table's entries: new ones go to the end.
using plain_kernels =
    std::tuple<gather_rows, fill_elements, cast_elements, binary_elements, map_elements, interpolate_elements,
               quantize_elements, dequantize_elements>;
inline constexpr std::size_t plain_kernel_count = std::tuple_size_v<plain_kernels>;

/// f(F{}) for the plain kernel at `position`, which is less than plain_kernel_count.
template <class Function>
void with_plain(std::size_t position, Function&& f) {
  std::size_t at = 0;
  const auto pick = [&](auto kernel) {
    if (at++ == position) f(std::move(kernel));
  };
  std::apply([&](auto... all) { (pick(std::move(all)), ...); }, plain_kernels{});
}

template <class F>
kernels::prepared plain_kernel(F f) {
  const auto units = f.units();
  return plain_kernel(F::name, std::move(f), units);
}

/// The recipe of a plain kernel: its object.
template <class F>
std::shared_ptr<const recipe> recipe_of(const kernels::prepared& made) {
  auto r = std::make_shared<recipe>();
  std::size_t at = 0;
  const auto look = [&](auto* kernel) {
    if constexpr (std::is_same_v<decltype(kernel), F*>) r->entry = kernel_entry_count + at;
    ++at;
  };
  [&]<class... All>(std::tuple<All...>*) { (look(static_cast<All*>(nullptr)), ...); }(static_cast<plain_kernels*>(nullptr));
  r->arguments = made.object;
  return r;
}

}  // namespace ptq::lowering
