// SPDX-License-Identifier: Apache-2.0
// Models, kernels and inputs of the tool.

#include <algorithm>
#include <charconv>
#include <random>
#include <set>
#include <utility>

#include <ptq/fuse.hpp>
#include <ptq/import.hpp>
#ifdef PTQ_CLI_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#else
#include <ptq/native.hpp>
#endif

#include "support.hpp"

namespace cli {

#ifdef PTQ_CLI_DISPATCH
const ptq::kernels::kernel_table& kernels() { return ptq::dispatched_kernels(); }

std::vector<built_table> built_tables() {
  std::vector<built_table> all;
  for (const auto& b : ptq::built_kernels()) all.push_back({b.table, b.supported});
  return all;
}
#else
const ptq::kernels::kernel_table& kernels() { return ptq::native_kernels(); }

std::vector<built_table> built_tables() { return {{&ptq::native_kernels(), true}}; }
#endif

ptq::graph read_model(const std::string& path) { return ptq::import_model(path); }

ptq::graph simplified(ptq::graph g) { return ptq::fuse(ptq::fold(std::move(g))); }

ptq::graph load_model(const std::string& path) { return simplified(read_model(path)); }

bool is_quantized(const ptq::graph& g) {
  for (const auto& v : g.values)
    if (v.quant) return true;
  return false;
}

std::vector<std::pair<std::string, ptq::shape>> bound_inputs(const ptq::graph& g,
                                                             const std::vector<std::string>& dims) {
  std::vector<std::pair<std::string, std::int64_t>> wanted;
  for (const auto& d : dims) {
    const auto at = d.rfind('=');
    std::int64_t extent = 0;
    if (at != std::string::npos) std::from_chars(d.data() + at + 1, d.data() + d.size(), extent);
    if (extent <= 0)
      throw ptq::data_error("--dim: expected NAME=V with V at least 1, got '" + d + "'");
    wanted.emplace_back(d.substr(0, at), extent);
  }
  std::set<std::string> known;
  std::vector<std::pair<std::string, ptq::shape>> shapes;
  for (auto id : g.inputs) {
    const auto& v = g[id];
    auto dims_of = v.dims;
    for (int i = 0; i < dims_of.rank(); ++i) {
      if (dims_of[i] >= 0) continue;
      const auto n = static_cast<std::size_t>(i);
      const auto name = n < v.dim_names.size() ? v.dim_names[n] : std::string();
      known.insert(name);
      dims_of[i] = 1;
      for (const auto& [wish, extent] : wanted)
        if (wish == name) dims_of[i] = extent;
    }
    if (v.shaped) shapes.emplace_back(v.name, dims_of);
  }
  for (const auto& [wish, extent] : wanted)
    if (!known.contains(wish)) {
      std::string names;
      for (const auto& k : known) names += " '" + k + "'";
      throw ptq::data_error("--dim: '" + wish + "' is no free dimension of the inputs (" +
                            (names.empty() ? "there is none" : "there is" + names) + ")");
    }
  return shapes;
}

void fill(ptq::tensor& t, std::mt19937_64& random) {
  const auto with = [&](auto values, auto draw) {
    using element = typename decltype(values)::element_type;
    for (auto& x : values) x = static_cast<element>(draw());
  };
  const auto bit = [&] { return random() & 1; };
  const auto byte = [&] { return random() & 255; };
  switch (t.type()) {
    case ptq::dtype::f32:
      // 24 bits: every one of them is a float.
      with(t.mutable_view<float>(),
           [&] { return static_cast<float>(random() >> 40) * 0x1p-23f - 1.0f; });
      break;
    case ptq::dtype::u8:
      with(t.mutable_view<std::uint8_t>(), byte);
      break;
    case ptq::dtype::s8:
      with(t.mutable_view<std::int8_t>(), byte);
      break;
    case ptq::dtype::s16:
      with(t.mutable_view<std::int16_t>(), byte);
      break;
    case ptq::dtype::u16:
      with(t.mutable_view<std::uint16_t>(), byte);
      break;
    case ptq::dtype::s32:
      with(t.mutable_view<std::int32_t>(), bit);
      break;
    case ptq::dtype::s64:
      with(t.mutable_view<std::int64_t>(), bit);
      break;
    case ptq::dtype::boolean:
      with(t.mutable_view<bool>(), bit);
      break;
    case ptq::dtype::f8e4m3:
    case ptq::dtype::f8e5m2:
      throw ptq::unsupported("inputs: expected integers or f32, got FP8");
  }
}

ptq::sample random_sample(const ptq::graph& model, const std::vector<std::string>& dims,
                          std::uint64_t seed) {
  std::mt19937_64 random(seed);
  ptq::sample s;
  for (const auto& [name, extents] : bound_inputs(model, dims)) {
    ptq::tensor t(model[model.find(name)].type, extents);
    fill(t, random);
    s.inputs.push_back({name, std::move(t)});
  }
  return s;
}

}  // namespace cli
