#pragma once
// SPDX-License-Identifier: Apache-2.0
// Memory of prepared objects. A fast kernel keeps everything it packs in one aligned block: a plain
// struct first, its arrays behind it. Kernel code that is compiled for one ISA must not emit code
// that others may link to, and creating or releasing a std::shared_ptr emits such code; so the
// library's ISA files give their tag a `blank` that lives in a baseline file, and headers-only
// builds use the one below.

#include <cstddef>

#include <ptq/core/tensor.hpp>
#include <ptq/kernels/table.hpp>

#if defined(__GNUC__)
#define PTQ_ALWAYS_INLINE inline __attribute__((always_inline))
#define PTQ_INLINE_LAMBDA __attribute__((always_inline))
#else
#define PTQ_ALWAYS_INLINE inline
#define PTQ_INLINE_LAMBDA
#endif

namespace ptq::native {

/// A prepared kernel whose object is `bytes` zeroed bytes, aligned to 64, still without a function.
/// Return it from the entry by name; functions called while it is held are noexcept, or g++ emits
/// its clean-up.
template <class Isa>
PTQ_ALWAYS_INLINE kernels::prepared blank(std::size_t bytes) {
  if constexpr (requires { Isa::blank(bytes); })
    return Isa::blank(bytes);
  else
    return {.object = allocate_aligned(bytes)};
}

/// The block of a prepared object, for filling it.
template <class Object>
PTQ_ALWAYS_INLINE Object* object_of(const kernels::prepared& p) {
  return static_cast<Object*>(const_cast<void*>(p.object.get()));
}

/// Offsets of arrays laid one behind the other, each aligned to a cache line.
template <class Isa>
struct block_layout {
  std::size_t bytes = 0;

  /// Room for `count` elements of T; returns where they start.
  template <class T>
  PTQ_ALWAYS_INLINE std::size_t add(std::int64_t count) {
    const std::size_t at = bytes;
    bytes += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return at;
  }
};

/// A prepared kernel with a block of its own and packed memory beside it: the one that is given, or
/// room behind the block, to be filled. Its own block comes first. Where what is given has another
/// size, it is not the packed memory of these arguments: return the kernel without a function.
template <class Isa>
PTQ_ALWAYS_INLINE kernels::prepared blank(const block_layout<Isa>& own,
                                          const block_layout<Isa>& packed,
                                          const kernels::packed_memory& given) {
  kernels::prepared p = blank<Isa>(own.bytes + (given.data ? 0 : packed.bytes));
  const auto* block = static_cast<const std::byte*>(p.object.get());
  p.packed.data = given.data ? given.data : block + own.bytes;
  p.packed.bytes = packed.bytes;
  return p;
}

/// The array of T at `offset` bytes of the packed memory: for writing only where none was given.
template <class T>
PTQ_ALWAYS_INLINE T* packed_at(const kernels::prepared& p, std::size_t offset) {
  return reinterpret_cast<T*>(const_cast<std::byte*>(p.packed.data) + offset);
}

/// The array of T at `offset` bytes from a block's start.
template <class T>
PTQ_ALWAYS_INLINE T* at_offset(void* block, std::size_t offset) {
  return reinterpret_cast<T*>(static_cast<std::byte*>(block) + offset);
}
template <class T>
PTQ_ALWAYS_INLINE const T* at_offset(const void* block, std::size_t offset) {
  return reinterpret_cast<const T*>(static_cast<const std::byte*>(block) + offset);
}

/// A number as a type, so that loops over registers unroll in the front end.
template <int I>
struct constant {
  static constexpr int value = I;
};

template <int First, int Count, class F>
PTQ_ALWAYS_INLINE void unrolled_from(F&& f) {
  if constexpr (Count == 1) {
    f(constant<First>{});
  } else if constexpr (Count > 1) {
    unrolled_from<First, Count / 2>(f);
    unrolled_from<First + Count / 2, Count - Count / 2>(f);
  }
}

/// f(constant<0>{}), …, f(constant<Count - 1>{}): `decltype(i)::value` is the index.
template <int Count, class F>
PTQ_ALWAYS_INLINE void unrolled(F&& f) {
  unrolled_from<0, Count>(f);
}

}  // namespace ptq::native
