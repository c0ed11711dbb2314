#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Bad command lines, models, data and paths: the exit code, one line, and nothing left behind.
#   errors_test.sh TOOL MODELS
. "$(dirname "$0")/support.sh"
float=$models/fashion_resnet.onnx
out=$dir/new.onnx
data=("${common[@]}" --data "$calibration" --subset-size 4 --repeats 0 --report-samples 0)

# --- the command line: 2 ---
fails 2 'subcommand'
fails 2 '' frobnicate
fails 2 '' quantize "$float"
fails 2 '' quantize "$float" -o "$out" "${data[@]}" --preset best
fails 2 '' quantize "$float" -o "$out" "${data[@]}" --resize -1
fails 2 '' evaluate "$float" --data "$calibration"
fails 2 '' benchmark "$float" --repeats 0
fails 2 '' inspect
succeeds --help
succeeds --version
holds "$dir/out" '^ptq [0-9]'
for c in quantize evaluate compare run benchmark prepare inspect; do
  succeeds $c --help
  holds "$dir/out" 'Example'
done

# --- options that contradict each other ---
fails 1 'keep-faster-float.*without' quantize "$float" -o "$out" --data-free --keep-faster-float

# --- the model ---
fails 1 'missing.onnx' quantize "$dir/missing.onnx" -o "$out" "${data[@]}"
head -c 100000 "$float" >"$dir/cut.onnx"
fails 1 'cut.onnx' quantize "$dir/cut.onnx" -o "$out" "${data[@]}"
head -c 4000 /dev/urandom >"$dir/noise.onnx"
fails 1 'noise.onnx' inspect "$dir/noise.onnx"
: >"$dir/empty.onnx"
fails 1 'empty.onnx' inspect "$dir/empty.onnx"
fails 1 'ptq: error' inspect "$dir"

# --- prepared programs ---
succeeds prepare "$float" -o "$dir/float.ptq"
head -c 5000 "$dir/float.ptq" >"$dir/short.ptq"
fails 1 'short.ptq.*bytes: expected [0-9]*, got 5000' benchmark "$dir/short.ptq"
fails 1 'extents' benchmark "$dir/float.ptq" --dim batch=2
fails 1 "'other' is no input" run "$dir/float.ptq" --input other="$dir/x.npy" --output "$dir/new.npy"
fails 1 'no/such' prepare "$float" -o "$dir/no/such/new.ptq"
[ "$("$tool" inspect --cpu | grep -c '^  ')" -le 1 ] ||
  PTQ_ISA=portable fails 1 'ISA: expected portable, got' benchmark "$dir/float.ptq"

# --- samples and labels ---
mkdir "$dir/nothing"
fails 1 'nothing' quantize "$float" -o "$out" --data "$dir/nothing"
fails 1 'no-such' quantize "$float" -o "$out" --data "$dir/no-such.npy"
npy 0,1,28,28, 0 >"$dir/none.npy"
fails 1 'none.npy' quantize "$float" -o "$out" --data "$dir/none.npy"
npy 4,1,27,28, $((4 * 27 * 28)) >"$dir/narrow.npy"
fails 1 "'image'.*27" quantize "$float" -o "$out" --data "$dir/narrow.npy"
npy 9,1,28,28, 784 >"$dir/short.npy"
fails 1 'short.npy' quantize "$float" -o "$out" --data "$dir/short.npy"
fails 1 "no tensor for input 'image'" quantize "$float" -o "$out" --data other="$dir/narrow.npy"
fails 1 'labels' quantize "$float" -o "$out" "${data[@]}" --labels "$models/test-labels.idx1.gz"
fails 1 'labels' evaluate "$float" "${common[@]}" --data "$calibration" \
  --labels "$models/test-labels.idx1.gz" --json "$dir/new.json"
fails 1 'mean' quantize "$float" -o "$out" --data "$calibration" --mean 1,2,3
fails 1 "'image'.*99" quantize "$float" -o "$out" --data "$calibration" --crop 99

# --- where results go ---
fails 1 'no/such' quantize "$float" -o "$dir/no/such/new.onnx" "${data[@]}"
fails 1 'no/such' quantize "$float" -o "$out" "${data[@]}" --json "$dir/no/such/report.json"
fails 1 'extension' quantize "$float" -o "$dir/new.tflite" "${data[@]}"
mkdir "$dir/folder.onnx"
fails 1 'folder' quantize "$float" -o "$dir/folder.onnx" "${data[@]}"
cp "$float" "$dir/itself.onnx"
fails 1 'itself' quantize "$dir/itself.onnx" -o "$dir/itself.onnx" "${data[@]}"
cmp -s "$float" "$dir/itself.onnx" || wrong "the model itself was changed"

# --- what does not fit the model ---
fails 1 'nosuch' quantize "$float" -o "$out" "${data[@]}" --ignore nosuch
fails 1 'nosuch' benchmark "$float" --dim nosuch=2
npy 1,1,28,28, 784 >"$dir/x.npy"
fails 1 'wrong' run "$float" --input wrong="$dir/x.npy" --output "$dir/y.npy"
fails 1 'wrong' run "$float" --input "$dir/x.npy" --output wrong="$dir/y.npy"
[ ! -e "$dir/y.npy" ] || wrong "run left an output after an error"
succeeds quantize "$float" -o "$dir/int8.onnx" "${data[@]}"
fails 1 'quantized' quantize "$dir/int8.onnx" -o "$out" "${data[@]}"
fails 1 "missing.onnx" compare "$float" "$dir/missing.onnx" "${common[@]}" --data "$calibration"
finish
