#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What stays in float, options from a file, no data at all.  scope_test.sh TOOL MODELS
. "$(dirname "$0")/support.sh"
float=$models/fashion_resnet.onnx
quick=(--subset-size 4 --repeats 0 --report-samples 0)
data=("${common[@]}" --data "$calibration" "${quick[@]}")

# --- a scope by address means the node of that name; a subgraph all between ---
succeeds inspect "$float" --addresses
mapfile -t nodes < <(grep '^@Conv/' "$dir/out")
at_least "${#nodes[@]}" 3
address=${nodes[1]%% *} name=${nodes[1]##* } last=${nodes[2]##* }
succeeds quantize "$float" -o "$dir/a.onnx" "${data[@]}" --ignore "$address" --json "$dir/a.json"
succeeds quantize "$float" -o "$dir/n.onnx" "${data[@]}" --ignore "$name"
holds "$dir/a.json" "ignored by name '$address'"
succeeds quantize "$float" -o "$dir/s.onnx" "${data[@]}" --ignore-subgraph "$name=>$last" \
  --json "$dir/s.json"
holds "$dir/s.json" "ignored by subgraph '$name=>$last'"
succeeds compare "$dir/a.onnx" "$dir/n.onnx" "${common[@]}" --data "$calibration" --subset-size 4 --json -
holds "$dir/out" '"output_sqnr_db": null'  # equal to the bit
fails 1 "name 'nobody', subgraph 'nobody=>$last'\|end of a subgraph" \
  quantize "$float" -o "$dir/new.onnx" "${data[@]}" --ignore nobody --ignore-subgraph "nobody=>$last"
fails 1 'A,B=>C,D' quantize "$float" -o "$dir/new.onnx" "${data[@]}" --ignore-subgraph a-b

# --- options from a file in POT's schema; the command line counts more ---
cat >"$dir/pot.json" <<JSON
{ /* as POT takes it */
  "model": {"model_name": "resnet", "model": "$float", "weights": "none.bin"},
  "engine": {"type": "simplified", "data_source": "$calibration"},
  "compression": {"target_device": "CPU", "algorithms": [
    {"name": "DefaultQuantization", "params": {"preset": "mixed", "stat_subset_size": 8, "use_fast_bias": true}}]}
}
JSON
succeeds quantize --config "$dir/pot.json" -o "$dir/c.onnx" "${common[@]}" --repeats 0 \
  --report-samples 0 --json "$dir/c.json"
holds "$dir/c.json" '"preset": "mixed"'
holds "$dir/c.json" '"target_device": "cpu"'
holds "$dir/c.json" '"samples": 8'
holds "$dir/err" 'warning: config: model.weights'
succeeds quantize --config "$dir/pot.json" -o "$dir/p.onnx" "${common[@]}" "${quick[@]}" \
  --preset performance --json "$dir/p.json"
holds "$dir/p.json" '"preset": "performance"'
holds "$dir/p.json" '"samples": 4'
# --- the effort, and both sides of an estimator, come from a file too ---
cat >"$dir/sides.json" <<JSON
{"compression": {"algorithms": [{"name": "DefaultQuantization", "params": {
  "effort": "fast", "activations": {"signedness": "signed", "range_estimator": {
    "min": {"type": "min", "aggregator": "median"},
    "max": {"type": "quantile", "aggregator": "max", "outlier_prob": 0.25, "clipping_value": 4}}}}}]}}
JSON
succeeds quantize "$float" --config "$dir/sides.json" -o "$dir/sides.onnx" "${data[@]}" \
  --json "$dir/made.json"
holds "$dir/made.json" '"effort": "fast"'
holds "$dir/made.json" '"activation_signedness": "signed"'
holds "$dir/made.json" '"range_max": "quantile/max clipped at 4 without 0.25"'
succeeds quantize "$float" --config "$dir/pot.json" -o "$dir/sides.onnx" "${data[@]}" --effort fast \
  --range-min min,median --range-max max,max --json "$dir/made.json"
holds "$dir/made.json" '"range_max": "max/max"'
echo '{"compression": {"algorithm": []}}' >"$dir/bad.json"
fails 1 'compression.algorithm: unknown key' quantize "$float" --config "$dir/bad.json" -o "$dir/new.onnx" "${data[@]}"
echo '{}' >"$dir/nothing.json"
fails 1 'MODEL' quantize --config "$dir/nothing.json" -o "$dir/new.onnx" "${data[@]}"
fails 1 '--data' quantize "$float" --config "$dir/nothing.json" -o "$dir/new.onnx"

# --- the model says how it was made ---
succeeds inspect "$dir/c.onnx" --json "$dir/made.json"
holds "$dir/out" 'made with ptq.preset = mixed'
holds "$dir/made.json" '"version"'
fails 1 'quantized already' quantize "$dir/c.onnx" -o "$dir/new.onnx" "${data[@]}"

# --- no data: still a classifier ---
succeeds quantize "$float" -o "$dir/free.onnx" --data-free "${common[@]}" --subset-size 16 --repeats 0 --report-samples 0
succeeds evaluate "$dir/free.onnx" "${common[@]}" --data "$models/test-images.idx3.gz" \
  --labels "$models/test-labels.idx1.gz" --subset-size 200 --json "$dir/free.json"
at_least "$(number "$dir/free.json" top1)" 80
fails 2 '' quantize "$float" -o "$dir/new.onnx" --data-free "${data[@]}"
finish
