// Runs a launcher's script in a page of stand-ins: what it does is printed, a line each.
import { readFileSync } from 'node:fs';
import vm from 'node:vm';

const [, , file, userId, signedUrl] = process.argv;
const page = readFileSync(file, 'utf8');
const script = page.match(/<script>([\s\S]*)<\/script>/)[1];
const tell = (...words) => console.log(words.map((word) => (typeof word === 'string' ? word : JSON.stringify(word))).join(' '));

class Element {
  constructor(id) {
    Object.assign(this, { id, hidden: id === 'chat-frame', dataset: {}, listeners: {} });
    this.contentWindow = { postMessage: (data, origin) => tell('post', data, origin) };
  }
  set src(url) { tell('src', url.replace(/v=\d+/, 'v=NOW')); }
  setAttribute() {}
  addEventListener(type, listener) { this.listeners[type] = listener; }
}
const elements = Object.fromEntries(['chat-launcher', 'chat-frame', 'chat-iframe'].map((id) => [id, new Element(id)]));
const iframe = elements['chat-iframe'];
iframe.dataset.origin = page.match(/data-origin="([^"]*)"/)[1];
const origin = new URL(iframe.dataset.origin).origin;
const listeners = [];
const window = { currentUserId: userId || undefined, addEventListener: (type, listener) => listeners.push(listener) };
// Each look at the clock is a hundred milliseconds later; a timer ends when `waited` is called.
let clock = 0;
const timers = new Map();
const waited = () => timers.forEach((timer) => timer());
const fetch = async (url, how) => {
  if (how.body !== undefined) {
    tell('tell', url.href, how.method, how.mode, how.credentials, how.body);
    throw new Error('nobody may depend on the answer');
  }
  tell('fetch', url);
  return { ok: true, text: async () => `${signedUrl}\n` };
};
vm.runInNewContext(script, {
  window, URL, Object, String, Date, JSON, fetch,
  performance: { now: () => { clock += 100; return clock; } },
  setTimeout: (run, _after, ...words) => { timers.set(timers.size + 1, () => run(...words)); return timers.size; },
  clearTimeout: (timer) => timers.delete(timer),
  document: { getElementById: (id) => elements[id], documentElement: { dir: '' } },
  console: { debug: (...words) => tell('debug', ...words), error: (...words) => tell('error', ...words) },
});

const press = async () => {
  await elements['chat-launcher'].listeners.click();
  tell('hidden', elements['chat-frame'].hidden);
};
const say = (data, from = origin, source = iframe.contentWindow) => listeners.forEach((listener) => listener({ data, origin: from, source }));
say({ type: 'chat-embed-ready' });
await press();
say({ type: 'chat-embed-ready' }, 'https://evil.example');
say({ type: 'chat-embed-ready' }, origin, {});
say({ type: 'chat-embed-ready' });
say({ type: 'chat-embed-ready' });
say({ type: 'app-event', launch: 'not-of-the-chat' });
say({ type: 'chat-embed-ack', launch: 'of-the-document' });
say({ type: 'chat-embed-ack' });
await press();
await press();
say({ type: 'chat-embed-ack' });
waited();
await press();
await press();
say({ type: 'chat-embed-ready' });
say({ type: 'chat-embed-error', code: 'mode_mismatch' });
await press();
