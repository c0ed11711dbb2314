#pragma once
// SPDX-License-Identifier: Apache-2.0
// Inputs made of photographs, and lines of text drawn where there are none.

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <stb/stb_easy_font.h>
#include <ptq/core/tensor.hpp>
#include <ptq/data/image.hpp>
#include <ptq/data/preprocess.hpp>

#include "inputs.hpp"

namespace zoo {

struct picture_rule {
  std::int64_t height, width;
  bool bgr = false, gray = false, nhwc = false;
  std::vector<float> mean = {0}, std = {1};
};

/// A photograph stretched to the network's extents.
inline ptq::sample picture(const ptq::image_folder& from, std::int64_t i, const picture_rule& r) {
  ptq::tensor planes = from.at(i).inputs[0].value;
  const ptq::preprocessing pixels{.channels = ptq::channel_order::rgb,
                                  .layout = ptq::image_layout::nhwc,
                                  .type = ptq::dtype::u8};
  ptq::tensor image = ptq::preprocess(planes, pixels);
  image = ptq::resize_image(image.reshaped({image.dims()[1], image.dims()[2], image.dims()[3]}),
                            r.height, r.width);
  const auto order = r.gray  ? ptq::channel_order::gray
                     : r.bgr ? ptq::channel_order::bgr
                             : ptq::channel_order::rgb;
  const ptq::preprocessing p{.channels = order,
                             .mean = r.mean,
                             .std = r.std,
                             .layout = r.nhwc ? ptq::image_layout::nhwc : ptq::image_layout::nchw};
  return ptq::sample(ptq::preprocess(image, p));
}

/// Calibrates on the photographs kept for that and a third of the evaluated set's; evaluates on the
/// rest of it.
inline inputs pictures(const context& c, const picture_rule& r) {
  const ptq::image_folder scenes(c.data("coco30/images")),
      others(c.data("imagenet_calibration100/images"));
  inputs made;
  const auto add = [&](auto& list, const ptq::image_folder& from, const char* name,
                       std::int64_t i) {
    list.push_back({std::string(name) + "/" + from.name(i), picture(from, i, r)});
  };
  for (std::int64_t i = 0; i < scenes.count(); ++i)
    add(i % 3 == 0 ? made.calibration : made.evaluation, scenes, "coco30", i);
  for (std::int64_t i = 0; i < others.count(); ++i)
    add(made.calibration, others, "imagenet_calibration100", i);
  return made;
}

/// One line of text in two colours with noise, 48 pixels high.
inline ptq::tensor text_line(const std::string& text, draws& random) {
  constexpr std::int64_t height = 48, width = 320;
  constexpr float size = 3.5F;  // stb_easy_font's letters are about 7 pixels high
  std::vector<char> quads(1 << 16);
  std::string line = text;
  const int count =
      stb_easy_font_print(0, 0, line.data(), nullptr, quads.data(), static_cast<int>(quads.size()));
  std::vector<double> paper(3), ink(3);
  for (std::size_t ch = 0; ch < 3; ++ch) {
    paper[ch] = 150 + random.unit() * 105;
    ink[ch] = random.unit() * 100;
  }
  if (random.below(2) == 0) paper.swap(ink);
  const double left = 4 + random.unit() * 8, top = 8 + random.unit() * 8;
  std::vector<bool> inked(static_cast<std::size_t>(height * width));
  for (int q = 0; q < count; ++q) {
    float corner[4][4];  // x, y, z and a colour of each
    std::memcpy(corner, quads.data() + static_cast<std::size_t>(q) * sizeof corner, sizeof corner);
    const auto at = [&](float v, double from) {
      return static_cast<std::int64_t>(from + static_cast<double>(v * size));
    };
    for (auto y = at(corner[0][1], top); y < std::min(at(corner[2][1], top), height); ++y)
      for (auto x = at(corner[0][0], left); x < std::min(at(corner[2][0], left), width); ++x)
        inked[static_cast<std::size_t>(y * width + x)] = true;
  }
  ptq::tensor t(ptq::dtype::f32, {1, 3, height, width});
  auto pixels = t.mutable_view<float>();
  for (std::size_t ch = 0; ch < 3; ++ch)
    for (std::size_t i = 0; i < inked.size(); ++i) {
      const double noise = (random.unit() + random.unit() - 1) * 24;
      const double v = std::clamp((inked[i] ? ink : paper)[ch] + noise, 0.0, 255.0);
      pixels[ch * inked.size() + i] = static_cast<float>((v / 255 - 0.5) / 0.5);
    }
  return t;
}

inline std::string whole_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw ptq::io_error("'" + file.string() + "' can't be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Lines of the text file: its first half calibrates, its second half is evaluated (seeds 41 to 60).
inline inputs text_lines(const context& c) {
  const std::string text = whole_file(c.data("text/tinyshakespeare.txt"));
  constexpr std::int64_t letters = 16;
  inputs made;
  for (std::uint64_t seed = 1; seed <= 180; ++seed) {
    draws random(seed);
    const bool evaluated = seed > 40 && seed <= 60;
    const auto half = static_cast<std::int64_t>(text.size()) / 2;
    const auto at = random.below(half - letters) + (evaluated ? half : 0);
    std::string line = text.substr(static_cast<std::size_t>(at), static_cast<std::size_t>(letters));
    std::replace(line.begin(), line.end(), '\n', ' ');
    (evaluated ? made.evaluation : made.calibration)
        .push_back({"text at " + std::to_string(at) + ", seed " + std::to_string(seed),
                    ptq::sample(text_line(line, random))});
  }
  return made;
}

}  // namespace zoo
