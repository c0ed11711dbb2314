#pragma once
// SPDX-License-Identifier: Apache-2.0
// Weights that are packed already, for lowering a network anew: other extents of its inputs, the same packed memory.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include <ptq/core/hash.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/recipe.hpp>

namespace ptq::lowering {

/// A kernel whose object keeps `with` alive.
inline kernels::prepared keeping(kernels::prepared k, std::shared_ptr<const void> with) {
  const void* object = k.object.get();
  auto both = std::make_shared<std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>>(
      std::move(k.object), std::move(with));
  k.object = {std::move(both), object};
  return k;
}

/// Whether the entry takes its packed memory for any batch and extents: the table's own do.
template <class Args>
bool shares_packed(entry_field<Args> field) {
  return packs_weights<Args> && position_of<Args>(field) < position_of<kernels::conv_args>(&kernels::kernel_table::fast_conv);
}

/// Arrays of arguments → hash of what is in them; offsets are no weights.
struct array_hasher {
  hasher& h;
  void add(const void* p, std::size_t bytes) const {
    const bool there = p != nullptr;
    h.add(std::as_bytes(std::span(&there, 1)));
    if (there) h.add({static_cast<const std::byte*>(p), bytes});
  }
  template <class T>
  void operator()(const T*& p, std::int64_t count) const {
    add(p, static_cast<std::size_t>(count) * sizeof(T));
  }
  void operator()(std::span<const float>& s) const { add(s.data(), s.size_bytes()); }
  void operator()(std::span<const double>& s) const { add(s.data(), s.size_bytes()); }
  void operator()(std::span<const std::int64_t>&) const {}
};

/// What an entry packs from: the contents of its arrays, and what decides on the form. 64 bits of hash.
template <class Args>
std::uint64_t packing_key(const kernels::kernel_table& table, entry_field<Args> field, Args args) {
  hasher h;
  const auto add = [&h](auto... figures) {
    const std::int64_t all[] = {static_cast<std::int64_t>(figures)...};
    h.add(std::as_bytes(std::span(all)));
  };
  add(reinterpret_cast<std::intptr_t>(&table), position_of<Args>(field));
  if constexpr (requires { args.geometry; }) {
    const auto& g = args.geometry;
    add(g.in_c, g.out_c, g.kernel_h, g.kernel_w, g.groups, g.src_pixel(), g.dst_pixel());
  } else {
    add(args.n, args.k, args.b_trans);
  }
  if constexpr (requires { args.x_zero_point; }) add(args.x_zero_point);
  if constexpr (requires { args.x_type; }) add(args.x_type);
  array_hasher contents{h};
  each_array(args, contents);
  return h.value();
}

}  // namespace ptq::lowering

namespace ptq {

/// Packed memory by what it was packed from, of any number of programs; each program keeps what it reads alive. Not for
/// several threads at once.
class packed_weights {
 public:
  /// The kernel that `field` makes, of packed memory that is there already if it fits.
  template <class Args>
  kernels::prepared prepare(const kernels::kernel_table& table, lowering::entry_field<Args> field, Args args) {
    const auto key = lowering::packing_key<Args>(table, field, args);
    if (const auto known = kept_.find(key); known != kept_.end()) {
      args.packed = known->second.packed;
      if (auto p = (table.*field)(args); p && p.packed.data == args.packed.data)
        return lowering::keeping(std::move(p), known->second.object);
      args.packed = {};  // packed for another form
    }
    auto p = (table.*field)(args);
    if (p && p.packed.data) {
      ++packed_;
      kept_.insert_or_assign(key, kept{p.packed, p.object});
    }
    return p;
  }

  /// How often weights were packed.
  std::size_t packed() const { return packed_; }

 private:
  struct kept {
    kernels::packed_memory packed;
    std::shared_ptr<const void> object;  // that it lies in
  };
  std::map<std::uint64_t, kept> kept_;
  std::size_t packed_ = 0;
};

}  // namespace ptq
