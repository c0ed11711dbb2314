// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include <ptq/configure.hpp>
#include <ptq/quantize/settings.hpp>

namespace {

using namespace ptq;

std::string failure(std::string_view text) {
  try {
    read_configuration(text);
  } catch (const data_error& e) {
    return e.what();
  }
  return "";
}

/// A file around one set of parameters.
std::string with_params(const std::string& params) {
  return R"({"compression": {"algorithms": [{"name": "DefaultQuantization", "params": {)" + params +
         "}}]}}";
}

}  // namespace

TEST_CASE("a configuration file of POT works as it is, comments included") {
  const auto c = read_configuration(R"({
    /* Model parameters */
    "model": {
      "model_name": "mobilenet",  // name of the model
      "model": "mobilenet.onnx",
      "weights": "mobilenet.bin"
    },
    "engine": {"type": "simplified", "data_source": "./photos"},
    "compression": {
      "target_device": "CPU",
      "model_type": "Transformer",
      "dump_intermediate_model": true,
      "algorithms": [{
        "name": "DefaultQuantization",
        "params": {
          "preset": "performance", "stat_subset_size": 128, "shuffle_data": true, "seed": 7,
          "ignored": {"scope": ["conv1", "fc"], "operations": [{"type": "Convolution"}, {"type": "MatMul"}]},
          "weights": {"bits": 8, "mode": "symmetric", "granularity": "perchannel"},
          "activations": {"bits": 8, "mode": "asymmetric", "granularity": "pertensor",
                          "range_estimator": {"min": {"type": "quantile", "outlier_prob": 1e-3},
                                              "max": {"type": "quantile", "outlier_prob": 1e-3}}},
          "use_fast_bias": true, "inplace_statistics": true
        }
      }]
    }
  })");
  CHECK(c.model_name == "mobilenet");
  CHECK(c.model == "mobilenet.onnx");
  CHECK(c.data_source == "./photos");
  CHECK(c.shuffle);
  CHECK(c.seed == 7);
  const auto& o = c.options;
  CHECK(o.target == target_device::cpu);
  CHECK(o.model_type == model_type::transformer);
  CHECK(o.subset_size == 128);
  CHECK(o.preset == preset::performance);
  CHECK(o.activations.mode == code_mode::asymmetric);  // counts more
  CHECK(o.weights.mode == code_mode::symmetric);
  CHECK(o.weights.scales == granularity::per_channel);
  CHECK(o.activations.estimator == range_estimator::percentile);
  CHECK(o.activations.percentile_tail == 1e-3);
  CHECK(o.ignored.names == std::vector<std::string>{"conv1", "fc"});
  CHECK(o.ignored.types == std::vector<std::string>{"Conv", "MatMul"});
  REQUIRE(c.warnings.size() == 3);
  CHECK(c.warnings[0] == "config: model.weights: an ONNX model holds its weights");
  CHECK(c.warnings[2].starts_with("config: compression.algorithms[0].params.inplace_statistics: "));
}

TEST_CASE("a transformer is mixed unless the file names a preset") {
  CHECK(read_configuration(R"({"compression": {"model_type": "transformer"}})").options.preset ==
        preset::mixed);
  CHECK(read_configuration(with_params(R"("model_type": "transformer", "preset": "symmetric")"))
            .options.preset == preset::performance);
}

TEST_CASE("what the file asks for and can't be done is an error with its path") {
  CHECK(failure("{") != "");
  CHECK(failure(R"({"compresion": {}})") ==
        "config: compresion: unknown key; known: model, engine, compression, optimizer");
  CHECK(
      failure(R"({"optimizer": {"name": "Tpe"}})").starts_with("config: optimizer: expected none"));
  CHECK(failure(R"({"model": {"cascade": []}})")
            .starts_with("config: model.cascade: expected one model"));
  const std::string params = "config: compression.algorithms[0].params.";
  CHECK(failure(with_params(R"("preset": "fast")")) ==
        params +
            "preset: expected one of performance, symmetric, mixed, accuracy, asymmetric, got "
            "'fast'");
  CHECK(failure(with_params(R"("stat_subset_size": 0)")) ==
        params + "stat_subset_size: expected an integer of at least 1, got 0");
  CHECK(failure(with_params(R"("use_layerwise_tuning": true)")) ==
        params +
            "use_layerwise_tuning: expected false (there is no gradient-based tuning of scales), "
            "got true");
  CHECK(failure(with_params(R"("activations": {"bits": 4})"))
            .starts_with(params + "activations.bits: "));
  CHECK(failure(with_params(R"("weights": {"bits": 9})")).starts_with(params + "weights.bits: "));
  CHECK(failure(with_params(R"("weights": {"level_low": -3})")) ==
        params + "weights.level_low: expected -127 (the lowest code), got -3");
  CHECK(failure(with_params(
            R"("ignored": {"operations": [{"type": "Add", "attributes": {"axis": 1}}]})")) != "");
  CHECK(failure(R"({"compression": {"algorithms": [{"name": "Ranger"}]}})") ==
        "config: compression.algorithms[0].name: expected DefaultQuantization or "
        "MinMaxQuantization, got 'Ranger'");
  CHECK(failure(R"({"compression": {"target_device": "TPU"}})") != "");
  CHECK(
      failure(
          with_params(
              R"("activations": {"range_estimator": {"min": {"type": "min", "outlier_prob": "x"}, "max": {}}})"))
          .ends_with("outlier_prob: expected a number, got \"x\""));
}

TEST_CASE("POT's explicit form of a range estimator is taken side by side") {
  const auto c = read_configuration(with_params(
      R"("activations": {"range_estimator": {
        "min": {"type": "quantile", "aggregator": "hl_estimator", "outlier_prob": 1e-3},
        "max": {"type": "abs_max", "aggregator": "median", "clipping_value": 6}}})"));
  const auto& a = c.options.activations;
  CHECK(a.estimator == range_estimator::custom);
  CHECK(a.min.statistic == range_statistic::quantile);
  CHECK(a.min.aggregator == range_aggregator::hl_estimator);
  CHECK(a.min.outlier_prob == 1e-3);
  CHECK(a.max.statistic == range_statistic::abs_max);
  CHECK(a.max.aggregator == range_aggregator::median);
  CHECK(a.max.clipping_value == 6);
  const auto again = read_configuration(configuration_text(c.options)).options.activations;
  CHECK(again.min == a.min);
  CHECK(again.max == a.max);
}

TEST_CASE("options as text are the same options again") {
  quantize_options o;
  o.preset = preset::mixed;
  o.target = target_device::cpu;
  o.subset_size = 17;
  o.activations = {};
  o.activations.estimator = range_estimator::percentile;
  o.activations.percentile_tail = 0.25;
  o.activations.bits = 16;
  o.weights.fix = overflow_fix::automatic;
  o.weights = {};
  o.weights.bits = 4;
  o.weights.mode = code_mode::asymmetric;
  o.weights.scales = granularity::per_tensor;
  o.weights.narrow_range = false;
  o.correction = bias_correction::none;
  o.float_squeeze_excite = o.quantize_outputs = true;
  o.model_type = model_type::transformer;
  o.threads = 2;
  o.mode = quantize_mode::fp8_e5m2;
  o.activations.mode = code_mode::asymmetric;
  o.activations.sign = signedness::unsigned_codes;
  o.effort = {.level = effort::best,
              .fixed_preset = true,
              .fixed_correction = true,
              .fixed_placement = true,
              .tune = true,
              .float_macs = 0.05,
              .enough_db = 30,
              .wide_macs = 0.3,
              .cache_mb = 64};
  o.ignored = {.names = {"a"},
               .patterns = {"b.*"},
               .types = {"Conv"},
               .subgraphs = {{{"c"}, {"d", "e"}}},
               .validate = false};
  const auto text = configuration_text(o);
  const auto again = read_configuration(text);
  CHECK(configuration_text(again.options) == text);
  CHECK(again.warnings.empty());
  CHECK(settings_of(again.options) == settings_of(o));
  CHECK(again.options.weights.bits == 4);
  CHECK(again.options.mode == o.mode);
  CHECK(again.options.activations.mode == o.activations.mode);
  CHECK(again.options.activations.sign == o.activations.sign);
  CHECK(again.names_effort);
  CHECK(again.options.effort.level == effort::best);
  CHECK(again.options.effort.fixed_preset);
  CHECK_FALSE(again.options.effort.fixed_estimator);
  CHECK(again.options.effort.fixed_correction);
  CHECK(again.options.effort.fixed_placement);
  CHECK(again.options.effort.tune);
  CHECK(again.options.effort.float_macs == 0.05);
  CHECK(again.options.effort.enough_db == 30);
  CHECK(again.options.effort.wide_macs == 0.3);
  CHECK(again.options.effort.cache_mb == 64);
  CHECK(again.options.ignored.subgraphs.size() == 1);
  CHECK_FALSE(again.options.ignored.validate);
  CHECK(configuration_text(read_configuration(configuration_text({})).options) ==
        configuration_text({}));
}

TEST_CASE("effort and its limits have keys of their own, and what is none of them is an error") {
  const auto c = read_configuration(with_params(R"("effort": "Balanced", "fixed": ["range_estimator"])"));
  CHECK(c.options.effort.level == effort::balanced);
  CHECK(c.options.effort.fixed_estimator);
  CHECK_FALSE(read_configuration(with_params("")).names_effort);
  const std::string params = "config: compression.algorithms[0].params.";
  CHECK(failure(with_params(R"("effort": "most")")) ==
        params + "effort: expected one of fast, balanced, best, got 'most'");
  CHECK(failure(with_params(R"("float_macs": 5)")) ==
        params + "float_macs: expected a share of the products, 0 to 1, got 5");
  CHECK(failure(with_params(R"("wide_macs": 30)")) ==
        params + "wide_macs: expected a share of the products, 0 to 1, got 30");
  CHECK(failure(with_params(R"("fixed": ["weights"])")) ==
        params + "fixed: expected preset, range_estimator, bias_correction or placement, got 'weights'");
  CHECK(failure(with_params(R"("mode": "fp4")")).starts_with(params + "mode: expected one of int8"));
  CHECK(failure(with_params(R"("activations": {"signedness": "maybe"})"))
            .starts_with(params + "activations.signedness: "));
}

TEST_CASE("every option that changes the result stands in the model's metadata") {
  const auto plain = settings_of({});
  const auto changed = [&](auto change) {
    quantize_options o;
    change(o);
    return settings_of(o) != plain;
  };
  using options = quantize_options;
  CHECK(changed([](options& o) { o.mode = quantize_mode::fp8_e4m3; }));
  CHECK(changed([](options& o) { o.activations.mode = code_mode::symmetric; }));
  CHECK(changed([](options& o) { o.activations.sign = signedness::signed_codes; }));
  CHECK(changed([](options& o) { o.activations.bits = 16; }));
  CHECK(changed([](options& o) { o.weights.fix = overflow_fix::all; }));
  CHECK(changed([](options& o) { o.effort.tune = true; }));
  CHECK(changed([](options& o) { o.effort.float_macs = 0.1; }));
  CHECK(changed([](options& o) { o.effort.wide_macs = 0.1; }));
  CHECK(changed([](options& o) { o.effort.fixed_preset = true; }));
  CHECK(changed([](options& o) { o.effort.fixed_placement = true; }));
  CHECK(changed([](options& o) { o.effort.enough_db = 30; }));
  quantize_options a, b;
  a.activations.estimator = b.activations.estimator = range_estimator::percentile;
  b.activations.percentile_tail = 1e-3;
  CHECK(settings_of(a) != settings_of(b));
  a.activations.estimator = b.activations.estimator = range_estimator::mean_quantile;
  b.activations.outlier_prob = 1e-3;
  CHECK(settings_of(a) != settings_of(b));
  a.activations.estimator = b.activations.estimator = range_estimator::custom;
  b.activations.max.clipping_value = 6;
  CHECK(settings_of(a) != settings_of(b));
  a.activations.max.clipping_value = 6;
  a.activations.min.statistic = b.activations.min.statistic = range_statistic::quantile;
  b.activations.min.outlier_prob = 0.25;
  CHECK(settings_of(a) != settings_of(b));
  a = b = {};
  a.effort.float_macs = b.effort.float_macs = 0.05;
  b.effort.enough_db = 30;
  CHECK(settings_of(a) != settings_of(b));
}

TEST_CASE("a model's metadata says version and settings, those of the last run alone") {
  graph g;
  g.metadata = {{"author", "somebody"}, {"ptq.version", "0"}, {"ptq.old", "x"}};
  record_settings(g, {.preset = preset::mixed, .ignored = {.names = {"a", "b"}}});
  std::string text;
  for (const auto& e : g.metadata) text += e.key + "=" + e.text + ";";
  CHECK(text == std::string("author=somebody;ptq.version=") + version +
                    ";ptq.preset=mixed;ptq.target_device=any;ptq.range_estimator=mean_minmax;"
                    "ptq.effort=fast;ptq.bias_correction=fast;ptq.subset_size=300;ptq.ignored_names=a b;");
}
