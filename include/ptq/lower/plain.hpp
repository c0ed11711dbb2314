#pragma once
// SPDX-License-Identifier: Apache-2.0
// Kernels of operators that have no faster version, the same on every ISA. Each is a type of its own, with what it needs
// as members, so that a file can hold it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include <ptq/kernels/table.hpp>
#include <ptq/lower/plain/elementwise.hpp>
#include <ptq/lower/plain/grid.hpp>
#include <ptq/lower/plain/index.hpp>
#include <ptq/lower/plain/taps.hpp>
#include <ptq/lower/plain/window.hpp>
#include <ptq/lower/recipe.hpp>

namespace ptq::lowering {

/// All of them. A file holds their positions behind the table's entries: new ones go to the end.
using plain_kernels =
    std::tuple<gather_rows, fill_elements, cast_elements, binary_elements, map_elements, interpolate_elements,
               quantize_elements, dequantize_elements, gather_elements, gather_tuples, arg_elements, top_elements,
               running_sum, triangle_elements, range_elements, unary_elements, nan_elements, select_elements,
               reduce_elements, float8_elements, transposed_conv, computed_conv, local_response>;
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

/// A kernel from a callable f(operands, range), or f(operands, scratch, range) with f.scratch() bytes.
template <class F>
kernels::prepared plain_kernel(F f) {
  kernels::prepared p;
  p.units = f.units();
  p.name = F::name;
  if constexpr (requires { f.scratch(); }) p.scratch = f.scratch();
  p.object = std::make_shared<const F>(std::move(f));
  p.run = [](const void* object, const kernels::operands& io, [[maybe_unused]] std::byte* scratch, work_range r) {
    if constexpr (requires(const F& k) { k.scratch(); })
      (*static_cast<const F*>(object))(io, scratch, r);
    else
      (*static_cast<const F*>(object))(io, r);
  };
  return p;
}

/// The recipe of a plain kernel: its object.
template <class F>
std::shared_ptr<const recipe> recipe_of(const kernels::prepared& made) {
  std::size_t at = 0, found = 0;
  const auto look = [&](auto* kernel) {
    if constexpr (std::is_same_v<decltype(kernel), F*>) found = at;
    ++at;
  };
  [&]<class... All>(std::tuple<All...>*) { (look(static_cast<All*>(nullptr)), ...); }(static_cast<plain_kernels*>(nullptr));
  return recipe_of_object(kernel_entry_count + found, made);
}

/// Behind the plain ones: kernels that run others (recurrence.hpp, body.hpp). Their recipe is their object too.
inline constexpr std::size_t recurrence_entry = kernel_entry_count + plain_kernel_count, body_entry = recurrence_entry + 1;

}  // namespace ptq::lowering
