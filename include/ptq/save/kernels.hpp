#pragma once
// SPDX-License-Identifier: Apache-2.0
// Kernels in a file: what each was made of, to be made again. Packed memory is not made again but read where the file
// is mapped; whatever an entry doesn't pack (small objects, oneDNN's, the reference's) is made from recorded arrays.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ptq/kernels/reference.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/packed_weights.hpp>
#include <ptq/lower/plain.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/lower/recipe.hpp>
#include <ptq/save/bounds.hpp>
#include <ptq/save/file.hpp>
#include <ptq/save/plain_bounds.hpp>

namespace ptq::saving {

template <class T>
std::span<const std::byte> bytes_of(const T* p, std::size_t count) {
  return {reinterpret_cast<const std::byte*>(p), count * sizeof(T)};
}

/// Arrays of arguments → blobs.
struct array_writer {
  writer& out;
  template <class T>
  void operator()(const T*& p, std::int64_t count) {
    out(p != nullptr);
    if (p) out.blob(bytes_of(p, static_cast<std::size_t>(count)));
  }
  template <class T>
  void operator()(std::span<const T>& s) {
    out.blob(bytes_of(s.data(), s.size()));
  }
};

/// Blobs → arrays of arguments, which borrow them.
struct array_reader {
  reader& in;
  template <class T>
  void operator()(const T*& p, std::int64_t count) {
    bool there = false;
    in(there);
    if (!there) return;
    std::uint64_t bytes = 0;
    p = reinterpret_cast<const T*>(in.blob(bytes).get());
    if (bytes != static_cast<std::uint64_t>(count) * sizeof(T))
      in.fail("array: expected " + std::to_string(count) + " elements, got " + std::to_string(bytes) + " bytes");
  }
  template <class T>
  void operator()(std::span<const T>& s) {
    std::uint64_t bytes = 0;
    const auto* p = reinterpret_cast<const T*>(in.blob(bytes).get());
    if (bytes % sizeof(T) != 0) in.fail("array: got " + std::to_string(bytes) + " bytes");
    s = {p, static_cast<std::size_t>(bytes / sizeof(T))};
    if constexpr (std::is_same_v<T, std::int64_t>)
      for (auto at : s) require_within("offset", at, 0, most_elements);
  }
};

/// One of the table's, or a plain one.
template <class = void>
void write_made(writer& out, const lowering::recipe& r, const kernels::packed_memory& packed) {
  out(static_cast<std::uint64_t>(r.entry));
  if (r.entry >= lowering::kernel_entry_count)
    return lowering::with_plain(r.entry - lowering::kernel_entry_count, [&]<class F>(F) {
      out(*static_cast<const F*>(r.arguments.get()));
    });
  lowering::with_entry(r.entry, [&]<class Args>(lowering::entry_field<Args>) {
    Args args = *static_cast<const Args*>(r.arguments.get());
    out(args);
    lowering::each_array(args, array_writer{out});
    if constexpr (lowering::packs_weights<Args>) {
      out(packed.data != nullptr);
      if (packed.data) out.blob({packed.data, packed.bytes});
    }
  });
}

/// Extents that counts of arrays are products of.
template <class Args>
void check_extents(const Args& a) {
  if constexpr (requires { a.geometry; }) check_geometry(a.geometry);
  if constexpr (requires { a.k; }) {
    elements({a.k, a.n});
    elements({a.m, a.k});
  }
  if constexpr (std::is_same_v<Args, kernels::layer_norm_args>) elements({a.rows, a.size});
}

inline std::int64_t packed_weight_count(const kernels::matmul_args& a) { return a.k * a.n; }
template <class Args>
std::int64_t packed_weight_count(const Args& a) {
  return lowering::weight_count(a.geometry);
}

/// The four that change the type of an element have arguments alike.
template <class Args>
reach reach_of_entry(lowering::entry_field<Args> field, const Args& a) {
  using table = kernels::kernel_table;
  if constexpr (std::is_same_v<Args, kernels::quantize_args> || std::is_same_v<Args, kernels::dequantize_args>)
    check_codes({a.zero_point}, 65535);
  if constexpr (std::is_same_v<Args, kernels::quantize_args>)
    return elementwise(a.size, 4, field == &table::wide_quantize ? 2 : 1);
  else if constexpr (std::is_same_v<Args, kernels::dequantize_args>)
    return elementwise(a.size, field == &table::wide_dequantize ? 2 : 1, 4);
  else
    return reach_of(a);
}

/// Bytes that a kernel may reach.
struct rooms {
  std::vector<std::int64_t> src;
  std::int64_t dst = 0;
};

/// Bytes from a slot's start to its storage's end.
inline std::int64_t room_of(const program& p, int slot) {
  const auto& s = p.slots[static_cast<std::size_t>(slot)];
  return static_cast<std::int64_t>(p.storages[static_cast<std::size_t>(s.storage)].bytes) - s.offset;
}
inline rooms rooms_of(const program& p, const step& s) {
  rooms r{{}, room_of(p, s.dst)};
  for (int i : s.src) r.src.push_back(room_of(p, i));
  return r;
}

/// Throws mismatch if a kernel that reaches so far would leave its rooms.
inline void check_reach(const rooms& of, const reach& r) {
  for (std::size_t i = 0; i < r.src.size(); ++i) {
    const bool there = i < of.src.size();
    if (!there && (r.src[i] == 0 || (i > 0 && r.first_alone))) continue;
    require_within("source", r.src[i], 0, there ? of.src[i] : 0);
  }
  require_within("destination", r.dst, 0, of.dst);
}

template <class Args>
kernels::prepared make_kernel(reader& in, lowering::entry_field<Args> field, const rooms& of,
                              const kernels::kernel_table& table) {
  Args args;
  in(args);
  check_extents(args);
  lowering::each_array(args, array_reader{in});
  std::shared_ptr<const std::byte> packed;
  std::uint64_t packed_bytes = 0;
  if constexpr (lowering::packs_weights<Args>) {
    bool there = false;
    in(there);
    if (there) {
      packed = in.blob(packed_bytes);
      args.packed = {packed.get(), static_cast<std::size_t>(packed_bytes)};
      // A byte or more for each: what an entry allocates by its extents is bounded by what is there.
      require_within("packed weights", packed_weight_count(args), 0, static_cast<std::int64_t>(packed_bytes));
    }
  }
  if constexpr (requires { args.geometry; args.weights; })
    if (!args.weights && !packed) throw mismatch{"weights: expected an array, got none"};
  check_reach(of, reach_of_entry<Args>(field, args));
  kernels::prepared made;
  if (table.*field) made = (table.*field)(args);
  if (packed) {
    if (!made || made.packed.data != packed.get())
      in.fail("packed weights: expected " + std::to_string(made.packed.bytes) + " bytes as " + table.isa +
              " packs them, got " + std::to_string(packed_bytes));
    return lowering::keeping(std::move(made), std::move(packed));
  }
  if (!made && kernels::reference_kernels().*field) made = (kernels::reference_kernels().*field)(args);
  if (!made) in.fail("kernel: the table of " + std::string(table.isa) + " has none");
  return made;
}

/// The one of the table's, or the plain one, that the number stands for; it is less than recurrence_entry.
template <class = void>
kernels::prepared read_made(reader& in, std::size_t entry, const rooms& of, const kernels::kernel_table& table) {
  constexpr auto plain = lowering::kernel_entry_count;
  kernels::prepared made;
  if (entry >= plain) {
    lowering::with_plain(entry - plain, [&](auto kernel) {
      in(kernel);
      check_reach(of, reach_of(kernel));
      made = lowering::plain_kernel(std::move(kernel));
    });
    return made;
  }
  lowering::with_entry(entry, [&]<class Args>(lowering::entry_field<Args> field) {
    made = make_kernel<Args>(in, field, of, table);
  });
  return made;
}

}  // namespace ptq::saving
