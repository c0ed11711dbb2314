#pragma once
// SPDX-License-Identifier: Apache-2.0
// Inputs made of a spoken sentence: its first half calibrates, its second half is evaluated. States
// of recurrent networks are those that the float network leaves.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <ptq/compiled.hpp>
#include <ptq/data/npy.hpp>
#include <ptq/dispatch.hpp>

#include "inputs.hpp"
#include "pictures.hpp"

namespace zoo {

inline constexpr std::size_t sample_rate = 16000;

/// A mono 16-bit PCM file, in [-1, 1).
inline std::vector<float> read_wave(const std::filesystem::path& file) {
  const std::string bytes = whole_file(file);
  const auto at = bytes.find("data");
  if (!bytes.starts_with("RIFF") || at == std::string::npos || at + 8 > bytes.size())
    throw ptq::data_error("'" + file.string() + "': expected a RIFF file with samples");
  std::vector<float> sound((bytes.size() - at - 8) / 2);
  for (std::size_t i = 0; i < sound.size(); ++i) {
    std::int16_t v = 0;
    std::memcpy(&v, bytes.data() + at + 8 + 2 * i, 2);
    sound[i] = static_cast<float>(v) / 32768.0F;
  }
  return sound;
}

/// Magnitudes of the frequencies 0 … n/2 of n samples.
class spectrum {
 public:
  explicit spectrum(std::size_t n) : cosine_(n), sine_(n) {
    for (std::size_t i = 0; i < n; ++i) {
      const double angle = 2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n);
      cosine_[i] = static_cast<float>(std::cos(angle));
      sine_[i] = static_cast<float>(std::sin(angle));
    }
  }
  std::vector<float> power(std::span<const float> x) const {
    const std::size_t n = cosine_.size();
    std::vector<float> p(n / 2 + 1);
    for (std::size_t f = 0; f < p.size(); ++f) {
      float re = 0, im = 0;
      for (std::size_t i = 0, k = 0; i < n; ++i, k = k + f >= n ? k + f - n : k + f) {
        re += x[i] * cosine_[k];
        im += x[i] * sine_[k];
      }
      p[f] = re * re + im * im;
    }
    return p;
  }

 private:
  std::vector<float> cosine_, sine_;
};

/// Whisper's log-mel picture of up to 30 seconds (Radford et al. 2022; openai/whisper, audio.py).
inline ptq::tensor log_mel(std::vector<float> sound, const ptq::tensor& filters) {
  constexpr std::size_t window = 400, hop = 160, frames = 3000, bins = 80;
  constexpr std::size_t frequencies = window / 2 + 1;
  const std::size_t spoken = std::min(sound.size(), frames * hop);
  sound.resize(frames * hop + window);
  std::vector<float> padded(sound.size() + window / 2);
  for (std::size_t i = 0; i < window / 2; ++i) padded[i] = sound[window / 2 - i];
  std::copy(sound.begin(), sound.end(), padded.begin() + window / 2);
  const spectrum transform(window);
  const auto mel = filters.view<float>();
  ptq::tensor t(ptq::dtype::f32, {1, bins, frames});
  auto y = t.mutable_view<float>();
  float largest = -10;
  for (std::size_t f = 0; f < frames; ++f) {
    std::vector<float> x(window), p(frequencies);
    for (std::size_t i = 0; i < window; ++i)
      x[i] = padded[f * hop + i] *
             static_cast<float>(
                 0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / window));
    if (f * hop < spoken + window) p = transform.power(x);
    for (std::size_t b = 0; b < bins; ++b) {
      float sum = 0;
      for (std::size_t k = 0; k < frequencies; ++k) sum += mel[b * frequencies + k] * p[k];
      const float v = std::log10(std::max(sum, 1e-10F));
      y[b * frames + f] = v;
      largest = std::max(largest, v);
    }
  }
  for (auto& v : y) v = (std::max(v, largest - 8) + 4) / 4;
  return t;
}

inline inputs mel_pictures(const context& c) {
  const auto sound = read_wave(c.data("audio/jfk.wav"));
  const auto filters = ptq::read_npy(c.root / "models/whisper/mel_filters_80x201.npy");
  inputs made;
  // The two halves of the sentence at several loudnesses and starts: the first 16 times, the second 4.
  for (std::size_t half = 0; half < 2; ++half)
    for (std::size_t k = 0; k < (half == 0 ? 16 : 4); ++k) {
      const std::size_t from = half * sound.size() / 2, start = 8000 * (k % 4) + 30000 * (k / 4);
      const float gain = 1.0F / static_cast<float>(1 + k % 4);
      std::vector<float> x(start);
      for (std::size_t i = from; i < from + sound.size() / 2; ++i) x.push_back(gain * sound[i]);
      (half == 0 ? made.calibration : made.evaluation)
          .push_back({std::string(half == 0 ? "first" : "second") + " half of jfk.wav, gain 1/" +
                          std::to_string(1 + k % 4) + ", after " + std::to_string(start) + " samples",
                      ptq::sample(log_mel(x, filters))});
    }
  return made;
}

/// Runs a recurrent network over frames and keeps what it reads.
///
/// frame   the inputs but the states of frame i; states: pairs of input and output name
template <class Frame>
inputs recurrent(const context& c, std::size_t frames, std::size_t every, Frame frame,
                 const std::vector<std::pair<std::string, std::string>>& states) {
  inputs made;
  ptq::runner run(c.network, ptq::dispatched_kernels());
  std::vector<ptq::tensor> state;
  for (std::size_t i = 0; i < frames; ++i) {
    if (i == frames / 2 || i == 0) {
      state.clear();
      for (const auto& s : states) {
        ptq::shape dims = c.network[c.network.find(s.first)].dims;
        for (auto& d : dims.dims) d = d < 0 ? 1 : d;
        state.emplace_back(ptq::dtype::f32, dims);
      }
    }
    ptq::sample s = frame(i);
    for (std::size_t k = 0; k < states.size(); ++k) s.inputs.push_back({states[k].first, state[k]});
    if (i % every == every / 2)
      (i < frames / 2 ? made.calibration : made.evaluation)
          .push_back({"frame " + std::to_string(i), s});
    const auto y = run.run(s);
    for (std::size_t k = 0; k < states.size(); ++k)
      for (std::size_t o = 0; o < y.size(); ++o)
        if (run.current_program().outputs[o].name == states[k].second) state[k] = y[o];
  }
  return made;
}

/// Magnitudes of 512 samples, a step of 128 (DTLN, Westhausen & Meyer 2020).
inline inputs magnitudes(const context& c) {
  const auto sound = read_wave(c.data("audio/jfk.wav"));
  const auto& g = c.network;
  const std::string x = g[g.inputs[0]].name, state = g[g.inputs[1]].name;
  const spectrum transform(512);
  const auto frame = [&](std::size_t i) {
    auto p = transform.power(std::span(sound).subspan(i * 128, 512));
    for (auto& v : p) v = std::sqrt(v);
    return ptq::sample({{x, ptq::tensor::from<float>({1, 1, 257}, p)}});
  };
  return recurrent(c, (sound.size() - 512) / 128, 16, frame, {{state, g[g.outputs[1]].name}});
}

/// 512 samples after 64 of the frame before (silero-vad).
inline inputs voice_frames(const context& c) {
  const auto sound = read_wave(c.data("audio/jfk.wav"));
  const auto frame = [&](std::size_t i) {
    std::vector<float> x(576);
    for (std::size_t k = 0; k < x.size(); ++k)
      if (i * 512 + k >= 64) x[k] = sound[i * 512 + k - 64];
    return ptq::sample({{"input", ptq::tensor::from<float>({1, 576}, x)},
                        {"sr", ptq::tensor::scalar<std::int64_t>(sample_rate)}});
  };
  return recurrent(c, sound.size() / 512 - 1, 4, frame, {{"state", "stateN"}});
}

}  // namespace zoo
