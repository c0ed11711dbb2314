// SPDX-License-Identifier: Apache-2.0
// Damaged programs: a changed byte or a cut is an error; with the checksum made right again, as malice would, the file
// is an error or a program that runs within its memory.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/lower.hpp>
#include <ptq/quantize.hpp>
#include <ptq/save.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>
#endif

#include "quantize/network.hpp"
#include "support/rare_steps.hpp"
#include "support/samples.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace ptq;

const kernels::kernel_table& table() {
#ifdef PTQ_TEST_DISPATCH
  return dispatched_kernels();
#else
  return kernels::reference_kernels();
#endif
}

program lowered(const graph& g) {
  lower_options o;
  o.keep_recipes = true;
  return lower(g, table(), o);
}

/// Kernels of every kind that common networks have: packed, small, left in float, and plain.
program seed_program() {
  ptq_test::network n;
  const auto a = n.conv("a", n.input("x", {1, 3, 8, 8}), 3, 16, ptq_test::positive, 3);
  op::conv depthwise;
  depthwise.groups = 16;
  depthwise.win.kernel = {3, 3};
  depthwise.win.pads = {1, 1, 1, 1};
  const auto d = n.add("d", depthwise, {a, n.random("d.w", {16, 1, 3, 3}), n.random("d.b", {16})});
  const auto sum = n.binary("sum", d, a, binary_kind::add);
  const auto padded = n.add("pad", op::pad{}, {sum, n.ints("pads", {0, 0, 1, 1, 0, 0, 1, 1})});
  const auto gate = n.unary("gate", padded, unary_kind::sigmoid);
  op::softmax softmax;
  const auto flat = n.flatten("flat", n.average("mean", n.binary("gated", padded, gate, binary_kind::mul)));
  n.output(n.add("soft", softmax, {n.linear("logits", flat, 16, 10)}));
  const auto g = quantize(n.done(), table(), ptq_test::images(2, {1, 3, 8, 8})).network;
  return lowered(g);
}

/// And what rarer networks have: plain kernels, recurrent layers on reals and on codes, an If, a Loop.
std::vector<program> seed_programs() {
  ptq_test::network n;
  op::recurrent lstm;
  using kind = op::cell_function::kind;
  lstm.functions = {{kind::sigmoid, 0, 0}, {kind::tanh, 0, 0}, {kind::tanh, 0, 0}};
  n.output(n.add("lstm", lstm, {n.input("x", {5, 1, 6}), n.random("w", {1, 32, 6}), n.random("r", {1, 32, 8})}));
  std::vector<program> all{seed_program()};
  all.push_back(lowered(ptq_test::rare_kernels()));
  all.push_back(lowered(ptq_test::recurrent_layers()));
  all.push_back(lowered(quantize(n.done(), table(), ptq_test::images(2, {5, 1, 6})).network));
  all.push_back(lowered(ptq_test::turns_in_a_branch()));
  return all;
}

/// What became of a file; anything but a program or a ptq::error escapes and fails the test.
bool loads(const std::filesystem::path& file, bool run) {
  try {
    const auto p = load_program(file, table());
    constexpr std::size_t enough = 64 << 20;
    if (!run || p.arena_bytes > enough || p.scratch_bytes > enough) return true;
    for (const auto& s : p.storages)
      if (s.bytes > enough) return true;  // an input or output that this test can't afford
    std::vector<tensor> inputs;
    for (std::size_t i = 0; i < p.inputs.size(); ++i) inputs.emplace_back(p.input(i).type, p.input(i).dims);
    execute_options o;
    o.tap = [](const tapped& t) {
      if (t.codes || t.type == dtype::f32) (void)t.real();
    };
    execute(p, inputs, o);
    return true;
  } catch (const ptq::error&) {
    return false;
  }
}

void seal(std::string& bytes) {
  const auto hash = hash_of(std::as_bytes(std::span(bytes)).subspan(saving::hashed_from));
  std::memcpy(bytes.data() + 24, &hash, sizeof hash);
}

std::string whole_file(const ptq_test::temp_folder& folder, const program& p) {
  save_program(p, table(), folder.path() / "p.ptq");
  std::ifstream in(folder.path() / "p.ptq", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// One to three changes, mostly of fields; blobs hold numbers that are addresses too.
std::string mutated(std::string bytes, std::mt19937& random) {
  std::uint64_t field_bytes = 0;
  std::memcpy(&field_bytes, bytes.data() + 32, sizeof field_bytes);
  const auto range = random() % 4 ? field_bytes + 64 - 32 : bytes.size() - 32;
  for (auto n = 1 + random() % 3; n > 0; --n) {
    const auto at = 32 + random() % range;
    if (random() % 3 == 0) {
      bytes[at] = static_cast<char>(random());
    } else if (random() % 2) {
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    } else {
      const std::int64_t wild[] = {-1, 0, 1, std::int64_t{1} << 31, INT64_MAX, INT64_MIN, 1 << 20};
      std::memcpy(bytes.data() + std::min(at, bytes.size() - 8), &wild[random() % 7], 8);
    }
  }
  seal(bytes);
  return bytes;
}

}  // namespace

TEST_CASE("a program with a changed byte, or cut anywhere, is refused") {
  const ptq_test::temp_folder folder;
  std::mt19937 random(5);
  for (const auto& p : seed_programs()) {
    const auto whole = whole_file(folder, p);
    REQUIRE(loads(folder.path() / "p.ptq", true));
    for (std::size_t at = 0; at < whole.size(); at += 1 + random() % (at < 512 ? 2 : 128)) {
      auto bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
      CAPTURE(at);
      CHECK_FALSE(loads(folder.write("f", bytes), false));
      if (at % 16 == 0) CHECK_FALSE(loads(folder.write("f", whole.substr(0, at)), false));
    }
  }
}

TEST_CASE("a program with changed fields under a right checksum is refused, or runs within its memory") {
  const ptq_test::temp_folder folder;
  constexpr unsigned seed = 20240817;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (const auto& p : seed_programs()) {
    const auto whole = whole_file(folder, p);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
    int programs = 0, errors = 0;
    for (int i = 0; i < 8000 && std::chrono::steady_clock::now() < end; ++i) {
      const auto bytes = mutated(whole, random);
      CAPTURE(i);
      try {
        (loads(folder.write("f", bytes), true) ? programs : errors)++;
      } catch (const std::exception& e) {
        FAIL(std::string("mutation " + std::to_string(i) + ": " + e.what()));
      }
    }
    MESSAGE(p.steps.back().what << ": " << programs << " programs, " << errors << " errors");
    CHECK(errors > 50);
    CHECK(programs > 50);
  }
}
