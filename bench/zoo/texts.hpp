#pragma once
// SPDX-License-Identifier: Apache-2.0
// Inputs made of bytes and of tokens.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <ptq/compiled.hpp>
#include <ptq/dispatch.hpp>

#include "inputs.hpp"
#include "pictures.hpp"

namespace zoo {

/// The first and the last 1,024 bytes, without the blanks around; 256 stands for no byte (Magika).
inline ptq::sample file_ends(std::string bytes) {
  constexpr std::size_t part = 1024;
  constexpr std::int32_t nothing = 256;
  const char* const blanks = " \t\n\r\v\f";
  const auto first = bytes.find_first_not_of(blanks);
  bytes = first == std::string::npos
              ? ""
              : bytes.substr(first, bytes.find_last_not_of(blanks) + 1 - first);
  std::vector<std::int32_t> x(2 * part, nothing);
  const std::size_t n = std::min(part, bytes.size());
  for (std::size_t i = 0; i < n; ++i) {
    x[i] = static_cast<unsigned char>(bytes[i]);
    x[2 * part - n + i] = static_cast<unsigned char>(bytes[bytes.size() - n + i]);
  }
  return ptq::sample(ptq::tensor::from<std::int32_t>({1, 2 * part}, x));
}

/// Photographs, networks, tables and pieces of text; every third file or piece is evaluated.
inline inputs files(const context& c) {
  std::vector<named_sample> all;
  std::vector<std::filesystem::path> found;
  for (const auto& e : std::filesystem::recursive_directory_iterator(c.root))
    if (e.is_regular_file()) found.push_back(e.path().lexically_relative(c.root));
  std::sort(found.begin(), found.end());
  int pictures = 0;
  for (const auto& f : found) {
    const std::string kind = f.extension().string();
    const bool picture = kind == ".jpg" || kind == ".jpeg" || kind == ".JPEG" || kind == ".png";
    const bool known = picture || kind == ".onnx" || kind == ".csv" || kind == ".json" ||
                       kind == ".wav" || kind == ".npy" || kind == ".txt";
    if (!known || (picture && ++pictures > 24)) continue;
    all.push_back({f.generic_string(), file_ends(whole_file(c.root / f))});
  }
  const std::string text = whole_file(c.data("text/tinyshakespeare.txt"));
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    draws random(seed);
    const auto size = 200 + random.below(4000);
    const auto at =
        random.below(static_cast<std::int64_t>(text.size()) / 30 - size) +
        static_cast<std::int64_t>(seed - 1) * static_cast<std::int64_t>(text.size()) / 30;
    all.push_back(
        {std::to_string(size) + " bytes of tinyshakespeare.txt at " + std::to_string(at),
         file_ends(text.substr(static_cast<std::size_t>(at), static_cast<std::size_t>(size)))});
  }
  inputs made;
  for (std::size_t i = 0; i < all.size(); ++i)
    (i % 3 == 2 ? made.evaluation : made.calibration).push_back(std::move(all[i]));
  return made;
}

/// Stories that the float network tells: each token drawn with its probability, from a seed.
inline inputs stories(const context& c) {
  constexpr std::int64_t length = 64;
  ptq::runner run(c.network, ptq::dispatched_kernels());
  inputs made;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    draws random(seed);
    std::vector<std::int64_t> tokens(length, 1);
    const auto sample = [&] {
      return ptq::sample(ptq::tensor::from<std::int64_t>({1, length}, tokens));
    };
    // Causal: what stands behind token i does not change its logits.
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto y = run.run(sample()).at(0);
      const auto vocabulary = static_cast<std::size_t>(y.size() / length);
      const auto logits = y.view<float>().subspan(i * vocabulary, vocabulary);
      const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
      double sum = 0;
      for (float v : logits) sum += std::exp(static_cast<double>(v) - top);
      double left = random.unit() * sum;
      std::size_t chosen = 0;
      while (chosen + 1 < vocabulary &&
             (left -= std::exp(static_cast<double>(logits[chosen]) - top)) > 0)
        ++chosen;
      tokens[i + 1] = static_cast<std::int64_t>(chosen);
    }
    (seed > 20 && seed <= 40 ? made.evaluation : made.calibration)
        .push_back({"story of seed " + std::to_string(seed), sample()});
  }
  return made;
}

}  // namespace zoo
