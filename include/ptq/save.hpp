#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: program ↔ file. A saved program starts without the model it came from: nothing is imported, lowered or packed,
// and kernels read their weights where the file is mapped. It is a cache for one version of the library and one ISA,
// not a format for exchange: whatever doesn't match is refused, and the program is to be prepared again.
//
//   save_program(lower(g, table, {.keep_recipes = true}), "cnn.ptq");
//   const program p = load_program("cnn.ptq", table);

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/error.hpp>
#include <ptq/core/mapped_file.hpp>
#include <ptq/core/version.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower/cpu.hpp>
#include <ptq/lower/openmp_threads.hpp>
#include <ptq/lower/program.hpp>
#include <ptq/save/file.hpp>
#include <ptq/save/identity.hpp>
#include <ptq/save/programs.hpp>

namespace ptq {

struct load_options {
  /// That the session will have: kernels that thread by themselves (oneDNN) plan for them.
  int threads = 1;
};

/// A program → file, whole or not at all: beside `path` first, then renamed.
///
/// p        lowered with keep_recipes
/// table    that it was lowered with
/// throws   unsupported if p was lowered without keep_recipes or with another table; io_error if the file can't be written
template <class = void>
void save_program(const program& p, const kernels::kernel_table& table, const std::filesystem::path& path) {
  if (p.isa != table.isa)
    throw unsupported("save: table: expected that of " + p.isa + ", got that of " + table.isa);
  saving::writer out;
  out(std::string(version), saving::identity_of(table));
  saving::write_program(out, p);
  out.write(path);
}

/// Whether a file begins as save_program's do; what can't be read doesn't.
template <class = void>
bool is_saved_program(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::array<char, saving::magic.size()> begin{};
  in.read(begin.data(), begin.size());
  return in && begin == saving::magic;
}

/// A file → the program that was saved, for the same ISA, table and version of the library. The file is mapped for as
/// long as the program, or a copy of it, lives.
///
/// throws  io_error if the file can't be read; import_error if it is damaged or contradicts itself, whatever its bytes;
///         unsupported for another format, version, ISA or table, with both in the text
/// exact   outputs have the bits of the program that was saved
/// cost    reading the file once, for its checksum; memory for what is no weight
template <class = void>
program load_program(const std::filesystem::path& path, const kernels::kernel_table& table,
                     const load_options& options = {}) {
  const lowering::openmp_threads planned(options.threads);
  saving::reader in(map_file(path, "load", paging::at_once), path.filename().string());
  const auto require = [&](const char* what, const std::string& expected, const std::string& got) {
    if (got != expected)
      throw unsupported("load: '" + in.name() + "': " + what + ": expected " + expected + ", got " + got +
                        ": prepare it again");
  };
  std::string made_by;
  std::uint64_t identity = 0;
  in(made_by, identity);
  require("version of the library", version, made_by);
  program p;
  in(p);
  require("ISA", table.isa, p.isa);
  require("kernel table", std::to_string(saving::identity_of(table)), std::to_string(identity));
  try {
    saving::read_kernels(in, p, table);
  } catch (const saving::mismatch& m) {
    in.fail(m.what);
  } catch (const std::bad_alloc&) {
    in.fail("it needs more memory than there is");
  }
  if (!in.done()) in.fail("fields: expected an end, got more");
  if (auto note = lowering::slower_than_cpu(table.isa); !note.empty()) p.notes.push_back(std::move(note));
  return p;
}

}  // namespace ptq
