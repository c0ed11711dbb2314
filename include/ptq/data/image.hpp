#pragma once
// SPDX-License-Identifier: Apache-2.0
// JPEG and PNG: one image, or a folder of them as samples, decoded one at a time. The only header
// that needs stb_image; it is compiled here, in a namespace of ours with internal linkage, so that
// it meets no other copy of stb_image in the program (each translation unit has its own identical
// one). EXIF orientation is not applied: data sets for classifiers are scored without. Images are
// untrusted: extents are checked against the file's size before pixels are allocated.

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ptq/core/tensor.hpp>
#include <ptq/data/bytes.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/data/stb.hpp>

namespace ptq {

namespace detail_image {

/// Least bytes per pixel: deflate's 1032 : 1 on PNG's 8 pixels per byte; JPEG needs a bit per block
/// of 64 pixels.
inline constexpr std::int64_t most_pixels_per_byte = 8 * 1032;
inline constexpr std::int64_t most_pixels = std::int64_t{1} << 27;  // 400 MB decoded

inline bool is_image_name(const std::filesystem::path& p) {
  std::string e = p.extension().string();
  for (char& c : e) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return (e == ".jpg" || e == ".jpeg" || e == ".png") && !p.filename().string().starts_with('.');
}

inline bool is_number(const std::string& s) {
  return !s.empty() && s.size() <= 9 &&
         std::all_of(s.begin(), s.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// Throws where a Huffman table of a JPEG lists more codes than there are symbols: stb_image (2.27,
/// for one) writes past its tables then. Follows the markers as the decoder does; what is no JPEG
/// passes.
inline void require_sound_tables(std::span<const std::byte> b, const std::string& file) {
  auto at = [&](std::size_t i) { return i < b.size() ? std::to_integer<unsigned>(b[i]) : 0u; };
  if (at(0) != 0xff || at(1) != 0xd8) return;
  for (std::size_t i = 2; i < b.size();) {
    if (at(i) != 0xff || at(i + 1) == 0xff) {  // padding between segments, or the bytes of a scan
      ++i;
      continue;
    }
    const unsigned marker = at(i + 1);
    i += 2;
    if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8)) continue;  // no length
    if (marker == 0xd9) return;
    const std::size_t end = i + (at(i) << 8 | at(i + 1));
    for (std::size_t t = i + 2; marker == 0xc4 && t < end;) {
      unsigned codes = 0;
      for (std::size_t l = 1; l <= 16; ++l) codes += at(t + l);
      if (codes > 256)
        data::fail(file, "image: Huffman table", "at most 256 codes", std::to_string(codes));
      t += 17 + codes;
    }
    i = std::max(end, i + 2);
  }
}

}  // namespace detail_image

/// A JPEG or PNG in memory → [3,h,w] u8 RGB; alpha is dropped, gray is repeated.
///
/// file    its name, for error texts
/// throws  data_error naming the file if it is damaged, of another format, or absurdly large
inline tensor decode_image(std::span<const std::byte> bytes, const std::string& file) {
  namespace d = detail_image;
  const auto* raw = reinterpret_cast<const stb::stbi_uc*>(bytes.data());
  if (bytes.size() > std::size_t{INT32_MAX}) data::fail(file, "image: larger than 2 GiB");
  d::require_sound_tables(bytes, file);
  const int n = static_cast<int>(bytes.size());
  int w = 0, h = 0, c = 0;
  if (stb::stbi_info_from_memory(raw, n, &w, &h, &c) == 0)
    data::fail(file, std::string("image: not a JPEG or PNG that can be read: ") +
                         stb::stbi_failure_reason());
  const std::int64_t pixels = std::int64_t{w} * h;
  if (pixels <= 0 || pixels > d::most_pixels || pixels > n * d::most_pixels_per_byte)
    data::fail(file, "image: " + std::to_string(w) + " x " + std::to_string(h) +
                         " pixels in a file of " + std::to_string(n) + " bytes");
  auto release = [](stb::stbi_uc* p) { stb::stbi_image_free(p); };
  const std::unique_ptr<stb::stbi_uc, decltype(release)> decoded(
      stb::stbi_load_from_memory(raw, n, &w, &h, &c, 3), release);
  if (!decoded)
    data::fail(file, std::string("image: can't be decoded: ") + stb::stbi_failure_reason());
  tensor image(dtype::u8, {3, h, w});
  auto planes = image.mutable_view<std::uint8_t>();
  const auto n_pixels = static_cast<std::size_t>(pixels);
  const stb::stbi_uc* p = decoded.get();
  for (std::size_t i = 0; i < n_pixels; ++i, p += 3) {
    planes[i] = p[0];
    planes[n_pixels + i] = p[1];
    planes[2 * n_pixels + i] = p[2];
  }
  return image;
}

/// A JPEG or PNG file → [3,h,w] u8 RGB.
inline tensor read_image(const std::filesystem::path& file) {
  const data::byte_run run(file);
  return decode_image(run.read(), run.name());
}

/// The JPEG and PNG files of a folder and its sub-folders, sorted by path, as raw samples [3,h,w].
/// Where all images lie in two or more sub-folders, or in one whose name is a number, the
/// sub-folder is the class: its number if all names are numbers, else the rank of its name among
/// the sorted names.
class image_folder {
 public:
  explicit image_folder(std::filesystem::path folder) : folder_(std::move(folder)) {
    namespace fs = std::filesystem;
    try {
      constexpr auto follow = fs::directory_options::follow_directory_symlink;
      for (const auto& e : fs::recursive_directory_iterator(folder_, follow))
        if (e.is_regular_file() && detail_image::is_image_name(e.path()))
          files_.push_back(e.path().lexically_relative(folder_));
    } catch (const fs::filesystem_error& e) {
      throw io_error("data: '" + folder_.string() + "': " + e.what());
    }
    std::sort(files_.begin(), files_.end());
    find_classes();
  }

  std::int64_t count() const { return static_cast<std::int64_t>(files_.size()); }
  std::string name(std::int64_t i) const { return file(i).generic_string(); }
  sample at(std::int64_t i) const { return sample(read_image(folder_ / file(i))); }
  std::optional<std::int64_t> label(std::int64_t i) const {
    if (classes_.empty()) return std::nullopt;
    const std::string name = file(i).begin()->string();
    if (numbered_) return std::stoll(name);
    return std::lower_bound(classes_.begin(), classes_.end(), name) - classes_.begin();
  }

 private:
  const std::filesystem::path& file(std::int64_t i) const {
    return files_.at(static_cast<std::size_t>(i));
  }
  void find_classes() {
    std::set<std::string> names;
    for (const auto& f : files_) {
      if (!f.has_parent_path()) return;
      names.insert(f.begin()->string());
    }
    numbered_ = !names.empty() && std::all_of(names.begin(), names.end(), detail_image::is_number);
    if (names.size() >= 2 || numbered_) classes_.assign(names.begin(), names.end());
  }

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::string> classes_;
  bool numbered_ = false;
};

}  // namespace ptq
