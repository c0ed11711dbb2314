#pragma once
// SPDX-License-Identifier: Apache-2.0
// Strided copies of elements of any size: dimensions are sorted by the destination's strides and
// merged, then the inner ones run as block copies, as two-dimensional transposes, as fills, or
// element by element.

#include <array>
#include <cstdint>
#include <cstring>

#include <ptq/kernels/args.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/native/runs.hpp>
#include <ptq/native/transpose.hpp>

namespace ptq::native {

/// Dimensions of a copy in the order in which the destination is written: outermost first.
template <class Isa>
struct copy_plan {
  int rank = 0;
  std::array<std::int64_t, 8> extent, src, dst;
  std::int64_t src_offset, dst_offset;

  static constexpr std::size_t at(int d) { return static_cast<std::size_t>(d); }

  static copy_plan of(const kernels::copy_args& args) {
    copy_plan p{};
    p.src_offset = args.src_offset;
    p.dst_offset = args.dst_offset;
    for (int d = 0; d < args.rank; ++d)
      if (args.extent[at(d)] != 1)
        p.insert(args.extent[at(d)], args.src_stride[at(d)], args.dst_stride[at(d)]);
    p.merge();
    if (p.rank == 0) {
      p.rank = 1;
      p.extent[0] = p.src[0] = p.dst[0] = 1;
    }
    return p;
  }
  std::int64_t count(int first, int last) const {
    std::int64_t n = 1;
    for (int d = first; d < last; ++d) n *= extent[at(d)];
    return n;
  }

 private:
  /// Keeps the destination's strides falling; equal ones stay in order.
  void insert(std::int64_t n, std::int64_t s, std::int64_t t) {
    int d = rank++;
    for (; d > 0 && magnitude(dst[at(d - 1)]) < magnitude(t); --d) {
      extent[at(d)] = extent[at(d - 1)];
      src[at(d)] = src[at(d - 1)];
      dst[at(d)] = dst[at(d - 1)];
    }
    extent[at(d)] = n;
    src[at(d)] = s;
    dst[at(d)] = t;
  }
  void merge() {
    int kept = 0;
    for (int d = 0; d < rank; ++d) {
      const bool joins = kept > 0 && src[at(kept - 1)] == extent[at(d)] * src[at(d)] &&
                         dst[at(kept - 1)] == extent[at(d)] * dst[at(d)];
      const int to = joins ? kept - 1 : kept++;
      extent[at(to)] = joins ? extent[at(to)] * extent[at(d)] : extent[at(d)];
      src[at(to)] = src[at(d)];
      dst[at(to)] = dst[at(d)];
    }
    rank = kept;
  }
  static std::int64_t magnitude(std::int64_t v) { return v < 0 ? -v : v; }
};

template <class Isa, int Bytes>
struct copy_kernel {
  using plan = copy_plan<Isa>;
  using type = typename element<Bytes>::type;
  plan p;
  row_split<Isa> split;  // rows and runs; of a transpose, planes and rows of the plane
  int across;            // the dimension that a transpose reads along

  /// Offsets of what the dimensions before `last`, less `skip`, select; counted by row
  PTQ_ALWAYS_INLINE static void offsets(const plan& p, std::int64_t row, int last, int skip,
                                        std::int64_t& from, std::int64_t& to) {
    from = p.src_offset;
    to = p.dst_offset;
    for (int d = last; d-- > 0;) {
      if (d == skip) continue;
      const std::int64_t along = row % p.extent[plan::at(d)];
      row /= p.extent[plan::at(d)];
      from += along * p.src[plan::at(d)];
      to += along * p.dst[plan::at(d)];
    }
  }

  PTQ_ALWAYS_INLINE static void run_of(const std::byte* src, std::byte* dst, std::int64_t n,
                                       std::int64_t src_step, std::int64_t dst_step) {
    if (src_step == 1 && dst_step == 1) {
      std::memcpy(dst, src, static_cast<std::size_t>(n) * Bytes);
    } else if (src_step == 0 && dst_step == 1) {
      type v;
      std::memcpy(&v, src, Bytes);
      for (std::int64_t i = 0; i < n; ++i) std::memcpy(dst + i * Bytes, &v, Bytes);
    } else if (dst_step == 1) {
      for (std::int64_t i = 0; i < n; ++i)
        move_element<type>(dst + i * Bytes, src + i * src_step * Bytes);
    } else {
      for (std::int64_t i = 0; i < n; ++i)
        move_element<type>(dst + i * dst_step * Bytes, src + i * src_step * Bytes);
    }
  }

  static void runs(const void* object, const kernels::operands& io, std::byte*, work_range range) {
    const auto& k = *static_cast<const copy_kernel*>(object);
    const auto* src = static_cast<const std::byte*>(io.src[0]);
    auto* dst = static_cast<std::byte*>(io.dst);
    const int last = k.p.rank - 1;
    const std::int64_t src_step = k.p.src[plan::at(last)], dst_step = k.p.dst[plan::at(last)];
    k.split.for_pieces(
        range, [&](std::int64_t row, std::int64_t begin, std::int64_t end) PTQ_INLINE_LAMBDA {
          std::int64_t from, to;
          offsets(k.p, row, last, -1, from, to);
          run_of(src + (from + begin * src_step) * Bytes, dst + (to + begin * dst_step) * Bytes,
                 end - begin, src_step, dst_step);
        });
  }

  /// The innermost dimension of the destination is `across` in the source: planes of 2-D
  /// transposes, whose rows are cut in strips so that the source lines of a strip stay in the
  /// cache.
  static void planes(const void* object, const kernels::operands& io, std::byte*,
                     work_range range) {
    const auto& k = *static_cast<const copy_kernel*>(object);
    const auto* src = static_cast<const std::byte*>(io.src[0]);
    auto* dst = static_cast<std::byte*>(io.dst);
    const int last = k.p.rank - 1;
    const std::int64_t columns = k.p.extent[plan::at(last)], rows = k.p.extent[plan::at(k.across)];
    const std::int64_t strips = (rows + strip - 1) / strip;
    for (std::int64_t u = range.begin; u < range.end; ++u) {
      std::int64_t from, to;
      offsets(k.p, u / strips, last, k.across, from, to);
      const std::int64_t begin = u % strips * strip;
      transpose_rows<Isa, Bytes>(src + from * Bytes, k.p.src[plan::at(last)], dst + to * Bytes,
                                 k.p.dst[plan::at(k.across)], begin,
                                 least<Isa>(begin + strip, rows), columns);
    }
  }
  static constexpr std::int64_t strip = 64 / Bytes < 16 ? 16 : 64 / Bytes;

  static kernels::prepared prepare(const kernels::copy_args& args) {
    auto prepared = blank<Isa>(sizeof(copy_kernel));
    auto& k = *object_of<copy_kernel>(prepared);
    k.p = plan::of(args);
    const int last = k.p.rank - 1;
    k.across = -1;
    if (k.p.dst[plan::at(last)] == 1 && k.p.src[plan::at(last)] != 1)
      for (int d = 0; d < last; ++d)
        if (k.p.src[plan::at(d)] == 1) k.across = d;
    if (k.across >= 0) {
      const std::int64_t rows = k.p.extent[plan::at(k.across)];
      const std::int64_t all = k.p.count(0, last);
      prepared.units = rows == 0 || k.p.extent[plan::at(last)] == 0
                           ? 0
                           : all / rows * ((rows + strip - 1) / strip);
      prepared.run = &copy_kernel::planes;
      prepared.name = "copy transpose";
    } else {
      k.split = row_split<Isa>::of(k.p.count(0, last), k.p.extent[plan::at(last)]);
      prepared.units = k.split.units();
      prepared.run = &copy_kernel::runs;
      prepared.name = "copy runs";
    }
    return prepared;
  }
};

template <class Isa>
inline kernels::prepared copy(const kernels::copy_args& args) {
  switch (args.element_bytes) {
    case 1:
      return copy_kernel<Isa, 1>::prepare(args);
    case 2:
      return copy_kernel<Isa, 2>::prepare(args);
    case 8:
      return copy_kernel<Isa, 8>::prepare(args);
    default:
      return copy_kernel<Isa, 4>::prepare(args);
  }
}

}  // namespace ptq::native
