#pragma once
// SPDX-License-Identifier: Apache-2.0
// stb_image's JPEG and PNG decoders as ptq::stb, for image.hpp alone. Whatever the program itself
// does with stb_image, in this translation unit before or after, or in another, is left as it was.
// A broken invariant of the decoder becomes an exception instead of an abort: images are untrusted.

// All that stb_image.h includes, so that nothing of it lands in our namespace.
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include <ptq/core/error.hpp>

#pragma push_macro("STBIDEF")
#pragma push_macro("STBI_ASSERT")
#pragma push_macro("STBI_NO_STDIO")
#pragma push_macro("STBI_ONLY_JPEG")
#pragma push_macro("STBI_ONLY_PNG")
#pragma push_macro("STB_IMAGE_IMPLEMENTATION")
#pragma push_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma push_macro("stbi__err")  // a macro over a function of the same name
#undef STBIDEF
#undef STBI_ASSERT
#undef STBI_NO_STDIO
#undef STBI_ONLY_JPEG
#undef STBI_ONLY_PNG
#undef STB_IMAGE_IMPLEMENTATION
#undef STBI_INCLUDE_STB_IMAGE_H
#undef stbi__err
#define STBI_ASSERT(x) ((x) ? void() : throw ::ptq::data_error("data: image: decoder: " #x))
#define STBI_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STB_IMAGE_IMPLEMENTATION
#define STBI_INCLUDE_STB_IMAGE_H  // leaves out the declarations: they are extern "C"
#define STBIDEF static

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wcast-qual"
#endif
namespace ptq::stb {
// The declarations of stb_image.h that its implementation needs, with C++ linkage: extern "C" names
// of a namespace would meet the program's own.
typedef unsigned char stbi_uc;
typedef unsigned short stbi_us;
enum { STBI_default, STBI_grey, STBI_grey_alpha, STBI_rgb, STBI_rgb_alpha };
struct stbi_io_callbacks {
  int (*read)(void* user, char* data, int size);
  void (*skip)(void* user, int n);
  int (*eof)(void* user);
};
static void stbi_image_free(void* image);
#if __has_include(<stb/stb_image.h>)
#include <stb/stb_image.h>
#else
#include <stb_image.h>
#endif
}  // namespace ptq::stb
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

// What ONLY made stb define.
#undef STBI_NO_BMP
#undef STBI_NO_PSD
#undef STBI_NO_TGA
#undef STBI_NO_GIF
#undef STBI_NO_HDR
#undef STBI_NO_PIC
#undef STBI_NO_PNM
#undef STBI_NO_LINEAR
#undef stbi__err
#pragma pop_macro("stbi__err")
#pragma pop_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma pop_macro("STB_IMAGE_IMPLEMENTATION")
#pragma pop_macro("STBI_ONLY_PNG")
#pragma pop_macro("STBI_ONLY_JPEG")
#pragma pop_macro("STBI_NO_STDIO")
#pragma pop_macro("STBI_ASSERT")
#pragma pop_macro("STBIDEF")
