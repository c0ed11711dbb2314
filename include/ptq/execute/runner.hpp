#pragma once
// SPDX-License-Identifier: Apache-2.0
// A graph that runs on samples: lowers for the extents that a sample brings, keeps that program while they stay the
// same and packed weights for ever, and turns a sample's tensors into the program's inputs.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ptq/core/numeric.hpp>
#include <ptq/data/samples.hpp>
#include <ptq/execute/session.hpp>
#include <ptq/graph/graph.hpp>
#include <ptq/kernels/table.hpp>
#include <ptq/lower.hpp>

namespace ptq {

struct runner_options {
  int threads = 1;
  bool keep_values = false;   // every value visible to taps
  bool fast_float = true;
  parallel_for workers = run_workers;
};

namespace detail_runner {

/// Elements converted one by one; integers saturate.
template <class To>
tensor converted(const tensor& t) {
  tensor out(dtype_of<To>, t.dims());
  auto y = out.mutable_view<To>();
  const auto fill = [&](auto x) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = static_cast<To>(x[i]);
  };
  switch (t.type()) {
    case dtype::s64: fill(t.view<std::int64_t>()); break;
    case dtype::s32: fill(t.view<std::int32_t>()); break;
    case dtype::s16: fill(t.view<std::int16_t>()); break;
    case dtype::u16: fill(t.view<std::uint16_t>()); break;
    case dtype::s8: fill(t.view<std::int8_t>()); break;
    case dtype::u8: fill(t.view<std::uint8_t>()); break;
    case dtype::boolean: fill(t.view<bool>()); break;
    case dtype::f32: fill(t.view<float>()); break;
    case dtype::f8e4m3:
    case dtype::f8e5m2: throw data_error("sample: expected integers or f32, got " + std::string(name_of(t.type())));
  }
  return out;
}

/// A sample's tensor as the input's type: integers widen and become reals; reals become no integers.
inline tensor as_type(const std::string& input, dtype to, const tensor& t) {
  if (t.type() == to) return t;
  if (to == dtype::f32) return converted<float>(t);
  if (t.type() != dtype::f32 && to == dtype::s64) return converted<std::int64_t>(t);
  if (t.type() != dtype::f32 && t.type() != dtype::s64 && to == dtype::s32) return converted<std::int32_t>(t);
  throw data_error("sample: input '" + input + "': expected elements of " + name_of(to) + ", got " +
                   name_of(t.type()));
}

}  // namespace detail_runner

/// Runs a graph on samples.
class runner {
 public:
  /// The table must live as long as the runner (the library's tables live for ever).
  runner(graph g, const kernels::kernel_table& table, runner_options options = {})
      : graph_(std::move(g)), table_(&table), options_(std::move(options)) {}

  const graph& network() const { return graph_; }

  /// Outputs for one sample. `tap`, if given, sees every value that the program makes visible.
  /// throws  data_error if the sample lacks an input, has a name that is none, or doesn't fit its extents
  std::vector<tensor> run(const sample& s, const tap_function& tap = {}) {
    auto inputs = bind(s);
    tap_ = &tap;
    auto out = session_->run(inputs);
    tap_ = nullptr;
    return out;
  }

  /// The program for a sample's extents (the current one, if they are those of the sample before).
  const program& program_for(const sample& s) {
    bind(s);
    return *program_;
  }

  /// The current session and program; valid after run, program_for or bind.
  session& current_session() { return *session_; }
  const program& current_program() const { return *program_; }

  /// Lowers for the sample's extents and returns its tensors in the order of the program's inputs.
  std::vector<tensor> bind(const sample& s) {
    std::vector<tensor> inputs;
    lower_options lowering{.input_shapes = {},
                           .keep_values = options_.keep_values,
                           .fast_float = options_.fast_float,
                           .threads = options_.threads,
                           .packed = &packed_};
    for (std::size_t i = 0; i < graph_.inputs.size(); ++i) {
      const auto& v = graph_[graph_.inputs[i]];
      tensor t = detail_runner::as_type(v.name, v.type, operand(s, i, v.name));
      if (v.shaped && t.dims().rank() + 1 == v.dims.rank() && (v.dims[0] == 1 || v.dims[0] < 0)) {
        shape batched = t.dims();
        batched.dims.insert(batched.dims.begin(), 1);
        t = t.reshaped(batched);
      }
      lowering.input_shapes.push_back({v.name, t.dims()});
      inputs.push_back(std::move(t));
    }
    for (const auto& given : s.inputs)
      if (!given.name.empty() && !is_input(given.name))
        throw data_error("sample: '" + given.name + "' is not an input of the model" + known_inputs());
    if (!program_ || lowering.input_shapes != shapes_) {
      shapes_ = lowering.input_shapes;
      session_.reset();
      program_ = std::make_unique<program>(lower(graph_, *table_, lowering));
      session_ = std::make_unique<session>(
          *program_, execute_options{.threads = options_.threads,
                                     .workers = options_.workers,
                                     .tap = [this](const tapped& t) {
                                       if (tap_ && *tap_) (*tap_)(t);
                                     }});
    }
    return inputs;
  }

  runner(const runner&) = delete;
  runner& operator=(const runner&) = delete;

 private:
  bool is_input(const std::string& name) const {
    for (auto id : graph_.inputs)
      if (graph_[id].name == name) return true;
    return false;
  }
  std::string known_inputs() const {
    std::string s = " (inputs:";
    for (auto id : graph_.inputs) s += " '" + graph_[id].name + "'";
    return s + ")";
  }
  const tensor& operand(const sample& s, std::size_t i, const std::string& name) const {
    for (const auto& given : s.inputs)
      if (given.name == name) return given.value;
    if (i < s.inputs.size() && s.inputs[i].name.empty()) return s.inputs[i].value;
    throw data_error("sample: no tensor for input '" + name + "'" + known_inputs());
  }

  graph graph_;
  const kernels::kernel_table* table_;
  runner_options options_;
  std::vector<std::pair<std::string, shape>> shapes_;
  packed_weights packed_;  // new extents pack no weights again
  std::unique_ptr<program> program_;
  std::unique_ptr<session> session_;
  const tap_function* tap_ = nullptr;
};

}  // namespace ptq
