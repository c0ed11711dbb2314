#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Accuracy control from the shell: bounds, limits, cost file, journal.  control_test.sh TOOL MODELS
. "$(dirname "$0")/support.sh"
float=$models/fashion_mobilenet.onnx
labels=$models/calibration-labels.idx1.gz
search=(quantize "$float" "${common[@]}" --data "$calibration" --subset-size 64 --labels "$labels"
  --report-samples 0 --repeats 0 --quiet)

# --- a bound that is met, and what is said of it; the costs are written ---
succeeds "${search[@]}" -o "$dir/a.onnx" --max-drop 0.2 --costs "$dir/costs.json" --json "$dir/a.json"
holds "$dir/out" 'accuracy control: the bound is met'
holds "$dir/a.json" '"status": "met"'
for key in front chosen drop_half_width samples_needed min_agreement; do
  holds "$dir/a.json" "\"$key\":"
done
holds "$dir/costs.json" '"float_us"'

# --- below the noise: said, with the samples that would tell it; the best is written, exit code 3 ---
# A stand-in for slow floats: 1 us per layer, so that time does not limit the search.
sed -E 's/"float_us": [0-9.e+-]+/"float_us": 1000000.0/' "$dir/costs.json" >"$dir/loose.json"
tight=(--max-drop 0 --max-float-macs 1 --costs "$dir/loose.json")
"$tool" "${search[@]}" -o "$dir/b.onnx" "${tight[@]}" --json "$dir/b.json" >"$dir/out" 2>"$dir/err"
[ $? -eq 3 ] || wrong "an impossible bound: expected exit code 3: $(cat "$dir/err")"
holds "$dir/out" "can't be told from"
holds "$dir/out" 'NOT met; limited by'
holds "$dir/b.json" '"status": "not_met"'
[ -s "$dir/b.onnx" ] || wrong "the best model was not written"
succeeds inspect "$dir/b.onnx"

# --- killed ten times at odd moments, the search ends with the same bytes ---
for turn in 1 2 3 4 5 6 7 8 9 10; do
  "$tool" "${search[@]}" -o "$dir/c.onnx" "${tight[@]}" --journal "$dir/journal" >/dev/null 2>&1 &
  pid=$!
  sleep "0.$((RANDOM % 10))"
  kill -9 $pid 2>/dev/null
  wait $pid 2>/dev/null
done
"$tool" "${search[@]}" -o "$dir/c.onnx" "${tight[@]}" --journal "$dir/journal" >/dev/null 2>"$dir/err"
[ $? -eq 3 ] || wrong "after ten kills: expected exit code 3: $(cat "$dir/err")"
cmp -s "$dir/b.onnx" "$dir/c.onnx" || wrong "after ten kills the model differs"

# --- refused ---
fails 1 'of another search' "${search[@]}" -o "$dir/new.onnx" --max-drop 0.1 \
  --costs "$dir/loose.json" --journal "$dir/journal"
fails 1 'expected --labels or --annotation-free' quantize "$float" -o "$dir/new.onnx" \
  "${common[@]}" --data "$calibration" --max-drop 0.1
echo '{"float_us": 1}' >"$dir/bad.json"
fails 1 'int8_us: expected it' "${search[@]}" -o "$dir/new.onnx" --max-drop 0.1 --costs "$dir/bad.json"
fails 2 'max-drop' "${search[@]}" -o "$dir/new.onnx" --max-drop 2
succeeds quantize "$float" -o "$dir/d.onnx" "${common[@]}" --data "$calibration" --subset-size 32 \
  --annotation-free --max-drop 0.3 --report-samples 0 --repeats 0
holds "$dir/out" 'top1 1.0000 ->'
finish
