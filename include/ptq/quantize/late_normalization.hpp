#pragma once
// SPDX-License-Identifier: Apache-2.0
// Attention whose rows are normalised behind the product with the values:
//
//   softmax(x) · V = (e · V) / Σe,  e = e^(x − max x)
//
// One scale has to do for all rows. A row of probabilities over many keys lies below half its step where
// another has all its weight on one key; e reaches 1 in every row, so that its codes use all 8 bits, and
// the step is never larger than that of the probabilities. The sums are taken of real numbers.
// Sources: online softmax (Milakov & Gimelshein 2018); integer attention on exponentials (Zhang et al. 2024,
// SageAttention).

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include <ptq/graph/graph.hpp>
#include <ptq/graph/infer.hpp>
#include <ptq/graph/rewrite.hpp>

namespace ptq::quantization {

/// The product that alone reads the rows of probabilities that node n computes; −1 if there is none.
inline int product_of_rows(const rewriter& g, int n) {
  const auto* s = g.removed(n) ? nullptr : std::get_if<op::softmax>(&g.at(n).what);
  if (!s || s->log || !s->normalized) return -1;
  const auto& x = g[g.at(n).inputs[0]];
  if (s->axis != -1 && (!x.shaped || s->axis != x.dims.rank() - 1)) return -1;
  const auto rows = g.at(n).outputs[0];
  if (!g.sole_use(rows)) return -1;
  const int product = g.consumers(rows)[0];
  const auto& p = g.at(product);
  const auto* m = std::get_if<op::matmul>(&p.what);
  const bool plain = m && !m->trans_a && m->act == clamp{} && p.inputs.size() == 2;
  if (!plain || p.inputs[0] != rows || g[p.inputs[1]].constant) return -1;
  const auto& values = g[p.inputs[1]];
  return values.shaped && values.dims.rank() >= 2 ? product : -1;
}

struct normalized_late {
  graph network;
  int changed = 0;  // products
};

/// g  float
inline normalized_late normalize_late(const graph& g) {
  rewriter edit(g);
  normalized_late r;
  const int count = edit.node_count();
  for (int n = 0; n < count; ++n) {
    const int product = product_of_rows(edit, n);
    if (product < 0) continue;
    // Names stand for what the float network calls so: nothing is a probability now.
    const auto y = edit.at(product).outputs[0];
    const auto rows = edit[edit.at(n).outputs[0]].name, name = edit[y].name;
    const auto last = edit.add_constant(rows + "_axis", tensor::from<std::int64_t>({1}, {-1}));
    const auto e = edit.add_value(rows + "_exponentials"), sum = edit.add_value(rows + "_sum");
    const auto whole = edit.add_value(name + "_unnormalized");
    edit.set(n, op::softmax{.axis = -1, .normalized = false});
    edit.take_over(n, e);
    edit.set_input(product, 0, e);
    edit.insert(rewriter::side::after, n,
                {edit.at(n).name + "_sum", op::reduce{.kind = reduce_kind::sum}, {e, last}, {sum}, ""});
    edit.take_over(product, whole);
    edit.insert(rewriter::side::after, product,
                {edit.at(product).name + "_normalized", op::binary{.kind = binary_kind::div, .act = {}},
                 {whole, sum}, {y}, ""});
    ++r.changed;
  }
  r.network = infer(edit.finish());
  return r;
}

}  // namespace ptq::quantization
