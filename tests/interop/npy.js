// SPDX-License-Identifier: Apache-2.0
// .npy files, C order, the element types that samples and results have. A large file is read row by
// row of its first axis.
'use strict';
const fs = require('fs');

const kinds = {
  '<f4': [Float32Array, 'float32'], '|u1': [Uint8Array, 'uint8'], '|i1': [Int8Array, 'int8'],
  '<i8': [BigInt64Array, 'int64'], '<i4': [Int32Array, 'int32'],
};

/// { shape, type (ONNX Runtime's word), row(i) → array of shape[1:], close() }
function open_npy(file) {
  const fd = fs.openSync(file, 'r');
  const lead = Buffer.alloc(10);
  fs.readSync(fd, lead, 0, 10, 0);
  if (lead.toString('latin1', 1, 6) !== 'NUMPY') throw new Error(`${file}: expected .npy`);
  const length = lead.readUInt16LE(8);
  const head = Buffer.alloc(length);
  fs.readSync(fd, head, 0, length, 10);
  const text = head.toString('latin1');
  const descr = /'descr': '([^']+)'/.exec(text)[1];
  const shape = /'shape': \(([^)]*)\)/.exec(text)[1].split(',').filter(s => s.trim()).map(Number);
  if (!kinds[descr]) throw new Error(`${file}: element type ${descr}`);
  const [array, type] = kinds[descr];
  const read = (count, offset) => {
    const values = new array(count);
    const bytes = new Uint8Array(values.buffer);
    const got = fs.readSync(fd, bytes, 0, bytes.length, 10 + length + offset * array.BYTES_PER_ELEMENT);
    if (got !== bytes.length) throw new Error(`${file}: expected ${bytes.length} bytes, got ${got}`);
    return values;
  };
  const size = dims => dims.reduce((a, b) => a * b, 1);
  return {
    shape, type,
    all: () => read(size(shape), 0),
    row: i => read(size(shape.slice(1)), i * size(shape.slice(1))),
    close: () => fs.closeSync(fd),
  };
}

/// Writes a Float32Array.
function write_npy(file, shape, values) {
  let dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.map(d => d + ',').join('')}), }`;
  while ((10 + dict.length + 1) % 64 !== 0) dict += ' ';
  dict += '\n';
  const lead = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, dict.length & 255, dict.length >> 8]);
  fs.writeFileSync(file, Buffer.concat([lead, Buffer.from(dict, 'latin1'),
    Buffer.from(values.buffer, values.byteOffset, values.byteLength)]));
}

module.exports = { open_npy, write_npy };
