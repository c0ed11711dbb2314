#pragma once
// SPDX-License-Identifier: Apache-2.0
// Writes small PNG and JPEG files for tests, through stb_image_write.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#if __has_include(<stb/stb_image_write.h>)
#include <stb/stb_image_write.h>
#else
#include <stb_image_write.h>
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace ptq_test {

/// pixels [h,w,channels]
inline void write_png(const std::filesystem::path& file, int h, int w,
                      const std::vector<std::uint8_t>& pixels) {
  std::filesystem::create_directories(file.parent_path());
  const int channels = static_cast<int>(pixels.size()) / (h * w);
  stbi_write_png(file.string().c_str(), w, h, channels, pixels.data(), w * channels);
}

inline void write_jpeg(const std::filesystem::path& file, int h, int w,
                       const std::vector<std::uint8_t>& pixels) {
  std::filesystem::create_directories(file.parent_path());
  stbi_write_jpg(file.string().c_str(), w, h, static_cast<int>(pixels.size()) / (h * w),
                 pixels.data(), 95);
}

}  // namespace ptq_test
