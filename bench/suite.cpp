// SPDX-License-Identifier: Apache-2.0
// suite [--json FILE] [--quick]: every shape of shapes.hpp through every ISA that this CPU runs, beside oneDNN's
// int8 and the float of float programs, as one Markdown table and as JSON. One thread; the fastest of repeats, in
// processor time. A result is compared with the portable kernels' (which the tests hold to the reference) before it
// is timed. `--quick`: the best ISA alone, less repeats.
//
// On a CPU without VNNI oneDNN's int8 sums saturate: such a rate is marked, its result isn't ours.

#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "conv_subject.hpp"
#include "shapes.hpp"
#include "suite_bytes.hpp"

namespace {

using namespace ptq_bench;
using ptq::kernels::kernel_table;

struct settings {
  std::string json;
  bool quick = false;
  double seconds() const { return quick ? 0.03 : 0.3; }  // per kernel
};

struct case_of_suite {
  const char* bench;
  const char* origin;
  conv_geometry geometry;
};

std::vector<case_of_suite> all_cases() {
  std::vector<case_of_suite> all;
  for (const gemm_shape& s : gemm_shapes) {
    conv_geometry g;
    g.in_w = g.out_w = s.m;
    g.in_c = s.k;
    g.out_c = s.n;
    all.push_back({"gemm", s.origin, g});
  }
  for (const conv_shape& s : conv_shapes) all.push_back({"conv", s.origin, s.geometry});
  for (const conv_shape& s : depthwise_shapes) all.push_back({"depthwise", s.origin, s.geometry});
  return all;
}

std::string text_of(const case_of_suite& c) {
  const auto n = [](std::int64_t x) { return std::to_string(x); };
  const conv_geometry& g = c.geometry;
  if (std::string(c.bench) == "gemm") return n(g.in_w) + "x" + n(g.out_c) + "x" + n(g.in_c);
  std::string s = n(g.in_h) + "x" + n(g.in_w) + "x" + n(g.in_c) + " -> " + n(g.out_c) + ", " +
                  n(g.kernel_h) + "x" + n(g.kernel_w);
  if (g.stride_h > 1) s += " /" + n(g.stride_h);
  if (g.groups > 1) s += ", " + n(g.groups) + " groups";
  return s;
}

/// Billions of operations per second, of the fastest of repeats.
double rate(const ptq::kernels::prepared& k, const ptq::kernels::operands& io, double operations,
            const settings& o) {
  const auto scratch = ptq::allocate_aligned(k.scratch);
  return 1e-9 * operations * call_rate(1e8 / operations, o.seconds(), [&] {
           k.run(k.object.get(), io, scratch.get(), {0, k.units});
         });
}

bool same(const ptq::tensor& a, const ptq::tensor& b) {
  return std::memcmp(a.data(), b.data(), a.byte_count()) == 0;
}

/// A case's rows, one per ISA.
nlohmann::json rows_of(const case_of_suite& c, const settings& o) {
  conv_data d(c.geometry);
  const double operations = 2 * multiply_adds(c.geometry);
  const ptq::kernels::operands io{.src = {d.x.data()}, .dst = d.y.mutable_data()};
  const auto& portable = *ptq::available_kernels().back();
  run_once(portable.qconv(d.codes()), {.src = {d.x.data()}, .dst = d.expected.mutable_data()});

  nlohmann::json onednn, exact, real;
  if (const kernel_table* t = ptq::onednn_int8_kernels())
    if (const auto k = t->qconv(d.codes())) {
      run_once(k, io);
      exact = same(d.y, d.expected);
      onednn = rate(k, io, operations, o);
    }
  const kernel_table& best = *ptq::available_kernels().front();
  ptq::kernels::prepared fast;  // what a float program takes
  for (const auto entry : {best.winograd_conv, best.fast_conv, best.conv})
    if (entry && !fast) fast = entry(d.reals());
  if (fast)
    real = rate(fast, {.src = {d.real_x.data()}, .dst = d.real_y.mutable_data()}, operations, o);

  nlohmann::json rows = nlohmann::json::array();
  for (const kernel_table* t : ptq::available_kernels()) {
    if (o.quick && t != &best) break;
    const auto k = t->qconv(d.codes());
    run_once(k, io);
    if (!same(d.y, d.expected))
      throw std::runtime_error(std::string(c.origin) + ": " + t->isa +
                               " differs from the portable kernels");
    const double gops = rate(k, io, operations, o), peak = machine().int8_of(t->isa);
    rows.push_back({{"bench", c.bench},
                    {"shape", text_of(c)},
                    {"origin", c.origin},
                    {"isa", t->isa},
                    {"algorithm", k.name},
                    {"gops", gops},
                    {"share_of_peak",
                     peak > 0 ? nlohmann::json(gops * 1e9 / peak) : nullptr},
                    {"onednn_gops", onednn},
                    {"onednn_exact", exact},
                    {"float_gops", real}});
  }
  return rows;
}

std::string number(const nlohmann::json& x, const char* format) {
  if (x.is_null()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, format, x.get<double>());
  return text;
}

void print_row(const nlohmann::json& r) {
  std::string onednn = number(r["onednn_gops"], "%.1f");
  if (r["onednn_exact"] == false) onednn += " (saturates)";
  std::cout << "| " << r["bench"].get<std::string>() << " | " << r["origin"].get<std::string>()
            << " | " << r["shape"].get<std::string>() << " | " << r["isa"].get<std::string>()
            << " | " << r["algorithm"].get<std::string>() << " | " << number(r["gops"], "%.1f")
            << " | " << number(r["share_of_peak"], "%.2f") << " | " << onednn << " | "
            << number(r["float_gops"], "%.1f") << " |" << std::endl;
}

settings parse(int argc, char** argv) {
  settings o;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "--quick")
      o.quick = true;
    else if (a == "--json" && i + 1 < argc)
      o.json = argv[++i];
    else
      throw std::runtime_error("usage: suite [--json FILE] [--quick]");
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) try {
  const settings o = parse(argc, argv);
#ifdef _OPENMP
  omp_set_num_threads(1);  // oneDNN's too
#endif
  const peaks& m = machine();
  std::cout
      << "int8 peak " << m.int8 * 1e-9 << " GOP/s (tiles " << m.int8_tiles * 1e-9 << "), float peak " << m.f32 * 1e-9 << " GOP/s, copy "
      << m.copy * 1e-9 << " GB/s, one core\n\n"
      << "| bench | origin | shape | isa | algorithm | GOP/s | of peak | oneDNN int8 | float |\n"
      << "|---|---|---|---|---|---|---|---|---|\n";
  nlohmann::json all = {{"peak_gops", m.int8 * 1e-9},
                        {"tile_peak_gops", m.int8_tiles * 1e-9},
                        {"copy_gbps", m.copy * 1e-9},
                        {"rows", nlohmann::json::array()}};
  for (const case_of_suite& c : all_cases())
    for (const nlohmann::json& r : rows_of(c, o)) {
      print_row(r);
      all["rows"].push_back(r);
    }
  std::cout << "\n| bench | where | elements | isa | GB/s | copy, or read | share |\n"
            << "|---|---|---|---|---|---|---|\n";
  const char* best = ptq::available_kernels().front()->isa;
  for_bytes_rows(o.seconds(), [&](const bytes_row& row) {
    const nlohmann::json r = json_of(row, best);
    std::cout << "| " << row.bench << " | " << row.origin << " | " << row.shape << " | " << best
              << " | " << number(r["gbps"], "%.1f") << " | " << number(r["peer_gbps"], "%.1f")
              << " | " << number(r["share_of_peer"], "%.2f") << " |" << std::endl;
    all["rows"].push_back(r);
  });
  if (o.json.empty()) return 0;
  std::ofstream file(o.json);
  file << all.dump(1) << "\n";
  if (!file.flush()) throw std::runtime_error(o.json + ": cannot be written");
} catch (const std::exception& e) {
  std::cerr << "suite: " << e.what() << "\n";
  return 1;
}
