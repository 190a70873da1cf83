// Node as the oracle: `sign SEED COUNT` prints random launches, signed as the embedding document
// does it; `verify` reads queries that we have signed, one a line, and prints what is wrong.
import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';

const SECRET = 'ragtime-test-secret';

// The document's two functions, step by step.
function generateHmacSignature(secret, payload) {
  return crypto.createHmac('sha256', secret).update(payload).digest('hex');
}

function signed(pairs, timestamp) {
  const params = new URLSearchParams();
  for (const [name, value] of pairs) params.append(name, value);
  params.append('timestamp', timestamp);
  params.sort();
  const payload = params.toString();
  const signature = generateHmacSignature(SECRET, payload);
  params.append('signature', signature);
  return { query: params.toString(), payload, signature };
}

function generator(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

const ODD = [
  ' ', '+', '%', '&', '=', '?', '#', '/', ';', ',', '~', '*', '-', '.', '_', '!', "'", '(', ')', '"', '<', '\\', '|',
  '%20', '%2B', '%zz', '\n', '\r\n', '\r', '\t', '\0', '\x7f', 'é', 'ß', '李', '｡', '\uffff', '\ue000', '😀', '\u{10ffff}',
  '\ufeff', '\ufffd', '\ud800', '\udc00', 'e\u0301', '\u202e',
];

function launches(seed, count) {
  const random = generator(seed);
  const text = (most) => {
    let out = '';
    for (let left = random(most + 1); left > 0; left -= 1) {
      out += random(3) ? String.fromCharCode(97 + random(4) - (random(4) ? 0 : 32)) : ODD[random(ODD.length)];
    }
    return out;
  };
  const list = [];
  for (let index = 0; index < count; index += 1) {
    const pairs = [];
    for (let left = random(8); left > 0; left -= 1) {
      const name = text(3);
      if (!['signature', 'timestamp'].includes(name)) pairs.push([name, text(12)]);
    }
    const timestamp = String(1763683200000 - random(300000));
    const { query, payload, signature } = signed(pairs, timestamp);
    if (random(2)) {
      list.push({ query, form: null, payload, signature });
      continue;
    }
    // By form: fields in the order of the page, as a browser sends them, some names in the URL.
    const all = [...pairs, ['timestamp', timestamp], ['signature', signature]];
    const isInUrl = new Map(all.map(([name]) => [name.toWellFormed(), random(3) === 0]));
    const urlPart = all.filter(([name]) => isInUrl.get(name.toWellFormed()));
    const fields = all.filter(([name]) => !isInUrl.get(name.toWellFormed()));
    // A signer that means line ends signs LF.
    if (all.some(([name, value]) => /\r/.test(name + value) || /\n/.test(name))) {
      list.push({ query, form: null, payload, signature });
      continue;
    }
    const sent = fields.map(([name, value]) => [name, value.replaceAll('\n', '\r\n')]);
    const print = (part) => new URLSearchParams(part).toString();
    list.push({ query: print(urlPart), form: print(sent), payload, signature });
  }
  return list;
}

const [, , command, seed, count] = process.argv;
if (command === 'sign') {
  console.log(JSON.stringify(launches(Number(seed), Number(count))));
} else {
  for (const line of readFileSync(0, 'utf8').split('\n')) {
    if (line === '') continue;
    const params = new URLSearchParams(line);
    const signature = params.get('signature');
    params.delete('signature');
    params.sort();
    if (generateHmacSignature(SECRET, params.toString()) !== signature) console.log(line);
  }
}
