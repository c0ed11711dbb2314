#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every subcommand on an embedded model.  use_test.sh TOOL MODELS
. "$(dirname "$0")/support.sh"
float=$models/fashion_resnet.onnx
int8=$dir/int8.onnx
test_set=("${common[@]}" --data "$models/test-images.idx3.gz")

# --- quantize: the file, the report, and JSON ---
succeeds quantize "$float" -o "$int8" "${common[@]}" --data "$calibration" --subset-size 64 \
  --labels "$models/calibration-labels.idx1.gz" --report-samples 8 --json "$dir/report.json"
holds "$dir/out" 'top-1 %'
holds "$dir/out" 'multiply-accumulates in integers'
for key in model library isa samples settings layers notes bytes accuracy latency agreement outputs; do
  holds "$dir/report.json" "\"$key\":"
done
holds "$dir/report.json" '"samples": 64'
holds "$dir/report.json" '"held_back": 8'
at_least "$(number "$dir/report.json" integer_macs_percent)" 95
# Weights are a quarter; the scales of channels and values come on top.
at_least "$(stat -c %s "$float")" $((3 * $(stat -c %s "$int8")))
[ ! -s "$dir/err" ] || wrong "a bar, though standard error is no terminal: $(cat "$dir/err")"

succeeds quantize "$float" -o "$dir/mixed.onnx" "${common[@]}" --data "$calibration" \
  --subset-size 16 --shuffle --seed 3 --preset mixed --range-estimator mse --bias-correction none \
  --ignore-type Gemm --report-samples 2 --repeats 1 --json - --quiet
[ "$(head -c 1 "$dir/out")" = "{" ] || wrong "--json -: standard output holds more than JSON"
holds "$dir/out" '"ignored_types": "Gemm"'
holds "$dir/out" '"preset": "mixed"'
holds "$dir/err" 'multiply-accumulates'

succeeds quantize "$float" -o "$dir/brief.onnx" "${common[@]}" --data "$calibration" \
  --subset-size 4 --report-samples 0 --repeats 1 --brief
[ "$(awk -F '\t' 'NF == 7 && $1 == "fashion_resnet"' "$dir/out" | wc -l)" -eq 1 ] ||
  wrong "--brief: expected one line of seven columns, got: $(cat "$dir/out")"

succeeds quantize "$float" -o "$dir/kept.onnx" "${common[@]}" --data "$calibration" --effort fast \
  --subset-size 4 --report-samples 0 --repeats 0 --keep-faster-float --json "$dir/kept.json"
holds "$dir/out" 'layers stay in float, where they are faster'
for key in faster_float before_us after_us; do holds "$dir/kept.json" "\"$key\":"; done
succeeds inspect "$dir/kept.onnx"
holds "$dir/out" 'made with ptq.faster_float'

# --- evaluate, compare ---
for model in "$float" "$int8"; do
  succeeds evaluate "$model" "${test_set[@]}" --labels "$models/test-labels.idx1.gz" \
    --subset-size 200 --json "$dir/accuracy.json"
  holds "$dir/accuracy.json" '"n": 200'
  at_least "$(number "$dir/accuracy.json" top1)" 88
  at_least "$(number "$dir/accuracy.json" top5)" 98
done
succeeds compare "$float" "$int8" "${test_set[@]}" --subset-size 50 --json -
[ "$(head -c 1 "$dir/out")" = "{" ] || wrong "compare --json -: more than JSON"
at_least "$(number "$dir/out" agreement)" 94
at_least "$(number "$dir/out" output_sqnr_db)" 15
at_least "$(grep -c '"sqnr_db"' "$dir/out")" 5
succeeds compare "$float" "$float" "${test_set[@]}" --subset-size 2 --json -
holds "$dir/out" '"output_sqnr_db": null'

# --- run: threads change no bit of an integer program ---
npy 1,1,28,28, 784 >"$dir/x.npy"
for n in 1 2; do
  succeeds run "$int8" --input image="$dir/x.npy" --output logits="$dir/y$n.npy" --threads $n
done
cmp -s "$dir/y1.npy" "$dir/y2.npy" || wrong "1 and 2 threads give different bits"
npy 3,1,28,28, $((3 * 784)) >"$dir/x3.npy"
succeeds run "$float" --input "$dir/x3.npy" --output "$dir/y3.npy"
holds "$dir/out" "'logits' f32 \[3,10\]"

# --- prepare: the same bits, ready at once ---
succeeds prepare "$int8" -o "$dir/int8.ptq" --json "$dir/prepare.json"
holds "$dir/prepare.json" '"bytes":'
succeeds run "$dir/int8.ptq" --input image="$dir/x.npy" --output logits="$dir/prepared.npy"
cmp -s "$dir/y1.npy" "$dir/prepared.npy" || wrong "a prepared program gives other bits"
succeeds benchmark "$dir/int8.ptq" --repeats 3 --per-layer --json "$dir/time.json"
for key in ready_ms first_ms steps; do holds "$dir/time.json" "\"$key\":"; done

# --- benchmark, inspect ---
succeeds benchmark "$int8" --threads 1 --repeats 3 --per-layer --json "$dir/time.json"
for key in min_ms median_ms threads isa steps activation_bytes peak_gops peak_percent gops; do
  holds "$dir/time.json" "\"$key\":"
done
holds "$dir/out" 'activations [0-9]* bytes'
holds "$dir/out" 'peak of 1 thread: '
succeeds benchmark "$int8" --repeats 3 --against "$float" --trace "$dir/trace.json" --json "$dir/time.json"
holds "$dir/time.json" '"float_ms":'
holds "$dir/out" 'slower than float'
for key in traceEvents displayTimeUnit dur kernel; do holds "$dir/trace.json" "\"$key\":"; done
succeeds benchmark "$float" --dim batch=2 --repeats 1
succeeds inspect "$int8" --json "$dir/inspect.json"
holds "$dir/out" "input  'image' f32 \[batch,1,28,28\]"
holds "$dir/inspect.json" '"quantized": true'
holds "$dir/inspect.json" '"activation_bytes": [1-9]'
succeeds inspect "$float" --json -
holds "$dir/out" '"quantized": false'
succeeds inspect --cpu
holds "$dir/out" 'chosen'
finish
