// SPDX-License-Identifier: Apache-2.0
// The `ptq` command: the library's stages from the shell. This file reads the arguments; the
// commands are in the files of their names.
// Exit codes: 0 done, 1 the model, the data or a file is at fault, 2 the command line is, 3 a bound
// on accuracy or time could not be met, and the best model found was written.

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <string>

#include <CLI/CLI.hpp>

#include <ptq/core/error.hpp>
#include <ptq/core/version.hpp>

#include "options.hpp"

namespace {

using CLI::App;

void add_common(App& c, cli::common_arguments& a) {
  c.add_option("--threads", a.threads, "Threads (default 1)")->check(CLI::Range(1, 4096));
  c.add_option("--json", a.json,
               "Write the result as JSON; '-': to standard output, and all text to standard error")
      ->type_name("FILE");
  c.add_flag("--quiet", a.quiet, "No progress bars");
}

void add_samples(App& c, cli::sample_arguments& a) {
  const std::string subset =
      a.subset_size > 0 ? " (default " + std::to_string(a.subset_size) + ")" : " (default: all)";
  const auto group = [&](CLI::Option* o) { return o->group("Samples"); };
  group(c.add_option("--subset-size", a.subset_size, "First N samples" + subset))
      ->check(CLI::PositiveNumber);
  group(c.add_flag("--shuffle", a.shuffle, "Take the samples in an order drawn from --seed"));
  group(c.add_option("--seed", a.seed, "Of --shuffle (default 0)"));
  group(c.add_option("--resize", a.resize, "Shorter side to N pixels; without --crop, both sides"))
      ->check(CLI::PositiveNumber);
  group(c.add_option("--crop", a.crop, "Square of N pixels from the centre"))
      ->check(CLI::PositiveNumber);
  group(c.add_option("--channels", a.channels, "rgb (default), bgr or gray"))
      ->check(CLI::IsMember({"rgb", "bgr", "gray"}));
  group(c.add_option("--scale", a.scale, "Input = (x * scale - mean) / std, x as stored (0..255)"));
  group(c.add_option("--mean", a.mean, "One value, or A,B,C"))->delimiter(',')->expected(1, 4096);
  group(c.add_option("--std", a.std, "One value, or A,B,C"))->delimiter(',')->expected(1, 4096);
  group(c.add_option("--layout", a.layout, "Of the model's input: nchw (default) or nhwc"))
      ->check(CLI::IsMember({"nchw", "nhwc"}));
  group(c.add_option("--label-offset", a.label_offset, "Added to every label (default 0)"));
  group(c.add_option("--record-dtype", a.record_dtype,
                     "The data are raw records of this type: uint8, int8, int16, ..., float32"));
  group(c.add_option("--record-shape", a.record_shape, "Of one record, e.g. 3,32,32"))
      ->delimiter(',')
      ->expected(1, 32);
  group(c.add_option("--record-label-bytes", a.record_label_bytes, "In front of each record"));
}

const char* const data_help =
    "Folder of JPEG/PNG or .npz, .npy (first axis = sample), NAME=x.npy for each input, .npz, IDX "
    "(also .gz), CIFAR-10 .bin, or raw records (--record-dtype)";
const char* const labels_help =
    "CSV `file,class`, .npy, IDX, one byte per sample; the samples' own path for class folders and "
    "CIFAR-10";

void add_data(App& c, std::vector<std::string>& data) {
  c.add_option("--data", data, data_help)
      ->required()
      ->type_name("SAMPLES")
      ->expected(1)
      ->take_all();
}

void add_model(App& c, std::string& model, const char* name = "MODEL") {
  c.add_option(name, model, "ONNX file, float or Q/DQ")->required();
}

void add_runnable(App& c, std::string& model) {
  c.add_option("MODEL", model, "ONNX file, float or Q/DQ, or what `ptq prepare` wrote")->required();
}

void add_ranges(App& c, cli::quantize_arguments& a) {
  c.add_option("--range-estimator", a.estimator,
               "mean_minmax (default), minmax, median_minmax, mean_no_outliers_minmax, "
               "mean_quantile, histogram, percentile, mse, entropy, or automatic: the best of them "
               "for each value");
  const auto side = [&](const char* name, std::vector<std::string>& parts, const char* help) {
    c.add_option(name, parts, help)->delimiter(',')->expected(2)->type_name("STATISTIC,AGGREGATOR");
  };
  side("--range-min", a.range_min,
       "Lower bounds by hand: min, max, abs_max, quantile, abs_quantile, mean or raw of each "
       "sample; mean, max, min, median, mean_no_outliers, median_no_outliers, histogram or "
       "hl_estimator over samples");
  side("--range-max", a.range_max, "Upper bounds likewise");
  c.add_option("--clipping-value", a.clipping_value, "Largest magnitude of bounds by hand")
      ->check(CLI::PositiveNumber);
  c.add_option("--outlier-prob", a.outlier_prob, "Share that quantiles cut off (default 1e-4)");
  c.add_option("--percentile-tail", a.percentile_tail,
               "Share that percentile cuts off at each side (default 1e-4)");
  c.add_option("--save-calibration", a.save_calibration,
               "Where to keep what calibration sees, for other settings later; written every "
               "--checkpoint-every samples, and gone on with if it is there")
      ->type_name("FILE");
  c.add_option("--calibration", a.calibration, "Use such a file instead of running the samples")
      ->type_name("FILE");
  c.add_option("--checkpoint-every", a.checkpoint_every, "Samples (default 50)")
      ->check(CLI::PositiveNumber);
}

void add_control(App& c, cli::quantize_arguments& a) {
  const auto group = [&](CLI::Option* o) { return o->group("Accuracy control"); };
  group(c.add_option("--max-drop", a.max_drops,
                     "Give layers back to float until the score drops by at most this (0.01: one "
                     "point); with several metrics one for all, or one each"))
      ->delimiter(',')
      ->type_name("D[,D...]")
      ->check(CLI::Range(0.0, 1.0));
  group(c.add_option("--drop-type", a.drop_type, "absolute (default) or relative to float's score"))
      ->check(CLI::IsMember({"absolute", "relative"}));
  group(c.add_option("--metric", a.metrics,
                     "top1 (default), top5, token_accuracy, f1, mean_iou, word_error_rate or map; "
                     "all but the first two take --labels as .npy, one row per sample. Several: all "
                     "bounds have to hold"))
      ->delimiter(',')
      ->type_name("M[,M...]")
      ->check(CLI::IsMember(
          {"top1", "top5", "token_accuracy", "f1", "mean_iou", "word_error_rate", "map"}));
  group(c.add_option("--ranking-subset-size", a.ranking_subset_size,
                     "Samples that groups are compared on (default 32)"))
      ->check(CLI::PositiveNumber);
  group(c.add_option("--max-iterations", a.max_iterations, "Validations on all samples (default 12)"))
      ->check(CLI::PositiveNumber);
  group(c.add_option("--max-latency", a.max_latency, "At most so many milliseconds, measured"))
      ->type_name("MS")
      ->check(CLI::PositiveNumber);
  group(c.add_option("--min-speedup", a.min_speedup, "At least so many times faster than float"))
      ->type_name("S")
      ->check(CLI::PositiveNumber);
  group(c.add_option("--max-float-macs", a.max_float_macs,
                     "At most this share of the multiply-accumulates in float; without a bound on accuracy or time, what balanced may leave there (0)"))
      ->type_name("PERCENT")
      ->check(CLI::Range(0.0, 100.0));
  group(c.add_option("--max-wide-macs", a.max_wide_macs,
                     "Layers whose inputs cost most may read 16-bit codes, with this share of the multiply-accumulates at most (0)"))
      ->type_name("PERCENT")
      ->check(CLI::Range(0.0, 100.0));
  c.add_flag("--keep-faster-float")
      ->description("Measure every layer both ways, here, and leave in float what INT8 makes no faster");
  group(c.add_flag("--annotation-free", a.annotation_free,
                   "The float model's own answers are the labels"));
  group(c.add_flag("--no-tune-hyperparams", a.no_tune,
                   "Don't try presets and range estimators where the model misses the bound as it is "
                   "(effort fast)"))
      ->excludes("--tune-hyperparams");
  group(c.add_option("--restore", a.restore,
                     "What a layer gets back: activations_and_weights (default), or activations: its "
                     "weights stay rounded to INT8, and the file small"))
      ->check(CLI::IsMember({"activations_and_weights", "activations"}));
  group(c.add_option("--front", a.front,
                     "Write models of the accuracy/latency front there, with front.json"))
      ->type_name("DIR");
  group(c.add_option("--front-points", a.front_points,
                     "Models of it to validate beside those of the search (default 8)"))
      ->check(CLI::PositiveNumber);
  group(c.add_option("--costs", a.costs,
                     "Microseconds per layer: read if the file is there, else measured and written"))
      ->type_name("FILE");
  group(c.add_option("--journal", a.journal,
                     "Where a search that is interrupted goes on; of one search only"))
      ->type_name("FILE");
}

App& add_quantize(App& app, cli::quantize_arguments& a) {
  auto& c = *app.add_subcommand("quantize", "Float ONNX model and samples -> INT8 ONNX model");
  add_model(c, a.model);
  c.get_option("MODEL")->required(false);  // --config may name it
  c.add_option("-o,--output", a.out, "The INT8 model (.onnx)")->required()->type_name("OUT");
  add_data(c, a.data);
  c.get_option("--data")->required(false);
  c.add_flag("--data-free", a.data_free,
             "No samples: ranges from batch-norms, and synthetic pictures (preprocessed as given "
             "below) for the rest")
      ->excludes("--data");
  c.add_option("--config", a.config,
               "Options as JSON in the schema of OpenVINO's POT; those given here count more")
      ->type_name("FILE")
      ->check(CLI::ExistingFile);
  c.add_option("--labels", a.labels,
               std::string("Classes of the samples (of --validation, if given); the accuracy of "
                           "both models is then reported. ") +
                   labels_help)
      ->type_name("LABELS");
  c.add_option("--validation", a.validation, "Samples to evaluate on, instead of --data")
      ->type_name("SAMPLES")
      ->expected(1)
      ->take_all();
  c.add_option("--mode", a.mode,
               "int8 (default), fp8_e4m3 or fp8_e5m2: simulated in float, exported as FP8")
      ->check(CLI::IsMember({"int8", "fp8_e4m3", "fp8_e5m2"}));
  c.add_option("--effort", a.effort,
               "fast: what is chosen, as it is; balanced (default): also steps that lower the error "
               "on samples held back; best: also the rounding of weights. What is chosen by an "
               "option of its own stays")
      ->check(CLI::IsMember({"fast", "balanced", "best"}));
  c.add_flag("--tune-hyperparams", a.tune,
             "With --effort fast too, try presets and range estimators on samples held back; with a "
             "bound on accuracy that is done anyway where it is missed");
  c.add_option("--cache-mb", a.cache_mb,
               "Memory for samples and activations (default 512); a temporary file beyond")
      ->check(CLI::Range(0, 1 << 20));
  c.add_option("--preset", a.preset,
               "performance (default): symmetric activations; mixed: asymmetric ones; accuracy")
      ->check(CLI::IsMember({"performance", "mixed", "accuracy"}));
  c.add_option("--target-device", a.target, "any (default), cpu, gpu, npu, vpu or gna (16-bit activations)")
      ->check(CLI::IsMember({"any", "cpu", "gpu", "npu", "vpu", "gna"}));
  c.add_option("--activation-mode", a.activation_mode,
               "symmetric or asymmetric, whatever the preset says")
      ->check(CLI::IsMember({"symmetric", "asymmetric"}));
  c.add_option(
       "--activation-signedness", a.signedness,
       "signed or unsigned; by default symmetric codes are signed where a number is negative")
      ->check(CLI::IsMember({"signed", "unsigned"}));
  c.add_option("--overflow-fix", a.overflow_fix,
               "Smaller weights for runtimes on x86 without VNNI: none (default; our kernels need "
               "none), first_layer, all, or automatic: just where a sum could saturate")
      ->check(CLI::IsMember({"none", "first_layer", "all", "automatic"}));
  add_ranges(c, a);
  c.add_option("--weight-bits", a.weight_bits, "2 to 8 (default), or 16")
      ->check(CLI::Range(2, 16));
  c.add_option("--activation-bits", a.activation_bits, "8 (default) or 16: slower, more exact")
      ->check(CLI::IsMember({8, 16}));
  c.add_option("--weight-mode", a.weight_mode,
               "symmetric (default), or asymmetric; 8 bits then take the slower 16-bit kernels")
      ->check(CLI::IsMember({"symmetric", "asymmetric"}));
  c.add_option("--weight-granularity", a.weight_scales, "per_channel (default) or per_tensor")
      ->check(CLI::IsMember({"per_channel", "per_tensor"}));
  c.add_flag("--weight-full-range", a.weight_full_range,
             "Use the lowest code too: -128 with 8 bits, which has no positive counterpart");
  c.add_option("--bias-correction", a.correction, "none, fast or sequential")
      ->check(CLI::IsMember({"none", "fast", "sequential"}));
  c.add_option("--model-type", a.model_type,
               "transformer: sums and the product of attention with its values stay in float")
      ->check(CLI::IsMember({"transformer"}));
  c.add_flag("--quantize-outputs", a.quantize_outputs, "Round the model's outputs too");
  c.add_flag("--round-before-functions", a.round_before_functions,
             "Round what a layer sums up before the LeakyRelu or HardSwish behind it too, for runtimes that take only "
             "convolutions with a rounded result for integer ones (ONNX Runtime)");
  c.add_option("--ignore", a.ignored_names,
               "Nodes that stay in float, by name or by address (see inspect --addresses)")
      ->type_name("NAME")
      ->take_all();
  c.add_option("--ignore-pattern", a.ignored_patterns, "Regular expressions of their names")
      ->type_name("REGEX")
      ->take_all();
  c.add_option("--ignore-type", a.ignored_types, "Operators that stay in float, e.g. Softmax")
      ->type_name("TYPE")
      ->take_all();
  c.add_option("--ignore-subgraph", a.ignored_subgraphs,
               "All nodes on a way from A or B to C or D, by name or address")
      ->type_name("A,B=>C,D")
      ->take_all();
  c.add_option("--report-samples", a.report_samples,
               "Samples for the error of each layer (default 32; 0: none)")
      ->check(CLI::NonNegativeNumber);
  c.add_option("--repeats", a.latency_repeats, "Of the latency measurement (default 20; 0: none)")
      ->check(CLI::NonNegativeNumber);
  c.add_flag("--brief", a.brief,
             "Print one line, separated by tabs: model, top-1 float and int8, bytes float and "
             "int8, ms float and int8");
  add_control(c, a);
  add_common(c, a);
  add_samples(c, a.samples);
  c.footer(
      "Examples:\n"
      "  ptq quantize resnet.onnx -o resnet.int8.onnx --data photos/ --resize 256 --crop 224 \\\n"
      "      --scale 0.00392157 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225\n"
      "  ptq quantize bert.onnx -o bert.int8.onnx --data ids=ids.npy --data mask=mask.npy\n"
      "  ptq quantize cnn.onnx -o cnn.int8.onnx --data train.npy --validation test.npy \\\n"
      "      --labels test_labels.npy --json report.json");
  return c;
}

App& add_evaluate(App& app, cli::evaluate_arguments& a) {
  auto& c = *app.add_subcommand("evaluate", "Top-1 and top-5 accuracy of a classifier");
  add_model(c, a.model);
  add_data(c, a.data);
  c.add_option("--labels", a.labels, labels_help)->required()->type_name("LABELS");
  add_common(c, a);
  add_samples(c, a.samples);
  c.footer(
      "Example:\n  ptq evaluate cnn.int8.onnx --data test.npy --labels test_labels.npy --json -");
  return c;
}

App& add_compare(App& app, cli::compare_arguments& a) {
  auto& c = *app.add_subcommand("compare", "Agreement and SQNR of two models, layer by layer");
  add_model(c, a.reference, "FLOAT");
  add_model(c, a.other, "INT8");
  add_data(c, a.data);
  add_common(c, a);
  add_samples(c, a.samples);
  c.add_flag("--attribute", a.attribute,
             "Also which rounding of which layer costs what (weights, bias, clipping, rounding, each "
             "alone), and the option that takes it away; three inferences of every sample for each layer");
  c.footer("Example:\n  ptq compare cnn.onnx cnn.int8.onnx --data test.npy --subset-size 64 --attribute");
  return c;
}

App& add_run(App& app, cli::run_arguments& a) {
  auto& c = *app.add_subcommand("run", "One inference on .npy files");
  add_runnable(c, a.model);
  c.add_option("--input", a.inputs, "A whole input tensor; without a name, by position")
      ->required()
      ->type_name("[NAME=]X.npy")
      ->expected(1)
      ->take_all();
  c.add_option("--output", a.outputs, "Where an output goes; without a name, by position")
      ->required()
      ->type_name("[NAME=]Y.npy")
      ->expected(1)
      ->take_all();
  add_common(c, a);
  c.footer(
      "Example:\n  ptq run bert.onnx --input ids=ids.npy --input mask=mask.npy --output y.npy");
  return c;
}

App& add_benchmark(App& app, cli::benchmark_arguments& a) {
  auto& c = *app.add_subcommand("benchmark", "Latency at batch 1 on random inputs");
  add_runnable(c, a.model);
  c.add_option("--repeats", a.repeats, "Timed runs (default 20)")->check(CLI::PositiveNumber);
  c.add_option("--warm-up", a.warm_up, "Runs before them (default 3)")
      ->check(CLI::NonNegativeNumber);
  c.add_option("--dim", a.dims, "Extent of a free dimension (default 1)")
      ->type_name("NAME=V")
      ->take_all();
  c.add_option("--seed", a.seed, "Of the inputs (default 0)");
  c.add_flag("--per-layer", a.per_layer,
             "Print every step: time, GOP/s, share of the machine's peak, kernel, why it stayed float");
  c.add_option("--against", a.against, "Float model: also name the INT8 steps that are slower than its own")
      ->type_name("MODEL");
  c.add_option("--trace", a.trace, "Write the steps as a Chrome trace (chrome://tracing, Perfetto)")
      ->type_name("FILE");
  add_common(c, a);
  c.footer("Example:\n  ptq benchmark cnn.int8.onnx --threads 1 --repeats 100 --per-layer");
  return c;
}

App& add_prepare(App& app, cli::prepare_arguments& a) {
  auto& c = *app.add_subcommand("prepare", "Model -> program that starts at once, for this CPU and version");
  add_model(c, a.model);
  c.add_option("-o,--output", a.out, "The program")->required()->type_name("FILE");
  c.add_option("--dim", a.dims, "Extent of a free dimension (default 1)")
      ->type_name("NAME=V")
      ->take_all();
  add_common(c, a);
  c.footer("Example:\n  ptq prepare cnn.int8.onnx -o cnn.ptq && ptq benchmark cnn.ptq");
  return c;
}

App& add_inspect(App& app, cli::inspect_arguments& a) {
  auto& c = *app.add_subcommand("inspect", "What a model holds, and how it would run here");
  c.add_option("MODEL", a.model, "ONNX file, float or Q/DQ");
  c.add_flag("--addresses", a.addresses,
             "An address of every node: a name for --ignore that converters can't change");
  c.add_flag("--cpu", a.cpu, "The kernels built in, those this CPU runs, and the choice");
  c.add_option("--dim", a.dims, "Extent of a free dimension (default 1)")
      ->type_name("NAME=V")
      ->take_all();
  add_common(c, a);
  c.footer("Examples:\n  ptq inspect cnn.onnx\n  ptq inspect --cpu");
  return c;
}

using calibration_command = void (*)(const cli::calibration_arguments&);

/// merge, diff and show of files that `quantize --save-calibration` writes; each sets `chosen`.
void add_calibration(App& app, cli::calibration_arguments& a, calibration_command& chosen) {
  auto& c = *app.add_subcommand("calibration", "Files of quantize --save-calibration");
  c.require_subcommand(1);
  const auto add = [&](const char* name, const char* help, calibration_command f) -> App& {
    auto& s = *c.add_subcommand(name, help);
    add_common(s, a);
    s.callback([&chosen, f] { chosen = f; });
    return s;
  };
  auto& merge = add("merge", "Several files of one model -> one", cli::calibration_merge);
  merge.add_option("FILES", a.files, "At least two")->required()->expected(2, 10000);
  merge.add_option("-o,--output", a.out, "The merged file")->required()->type_name("FILE");
  auto& diff = add("diff", "Ranges that differ between two files", cli::calibration_diff);
  diff.add_option("FILES", a.files, "Two")->required()->expected(2);
  diff.add_option("--range-estimator", a.estimator, "Whose ranges (default mean_minmax)");
  auto& show = add("show", "What a file holds, and whether more samples would move its ranges",
                   cli::calibration_show);
  show.add_option("FILE", a.files, "One")->required()->expected(1);
  c.footer(
      "Examples:\n"
      "  ptq calibration merge monday.cal tuesday.cal -o both.cal\n"
      "  ptq quantize cnn.onnx -o cnn.int8.onnx --data train.npy --calibration both.cal");
}

/// One line, whatever a hostile file put into its names.
std::string one_line(std::string s) {
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return s;
}

int failed(const std::string& why) {
  std::fflush(stdout);
  if (isatty(STDERR_FILENO) != 0) std::fputs("\r\033[K", stderr);  // a bar that was cut short
  std::fprintf(stderr, "ptq: error: %s\n", one_line(why).c_str());
  return 1;
}

/// The command's exit code.
int guarded(const std::function<int()>& command) {
  try {
    const int code = command();
    if (std::fflush(stdout) != 0) return failed("standard output can't be written");
    return code;
  } catch (const std::bad_alloc&) {
    return failed("out of memory");
  } catch (const std::exception& e) {
    return failed(e.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  App app("Quantizes trained networks to INT8 and runs them.", "ptq");
  app.set_version_flag("--version", std::string("ptq ") + ptq::version);
  app.require_subcommand(1);
  app.footer("`ptq COMMAND --help` explains each. Exit codes: 0 done, 1 error, 2 wrong usage,\n3 bound not met.");

  cli::quantize_arguments quantize;
  cli::evaluate_arguments evaluate;
  cli::compare_arguments compare;
  cli::run_arguments run;
  cli::benchmark_arguments benchmark;
  cli::prepare_arguments prepare;
  cli::inspect_arguments inspect;
  cli::calibration_arguments calibration;
  calibration_command calibrate = nullptr;
  std::function<int()> command;
  auto& quantizes = add_quantize(app, quantize);
  quantizes.callback([&] {
    for (const auto* o : quantizes.get_options())
      if (o->count() > 0) quantize.given.insert(o->get_name());
    const bool configured = !quantize.config.empty();
    if (quantize.model.empty() && !configured) throw CLI::RequiredError("MODEL");
    if (quantize.data.empty() && !configured && !quantize.data_free)
      throw CLI::RequiredError("--data");
    command = [&] { return cli::quantize(quantize); };
  });
  add_evaluate(app, evaluate).callback([&] { command = [&] { return cli::evaluate(evaluate), 0; }; });
  add_compare(app, compare).callback([&] { command = [&] { return cli::compare(compare), 0; }; });
  add_run(app, run).callback([&] { command = [&] { return cli::run(run), 0; }; });
  add_benchmark(app, benchmark).callback([&] { command = [&] { return cli::benchmark(benchmark), 0; }; });
  add_prepare(app, prepare).callback([&] { command = [&] { return cli::prepare(prepare), 0; }; });
  add_inspect(app, inspect).callback([&] {
    if (inspect.model.empty() && !inspect.cpu) throw CLI::RequiredError("MODEL or --cpu");
    command = [&] { return cli::inspect(inspect), 0; };
  });
  add_calibration(app, calibration, calibrate);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (calibrate) command = [&] { return calibrate(calibration), 0; };
  return guarded(command);
}
