// SPDX-License-Identifier: Apache-2.0
// Float outputs of the zoo's models that are no classifiers: our executor beside ONNX Runtime, on one
// seeded input each. Fails where an output is nearer than 60 dB to noise: float32 sums in another order
// leave 90 dB and more, a wrong operator leaves none.
//   node float_zoo.js --ptq TOOL --zoo FOLDER --work FOLDER
'use strict';
const { execFileSync } = require('child_process');
const path = require('path');
const ort = require('onnxruntime-node');
const { open_npy, write_npy } = require('./npy.js');
const fs = require('fs');

const option = name => process.argv[process.argv.indexOf('--' + name) + 1];
const tool = option('ptq'), zoo = option('zoo'), work = option('work');

// Inputs by model: extents, and the range of the numbers; integers are listed as [low, high).
const models = {
  'detection/nanodet_m_416': { real: [[1, 3, 416, 416], -2, 2] },
  'face/ultraface-RFB-320': { real: [[1, 3, 240, 320], -1, 1] },
  'face/ultraface-RFB-320_simplified': { real: [[1, 3, 240, 320], -1, 1] },
  'face/yunet_s_320_320': { real: [[1, 3, 320, 320], 0, 255] },
  'face/blazeface_front_128x128': { real: [[1, 128, 128, 3], -1, 1] },
  'image2image/super_resolution_10': { real: [[1, 1, 224, 224], 0, 1] },
  'mlperf_tiny/vww_mobilenet_v1_0.25_96': { real: [[1, 3, 96, 96], 0, 1] },
  'ocr/ch_PP-OCRv4_rec_infer': { real: [[1, 3, 48, 320], -1, 1] },
  'misc/magika_standard_v3_3': { integer: [[1, 2048], 0, 257, 'int32'] },
  'lm/stories260k_llama': { integer: [[1, 32], 1, 512, 'int64'] },
  'whisper/whisper_tiny_encoder': { real: [[1, 80, 3000], -1, 1] },
};

/// Park and Miller's generator: the same numbers everywhere.
let state = 1;
const unit = () => (state = (state * 48271) % 2147483647) / 2147483647;

/// Neighbours are alike, as in pictures and sounds.
function smooth([shape, low, high]) {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  let v = 0.5;
  for (let i = 0; i < values.length; ++i) {
    v = 0.9 * v + 0.1 * unit();
    values[i] = low + (high - low) * Math.min(Math.max((v - 0.5) * 4 + 0.5, 0), 1);
  }
  return values;
}

function write_integers(file, shape, values, descr) {
  let dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.map(d => d + ',').join('')}), }`;
  while ((10 + dict.length + 1) % 64 !== 0) dict += ' ';
  dict += '\n';
  const lead = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, dict.length & 255, dict.length >> 8]);
  fs.writeFileSync(file, Buffer.concat([lead, Buffer.from(dict, 'latin1'), Buffer.from(values.buffer)]));
}

async function check(name, rule) {
  const file = path.join(zoo, 'models', name + '.onnx');
  const session = await ort.InferenceSession.create(file, { graphOptimizationLevel: 'basic', logSeverityLevel: 3 });
  const x = path.join(work, 'x.npy');
  let tensor;
  if (rule.real) {
    tensor = new ort.Tensor('float32', smooth(rule.real), rule.real[0]);
    write_npy(x, rule.real[0], tensor.data);
  } else {
    const [shape, low, high, type] = rule.integer;
    const numbers = Array.from({ length: shape[0] * shape[1] }, () => low + Math.floor(unit() * (high - low)));
    const values = type === 'int64' ? BigInt64Array.from(numbers.map(BigInt)) : Int32Array.from(numbers);
    tensor = new ort.Tensor(type, values, shape);
    write_integers(x, shape, values, type === 'int64' ? '<i8' : '<i4');
  }
  const expected = await session.run({ [session.inputNames[0]]: tensor });
  const args = ['run', file, '--input', x];
  session.outputNames.forEach((o, i) => args.push('--output', `${o}=${path.join(work, `y${i}.npy`)}`));
  execFileSync(tool, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  let least = Infinity;
  session.outputNames.forEach((o, i) => {
    const ours = open_npy(path.join(work, `y${i}.npy`));
    const got = ours.all(), want = expected[o].data;
    ours.close();
    if (got.length !== want.length) throw new Error(`${name}: ${o}: ${want.length} numbers, got ${got.length}`);
    let signal = 0, noise = 0;
    for (let k = 0; k < want.length; ++k) {
      signal += want[k] * want[k];
      noise += (want[k] - got[k]) ** 2;
    }
    least = Math.min(least, noise === 0 ? Infinity : 10 * Math.log10(signal / noise));
  });
  return least;
}

(async () => {
  const enough = 60;
  let failures = 0;
  for (const [name, rule] of Object.entries(models)) {
    let text;
    try {
      const db = await check(name, rule);
      text = `${db.toFixed(1)} dB`;
      if (db < enough) { ++failures; text += '  FAILED'; }
    } catch (e) {
      ++failures;
      text = 'FAILED: ' + String(e.message).split('\n')[0];
    }
    console.log(`${name}: ${text}`);
  }
  process.exit(failures === 0 ? 0 : 1);
})();
