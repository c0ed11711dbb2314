#pragma once
// SPDX-License-Identifier: Apache-2.0
// The one tensor type: element type, extents, and bytes that copies share until one of them writes. Copying a graph
// therefore copies no weights.

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include <ptq/core/dtype.hpp>
#include <ptq/core/error.hpp>
#include <ptq/core/shape.hpp>

namespace ptq {

/// One cache line, and the width of an AVX-512 register.
inline constexpr std::size_t tensor_alignment = 64;

/// Zeroed memory aligned for any kernel; `bytes` may be 0.
inline std::shared_ptr<std::byte> allocate_aligned(std::size_t bytes) {
  const std::size_t rounded = (bytes + tensor_alignment) / tensor_alignment * tensor_alignment;
  auto* p = static_cast<std::byte*>(
      ::operator new(rounded, std::align_val_t{tensor_alignment}));
  std::memset(p, 0, rounded);
  return {p, [](std::byte* q) { ::operator delete(q, std::align_val_t{tensor_alignment}); }};
}

/// Row-major array of one element type. Value semantics: a copy shares the bytes, the first write separates them.
class tensor {
 public:
  tensor() = default;

  /// A tensor of zeros.
  tensor(dtype type, ptq::shape dims)
      : type_(type), dims_(std::move(dims)), bytes_(allocate_aligned(byte_count())) {}

  /// A tensor over memory that `storage` keeps alive (a mapped file, say); never written through.
  tensor(dtype type, ptq::shape dims, std::shared_ptr<const std::byte> storage)
      : type_(type),
        dims_(std::move(dims)),
        bytes_(std::const_pointer_cast<std::byte>(std::move(storage))),
        borrowed_(true) {}

  template <class T>
  static tensor from(ptq::shape dims, std::span<const T> values) {
    tensor t(dtype_of<T>, std::move(dims));
    if (static_cast<std::int64_t>(values.size()) != t.size())
      throw shape_error("tensor: shape " + t.dims().text() + " holds " + std::to_string(t.size()) +
                        " elements, got " + std::to_string(values.size()));
    if (!values.empty()) std::memcpy(t.bytes_.get(), values.data(), values.size_bytes());
    return t;
  }
  template <class T>
  static tensor from(ptq::shape dims, std::initializer_list<T> values) {
    return from<T>(std::move(dims), std::span<const T>(values.begin(), values.size()));
  }
  template <class T>
  static tensor scalar(T v) {
    return from<T>({}, std::span<const T>(&v, 1));
  }

  dtype type() const { return type_; }
  const ptq::shape& dims() const { return dims_; }
  std::int64_t size() const { return dims_.size(); }
  std::size_t byte_count() const { return static_cast<std::size_t>(dims_.size()) * size_of(type_); }
  bool empty() const { return bytes_ == nullptr; }

  const std::byte* data() const { return bytes_.get(); }
  std::byte* mutable_data() {
    separate();
    return bytes_.get();
  }

  /// The elements, read only; throws shape_error if T is not the element type.
  template <class T>
  std::span<const T> view() const {
    require<T>();
    return {reinterpret_cast<const T*>(bytes_.get()), static_cast<std::size_t>(size())};
  }

  /// The elements for writing; separates shared bytes first.
  template <class T>
  std::span<T> mutable_view() {
    require<T>();
    separate();
    return {reinterpret_cast<T*>(bytes_.get()), static_cast<std::size_t>(size())};
  }

  /// Same bytes under other extents of the same count.
  tensor reshaped(ptq::shape dims) const {
    if (dims.size() != size())
      throw shape_error("tensor: can't reshape " + dims_.text() + " to " + dims.text());
    tensor t = *this;
    t.dims_ = std::move(dims);
    return t;
  }

  /// True when both hold the very same bytes (used to recognise shared weights).
  bool shares_bytes_with(const tensor& other) const { return bytes_ && bytes_ == other.bytes_; }

 private:
  template <class T>
  void require() const {
    if (dtype_of<T> != type_)
      throw shape_error(std::string("tensor: expected elements of ") + name_of(dtype_of<T>) +
                        ", got " + name_of(type_));
  }
  void separate() {
    if (bytes_.use_count() <= 1 && !borrowed_) return;
    auto copy = allocate_aligned(byte_count());
    if (byte_count() > 0) std::memcpy(copy.get(), bytes_.get(), byte_count());
    bytes_ = std::move(copy);
    borrowed_ = false;
  }

  dtype type_ = dtype::f32;
  ptq::shape dims_;
  std::shared_ptr<std::byte> bytes_;
  bool borrowed_ = false;  // not ours to write to, however few share it
};

}  // namespace ptq
