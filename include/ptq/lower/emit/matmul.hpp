#pragma once
// SPDX-License-Identifier: Apache-2.0
// Matrix products: with constant weights they are 1×1 convolutions over rows; of two activations, a batched kernel.

#include <string>
#include <vector>

#include <ptq/lower/emit/weighted.hpp>
#include <ptq/lower/emitter.hpp>

namespace ptq::lowering {

/// Extents of a (broadcast, batched) product and where each batch item starts in its operands.
struct product_shape {
  std::int64_t m = 1, n = 1, k = 1;
  std::vector<std::int64_t> a_offset, b_offset;
};

template <class = void>
product_shape product_of(const shape& a_in, const shape& b_in, const op::matmul& what) {
  shape a = a_in, b = b_in;
  if (a.rank() == 1) a.dims.insert(a.dims.begin(), 1);
  if (b.rank() == 1) b.dims.push_back(1);
  const int ra = a.rank(), rb = b.rank();
  product_shape p;
  p.m = what.trans_a ? a[ra - 1] : a[ra - 2];
  p.k = what.trans_a ? a[ra - 2] : a[ra - 1];
  p.n = what.trans_b ? b[rb - 2] : b[rb - 1];
  const int batch_rank = std::max(ra, rb) - 2;
  shape batch;
  std::vector<std::int64_t> sa(static_cast<std::size_t>(batch_rank), 0), sb = sa;
  const auto a_strides = strides_of(a), b_strides = strides_of(b);
  for (int i = 0; i < batch_rank; ++i) {
    const int ia = i - (batch_rank - (ra - 2)), ib = i - (batch_rank - (rb - 2));
    const auto da = ia >= 0 ? a[ia] : 1, db = ib >= 0 ? b[ib] : 1;
    batch.dims.push_back(std::max(da, db));
    if (da == 0 || db == 0) batch.dims.back() = 0;
    if (da > 1) sa[static_cast<std::size_t>(i)] = a_strides[static_cast<std::size_t>(ia)];
    if (db > 1) sb[static_cast<std::size_t>(i)] = b_strides[static_cast<std::size_t>(ib)];
  }
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    std::int64_t rest = i, oa = 0, ob = 0;
    for (int d = batch_rank - 1; d >= 0; --d) {
      const auto at = rest % batch[d];
      rest /= batch[d];
      oa += at * sa[static_cast<std::size_t>(d)];
      ob += at * sb[static_cast<std::size_t>(d)];
    }
    p.a_offset.push_back(oa);
    p.b_offset.push_back(ob);
  }
  return p;
}

/// [k,n] → [n,k]
template <class = void>
tensor transposed_matrix(const tensor& t) {
  const auto r = t.dims()[0], c = t.dims()[1];
  tensor out(t.type(), {c, r});
  const auto args = copy_between({c, r}, {1, c}, {r, 1}, static_cast<int>(size_of(t.type())));
  const auto k = kernels::reference_kernels().copy(args);
  k.run(k.object.get(), {.src = {t.data()}, .dst = out.mutable_data()}, nullptr, {0, k.units});
  return out;
}

template <class = void>
void emit_float_matmul(emitter& e, const node& n, const op::matmul& what) {
  const auto a = n.inputs[0], b = n.inputs[1], y = n.outputs[0];
  const auto bias_id = n.inputs.size() > 2 ? n.inputs[2] : none;
  auto p = product_of(e.dims(a), e.dims(b), what);
  const bool fixed = e.constant(b) && e.dims(b).rank() == 2;
  if (fixed && !what.trans_a) {
    // One product with all rows below each other.
    p.m *= static_cast<std::int64_t>(p.a_offset.size());
    p.a_offset = p.b_offset = {0};
  }
  const tensor* vector = e.constant(bias_id);
  const bool fused_bias = vector && vector->size() == p.n && e.dims(bias_id)[e.dims(bias_id).rank() - 1] == p.n;
  const tensor bias = fused_bias ? e.real_constant(bias_id) : tensor();
  const tensor weights = fixed ? e.real_constant(b) : tensor();
  const bool late_bias = bias_id != none && !fused_bias;
  kernels::matmul_args args{.m = p.m,
                            .n = p.n,
                            .k = p.k,
                            .a_trans = what.trans_a,
                            .b_trans = what.trans_b,
                            .a_offset = p.a_offset,
                            .b_offset = p.b_offset,
                            .b = fixed ? weights.view<float>().data() : nullptr,
                            .bias = fused_bias ? bias.view<float>().data() : nullptr,
                            .act = late_bias ? clamp{} : what.act};
  std::vector<int> operands{e.real_plain(a)};
  if (!fixed) operands.push_back(e.real_plain(b));
  const auto plain = plain_order(e.dims(y).rank());
  int dst = e.create_real(y, plain);
  e.emit(n,
         prepare_float(e, {&kernels::kernel_table::fast_matmul}, &kernels::kernel_table::matmul, args),
         operands, dst)
      .macs = p.m * p.n * p.k * static_cast<std::int64_t>(p.a_offset.size());
  if (late_bias) {
    const int with_bias = e.create_real(y, plain);
    const int other = e.real_plain(bias_id);
    const auto over = broadcast_over(e.dims(y), plain, e.operand(dst), e.operand(other));
    e.emit(n,
           e.prepare(&kernels::kernel_table::binary,
                     {.kind = binary_kind::add, .over = over, .act = what.act}),
           {dst, other}, with_bias);
    dst = with_bias;
  }
  e.produced(y, dst);
}

/// Both operands are codes: their product in integers, codes or reals out. False: not possible.
template <class = void>
bool emit_integer_product(emitter& e, const node& n, const op::matmul& what) {
  const auto a = n.inputs[0], b = n.inputs[1], y = n.outputs[0];
  if (!e.has_codes(a) || !e.has_codes(b) || e.constant(a) || e.constant(b)) return false;
  if (n.inputs.size() > 2 && n.inputs[2] != none) return false;
  if (e.at(y).quant && !e.has_codes(y)) return false;
  const auto p = product_of(e.dims(a), e.dims(b), what);
  // 255 · 255 · k < 2^31
  if (p.k > 33025) return false;
  const code ca = e.codes_of(a), cb = e.codes_of(b);
  const double product = static_cast<double>(ca.scale) * cb.scale;
  const bool to_codes = e.has_codes(y);
  const code cy = to_codes ? e.codes_of(y) : code{};
  const float multiplier = static_cast<float>(to_codes ? product / cy.scale : product);
  kernels::qmatmul_args args{.m = p.m,
                             .n = p.n,
                             .k = p.k,
                             .a_trans = what.trans_a,
                             .b_trans = what.trans_b,
                             .a_offset = p.a_offset,
                             .b_offset = p.b_offset,
                             .a_zero_point = ca.zero_point,
                             .b_zero_point = cb.zero_point,
                             .epilogue = {}};
  args.epilogue.multiplier = std::span<const float>(&multiplier, 1);
  args.epilogue.to_float = !to_codes;
  args.epilogue.float_low = what.act.low;
  args.epilogue.float_high = what.act.high;
  args.epilogue.zero_point = cy.zero_point;
  if (to_codes) std::tie(args.epilogue.low, args.epilogue.high) = code_bounds(what.act, cy);
  const auto plain = [&](value_id id) { return plain_order(e.dims(id).rank()); };
  const std::vector<int> operands{e.codes(a, plain(a)), e.codes(b, plain(b))};
  const int dst = to_codes ? e.create_codes(y, plain(y)) : e.create_real(y, plain(y));
  e.emit(n, e.prepare(&kernels::kernel_table::qmatmul, args), operands, dst, true).macs =
      p.m * p.n * p.k * static_cast<std::int64_t>(p.a_offset.size());
  e.produced(y, dst);
  return true;
}

template <class = void>
void emit_matmul(emitter& e, const node& n, const op::matmul& what, absorbed_nodes& absorbed) {
  e.require_reals(n);
  const auto a = n.inputs[0], b = n.inputs[1], y = n.outputs[0];
  if (emit_integer_product(e, n, what)) return;
  std::string why = "its right side is not a constant matrix";
  if (e.constant(b) && e.dims(b).rank() == 2 && !what.trans_a && e.dims(a).rank() >= 2) {
    const auto p = product_of(e.dims(a), e.dims(b), what);
    kernels::conv_geometry geo;
    geo.in_w = geo.out_w = e.dims(a).size() / p.k;
    geo.in_c = p.k;
    geo.out_c = p.n;
    const weighted_call call{.input = a,
                             .weights = b,
                             .bias = n.inputs.size() > 2 ? n.inputs[2] : none,
                             .output = y,
                             .act = what.act,
                             .geometry = geo,
                             .memory = plain_order(e.dims(a).rank()),
                             .channel_axis = what.trans_b ? 0 : 1};
    why = p.k > 0 ? integer_refusal(e, call) : "it has no terms";
    if (why.empty()) {
      const tensor stored = *centred_weights(e, b);
      const tensor weights = what.trans_b ? stored : transposed_matrix(stored);
      why = accumulator_refusal(e, call, weights);
      if (why.empty()) return emit_integer(e, n, call, weights, absorbed);
    }
  }
  emit_float_matmul(e, explained(e, n, why, e.at(b).quant || e.has_codes(a)), what);
}

}  // namespace ptq::lowering
