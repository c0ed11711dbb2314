#pragma once
// SPDX-License-Identifier: Apache-2.0
// The kernel of a recurrent layer in a file: its figures, then the products that it runs. What it reads and writes is
// held against the slots of its step before it is made.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <ptq/kernels/table.hpp>
#include <ptq/lower/recurrence.hpp>
#include <ptq/save/bounds.hpp>
#include <ptq/save/fields.hpp>
#include <ptq/save/file.hpp>
#include <ptq/save/kernels.hpp>

namespace ptq::saving {

template <class = void>
void write_recurrence(writer& out, const lowering::recurrence& k) {
  const bool on_codes = k.products[0][0].to_codes.has_value();
  out(k, on_codes);
  for (const auto& direction : k.products)
    for (const auto& product : direction) {
      write_made(out, *product.made_of, product.k.packed);
      if (on_codes) write_made(out, *product.codes_made_of, product.to_codes->packed);
    }
}

/// Where operands lie, and how much of them there is.
inline void check_recurrence(const lowering::recurrence& k, const rooms& of) {
  for (auto e : {k.steps, k.batch, k.input}) require_within("extent", e, 0, most_extent);
  require_within("hidden numbers", k.hidden, 1, most_extent / 4);
  const auto d = k.directions(), g = k.gates(), state = elements({d, k.batch, k.hidden}) * 4;
  const auto functions = static_cast<std::int64_t>(k.what.functions_per_direction()) * d;
  require_within("functions", static_cast<std::int64_t>(k.what.functions.size()), functions, functions);
  elements({k.batch, g});
  const auto source = [&](const char* what, int i, std::int64_t bytes) {
    require_within(what, i, 0, static_cast<std::int64_t>(of.src.size()) - 1);
    require_within(what, bytes, 0, of.src[static_cast<std::size_t>(i)]);
  };
  source("gates", k.at.gates, elements({d, k.steps, k.batch, g}) * 4);
  if (k.at.initial_h >= 0) source("initial_h", k.at.initial_h, state);
  if (k.at.initial_c >= 0) source("initial_c", k.at.initial_c, state);
  const auto part = [&](const char* what, std::int64_t offset, std::int64_t bytes) {
    if (offset < 0) return;
    require_within(what, offset, 0, most_elements);
    require_within(what, offset % 4, 0, 0);
    source(what, k.at.rest, offset + bytes);
  };
  part("lengths", k.at.lengths, k.batch * 4);
  part("R", k.at.r, elements({d, g, k.hidden}) * 4);
  part("B", k.at.bias, elements({d, 2, g}) * 4);
  part("P", k.at.peepholes, elements({d, 3, k.hidden}) * 4);
  const auto fixed = [](const char* what, std::size_t got, std::int64_t count) {
    if (got > 0) require_within(what, static_cast<std::int64_t>(got), count, count);
  };
  fixed("B", k.bias.size(), d * 2 * g);
  fixed("P", k.peepholes.size(), d * 3 * k.hidden);
  for (auto [bytes, least] : {std::pair{k.y_bytes, elements({d, k.steps, k.batch, k.hidden}) * 4}, {k.state_bytes, state}}) {
    require_within("results", bytes, least, most_elements);
    require_within("results", bytes % 4, 0, 0);
  }
  require_within("results", k.y_bytes + 2 * k.state_bytes, 0, of.dst);
}

/// A kernel of one entry alone.
template <class Args>
kernels::prepared read_of(reader& in, lowering::entry_field<Args> field, const rooms& of,
                          const kernels::kernel_table& table) {
  std::uint64_t entry = 0;
  in(entry);
  const auto want = static_cast<std::int64_t>(lowering::position_of<Args>(field));
  require_within("entry", static_cast<std::int64_t>(std::min<std::uint64_t>(entry, lowering::body_entry)), want, want);
  return make_kernel<Args>(in, field, of, table);
}

template <class = void>
kernels::prepared read_recurrence(reader& in, const rooms& of, const kernels::kernel_table& table) {
  lowering::recurrence k;
  bool on_codes = false;
  in(k, on_codes);
  check_recurrence(k, of);
  k.gate_rows = lowering::row_kernels(table, k.gates());
  for (std::int64_t d = 0; d < k.directions(); ++d) {
    k.cells.emplace_back(table, k.what, k.hidden, static_cast<std::size_t>(d));
    auto& products = k.products.emplace_back();
    for (const auto& piece : lowering::hidden_pieces(k.what, k.batch, k.hidden)) {
      const auto rows = elements({piece.rows, k.hidden}), dst = elements({piece.rows, piece.columns}) * 4;
      // Computed weights lie in the layer's own source.
      const auto r = k.at.r < 0 ? 0 : elements({piece.columns, k.hidden}) * 4;
      lowering::hidden_product p{.k = {}, .piece = piece};
      if (on_codes) {
        p.k = read_of(in, &kernels::kernel_table::qconv, {{rows}, dst}, table);
        p.to_codes = read_of(in, &kernels::kernel_table::quantize, {{rows * 4}, rows}, table);
      } else {
        p.k = read_of(in, &kernels::kernel_table::matmul, {{rows * 4, r}, dst}, table);
      }
      products.push_back(std::move(p));
    }
  }
  return lowering::recurrence_kernel(std::move(k));
}

}  // namespace ptq::saving
