// SPDX-License-Identifier: Apache-2.0
// Do the models that ptq exports mean the same to ONNX Runtime as to ptq?
//
//   node interop.js --ptq BUILD/ptq --tool BUILD/ptq_interop --work DIR --json FILE [--zoo DIR]
//
// 1. One operator per model, fed the same input: results differ by at most one step, on at most 1 % of
//    the elements, and ONNX Runtime runs the operator in integers.
// 2. Classifiers, quantized here by `ptq quantize` with its defaults: same class on at least 99 % of the
//    samples (97 % for those that are difficult to quantize), every convolution that ptq runs in integers
//    is a QLinearConv there, and `ptq run` gives the bits of the library. The example models always; those
//    of DIR/zoo.json with --zoo.
// Prints one line per check and a closing one; exits with 1 if a check failed.
'use strict';
const fs = require('fs');
const path = require('path');
const { execFileSync } = require('child_process');
const ort = require('onnxruntime-node');
const { open_npy, write_npy } = require('./npy.js');

const samples_per_model = 300;  // photos; cheaper samples are all used
const most_differing = 0.01, least_ordinary = 99, least_difficult = 97;

const arg = {};
for (let i = 2; i < process.argv.length; i += 2) arg[process.argv[i].replace(/^--/, '')] = process.argv[i + 1];
const call = (program, words) => execFileSync(program, words,
  { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 });

const summary = { onnxruntime: ort.env?.versions?.node ?? require('onnxruntime-node/package.json').version,
  operators: [], models: [] };
let passed = 0, failed = 0;
function check(name, fine, text) {
  fine ? ++passed : ++failed;
  console.log(`${fine ? '   ok' : 'FAIL '} ${name}: ${text}`);
  return fine;
}

/// A session that notes which kernels it runs. Without VNNI, ONNX Runtime adds pairs of products in 16 bits, which
/// saturate; x64quantprecision makes it exact there, and changes nothing elsewhere.
async function open_session(model) {
  const prefix = path.join(arg.work, 'profile_' + path.basename(model, '.onnx'));
  const session = await ort.InferenceSession.create(model, { graphOptimizationLevel: 'all', intraOpNumThreads: 1,
    interOpNumThreads: 1, logSeverityLevel: 3, enableProfiling: true, profileFilePrefix: prefix,
    extra: { session: { x64quantprecision: '1' } } });
  return { session, prefix };
}

/// Operators that ran: op type → names of the nodes.
function profile_of({ session, prefix }) {
  session.endProfiling();
  const folder = path.dirname(prefix);
  const file = fs.readdirSync(folder).filter(f => f.startsWith(path.basename(prefix) + '_')).sort().pop();
  if (!file) throw new Error(`no profile ${prefix}*`);
  const events = JSON.parse(fs.readFileSync(path.join(folder, file), 'utf8'));
  fs.unlinkSync(path.join(folder, file));
  const ran = {};
  for (const e of events)
    if (e.cat === 'Node' && e.args?.op_name)
      (ran[e.args.op_name] ??= new Set()).add(e.name.replace(/_(kernel_time|fence_before|fence_after)$/, ''));
  return ran;
}
const counts = ran => Object.fromEntries(Object.entries(ran).map(([op, names]) => [op, names.size]));

async function check_operator(one) {
  const opened = await open_session(one.model);
  const feeds = {};
  for (const input of one.inputs) {
    const x = open_npy(input.file);
    feeds[input.name] = new ort.Tensor(x.type, x.all(), x.shape);
    x.close();
  }
  const theirs = Object.values(await opened.session.run(feeds))[0].data;
  const ran = profile_of(opened);
  const ours_file = open_npy(one.expected), ours = ours_file.all();
  ours_file.close();
  let most = 0, differ = 0;
  for (let i = 0; i < ours.length; ++i) {
    const steps = Math.abs(Math.round((ours[i] - theirs[i]) / one.step));
    if (!(steps <= most)) most = steps;  // NaN too
    if (steps !== 0) ++differ;
  }
  const fused = one.fused.filter(op => ran[op]);
  const integer = one.fused.length === 0 || fused.length > 0;
  const share = differ / ours.length;
  const fine = check(one.name, ours.length === theirs.length && most <= 1 && share <= most_differing && integer && one.integer,
    `${differ} of ${ours.length} elements differ, by ${most} steps at most; theirs ran ${JSON.stringify(counts(ran))}` +
    (integer ? '' : `, expected one of ${one.fused}`) + (one.integer ? '' : '; ours ran in float'));
  summary.operators.push({ name: one.name, elements: ours.length, differ, most_steps: most, ran: counts(ran), passed: fine });
}

const preprocessing = spec => ['resize', 'crop', 'channels', 'scale', 'mean', 'std', 'layout', 'record_dtype', 'record_shape']
  .filter(key => spec[key] !== undefined).flatMap(key => ['--' + key.replace('_', '-'), String(spec[key])]);

const top = values => values.reduce((best, v, i) => v > values[best] ? i : best, 0);

async function check_classifier(one) {
  const folder = fs.mkdtempSync(path.join(arg.work, one.name + '-'));
  const model = path.join(folder, one.name + '.int8.onnx'), spec = path.join(folder, 'samples.json');
  call(arg.ptq, ['quantize', one.model, '-o', model, '--data', one.calibration, '--subset-size', String(one.subset ?? 300),
    '--repeats', '0', ...preprocessing(one.spec)]);
  fs.writeFileSync(spec, JSON.stringify({ ...one.spec, samples: one.samples, count: one.count }));
  const ours = JSON.parse(call(arg.tool, ['run', model, spec, folder]));

  const opened = await open_session(model);
  const x = open_npy(path.join(folder, 'inputs.npy')), y = open_npy(path.join(folder, 'outputs.npy'));
  let agree = 0, signal = 0, noise = 0;
  for (let i = 0; i < ours.n; ++i) {
    const feeds = { [ours.input]: new ort.Tensor(x.type, x.row(i), x.shape.slice(1)) };
    const theirs = (await opened.session.run(feeds))[ours.output].data, mine = y.row(i);
    if (top(mine) === top(theirs)) ++agree;
    for (let j = 0; j < mine.length; ++j) { signal += theirs[j] ** 2; noise += (mine[j] - theirs[j]) ** 2; }
  }
  const ran = profile_of(opened);
  const agreement = 100 * agree / ours.n, least = one.kind === 'difficult' ? least_difficult : least_ordinary;
  const sqnr = noise === 0 ? Infinity : 10 * Math.log10(signal / noise);
  const same = check(one.name, agreement >= least,
    `${agreement.toFixed(2)} % of ${ours.n} samples get the same class, expected at least ${least} %; SQNR ${sqnr.toFixed(1)} dB`);

  const c = ours.convolutions, expected = c.integer.length + c.real_result.length;
  const found = ran.QLinearConv?.size ?? 0;
  const left = [...(ran.Conv ?? []), ...(ran.FusedConv ?? [])];
  const convolutions = check(one.name, found >= expected && left.length <= c.real.length,
    `${found} QLinearConv in its profile, expected ${expected}` + (left.length ? `; ${left.length} in float there, ${c.real.length} here` : '') +
    (left.length > c.real.length ? `: ${left}` : '') +
    (c.real_result.length ? `; with a real result here: ${c.real_result}` : ''));

  const one_x = path.join(folder, 'x.npy'), one_y = path.join(folder, 'y.npy');
  let command = true;
  if (x.type === 'float32') {
    write_npy(one_x, x.shape.slice(1), x.row(0));
    call(arg.ptq, ['run', model, '--input', one_x, '--output', one_y]);
    const written = open_npy(one_y), values = written.all(), wanted = y.row(0);
    written.close();
    command = check(one.name, values.length === wanted.length && values.every((v, i) => Object.is(v, wanted[i])),
      '`ptq run` gives the bits of the library');
  }
  x.close();
  y.close();
  fs.rmSync(folder, { recursive: true });
  summary.models.push({ name: one.name, kind: one.kind, n: ours.n, agreement, output_sqnr_db: Number.isFinite(sqnr) ? sqnr : null,
    convolutions: expected, qlinear_conv: found, ran: counts(ran), passed: same && convolutions && command });
}

function example_models() {
  const folder = path.join(__dirname, '../../examples/models');
  const about = JSON.parse(fs.readFileSync(path.join(folder, 'models.json'), 'utf8'));
  return about.models.map(m => ({ name: m.name, kind: m.kind ?? 'ordinary', model: path.join(folder, m.file),
    samples: path.join(folder, about.data.test.images), calibration: path.join(folder, about.data.calibration.images),
    count: 0, spec: m.preprocessing }));
}

function zoo_models(zoo) {
  const about = JSON.parse(fs.readFileSync(path.join(zoo, 'zoo.json'), 'utf8'));
  return about.models.filter(m => m.kind && !m.quantized).map(m => {
    const spec = { ...m };
    for (const key of ['model', 'samples', 'calibration', 'labels']) delete spec[key];
    return { name: path.basename(m.model, '.onnx'), kind: m.kind, model: path.join(zoo, m.model), subset: m.calibration_records,
      samples: path.join(zoo, m.samples), calibration: path.join(zoo, m.calibration), count: m.crop ? samples_per_model : 0, spec };
  });
}

(async () => {
  const folder = path.join(arg.work, 'single_ops');
  fs.mkdirSync(folder, { recursive: true });
  for (const one of JSON.parse(call(arg.tool, ['single_ops', folder])).cases) await check_operator(one);
  for (const one of [...example_models(), ...(arg.zoo ? zoo_models(arg.zoo) : [])]) {
    try {
      await check_classifier(one);
    } catch (e) {
      check(one.name, false, String(e.message || e));
      summary.models.push({ name: one.name, kind: one.kind, error: String(e.message || e), passed: false });
    }
  }
  summary.passed = passed;
  summary.failed = failed;
  if (arg.json) fs.writeFileSync(arg.json, JSON.stringify(summary, null, 1) + '\n');
  console.log(`interop: ${Math.round(100 * passed / (passed + failed))}% checks passed, ` +
    `${failed} checks failed out of ${passed + failed} (ONNX Runtime ${summary.onnxruntime})`);
  process.exit(failed ? 1 : 0);
})().catch(e => { console.error('interop: ' + (e.stack || e)); process.exit(1); });
