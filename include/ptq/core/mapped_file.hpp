#pragma once
// SPDX-License-Identifier: Apache-2.0
// A file's bytes as memory: mapped where the system can, read otherwise. What views them keeps them alive. A file that
// is cut short by somebody else while it is mapped ends the process, as with every mapped file: replace files whole
// (by renaming), as this library does.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>

#include <ptq/core/error.hpp>
#include <ptq/core/tensor.hpp>

#if __has_include(<sys/mman.h>)
#define PTQ_HAS_MMAP 1
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace ptq {

/// Bytes that are only read, from an address that pages (or, where the file was read, cache lines) start at.
struct mapped_file {
  std::shared_ptr<const std::byte> bytes;
  std::size_t size = 0;

  std::span<const std::byte> view() const { return {bytes.get(), size}; }
  /// The bytes from `offset` on, which keep all of them alive.
  std::shared_ptr<const std::byte> part(std::size_t offset) const { return {bytes, bytes.get() + offset}; }
};

/// When a mapped file's pages are read: as they are touched, or all at once, which is faster if all will be.
enum class paging : std::uint8_t { as_touched, at_once };

/// who     stage that asks, for error texts
/// throws  io_error if there is no such file, or it can't be read
inline mapped_file map_file(const std::filesystem::path& path, const std::string& who,
                            [[maybe_unused]] paging when = paging::as_touched) {
  const auto fail = [&](const std::string& why) -> io_error { return io_error(who + ": '" + path.string() + "': " + why); };
  std::error_code bad;
  if (!std::filesystem::is_regular_file(path, bad))
    throw fail("expected a file" + (bad ? ", got: " + bad.message() : std::string()));
  mapped_file file;
  file.size = static_cast<std::size_t>(std::filesystem::file_size(path, bad));
  if (bad) throw fail(bad.message());
#ifdef PTQ_HAS_MMAP
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw fail("can't be opened");
  int flags = MAP_PRIVATE;
#ifdef MAP_POPULATE
  if (when == paging::at_once) flags |= MAP_POPULATE;
#endif
  void* at = file.size == 0 ? nullptr : ::mmap(nullptr, file.size, PROT_READ, flags, descriptor, 0);
  ::close(descriptor);
  if (at != MAP_FAILED) {
    if (at != nullptr)
      file.bytes = {static_cast<const std::byte*>(at),
                    [size = file.size](const std::byte* p) { ::munmap(const_cast<std::byte*>(p), size); }};
    return file;
  }
#endif
  // No mapping: a file system without them.
  std::ifstream in(path, std::ios::binary);
  if (!in) throw fail("can't be opened");
  auto memory = allocate_aligned(file.size);
  in.read(reinterpret_cast<char*>(memory.get()), static_cast<std::streamsize>(file.size));
  if (!in) throw fail("can't be read");
  file.bytes = std::move(memory);
  return file;
}

}  // namespace ptq
