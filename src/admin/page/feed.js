// The live feed: server-sent events, read by fetch because an EventSource cannot send a token.
//
// It says in which state it is and hands over each sample. It must not hammer a server that is
// away, and must notice a connection that has died without a word.

import { ask } from './call.js';

/** The server sends a sample every second: so much silence is no connection. */
const SILENCE = 10_000;
/** Milliseconds before each further try; the last one stays. */
const PAUSES = [500, 1000, 2000, 4000, 8000, 15_000];
/** Characters of an event that does not end. */
const LARGEST = 16 << 20;

/**
 * States: `connecting`, `live`, `reconnecting` (with `why` and `at`, the time of the next try), `paused`,
 * `locked` (the token is missing or wrong), `stopped` (with `why`: trying again would give the same).
 */
export class Feed {
  #path;
  #onSample;
  #onState;
  #abort = null;
  #timer = null;
  #failures = 0;

  constructor(path, onSample, onState) {
    this.#path = path;
    this.#onSample = onSample;
    this.#onState = onState;
    window.addEventListener('online', () => this.hurry());
  }

  /** Also when it is running: begins anew. */
  start() {
    this.#halt();
    this.#failures = 0;
    this.#connect('connecting');
  }

  pause() {
    this.#halt();
    this.#onState({ name: 'paused' });
  }

  /** Tries now what it would try later. */
  hurry() {
    if (this.#timer === null) return;
    this.#halt();
    this.#connect('reconnecting');
  }

  #halt() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#abort?.abort();
    this.#abort = null;
  }

  async #connect(state) {
    const abort = new AbortController();
    this.#abort = abort;
    if (state === 'connecting') this.#onState({ name: state });
    const end = await this.#read(abort).catch(() => ({ why: 'The connection was lost.' }));
    // Somebody has paused it, or begun anew, meanwhile.
    if (this.#abort !== abort) return;
    abort.abort();
    if (end.name) this.#onState(end);
    else this.#later(end.why);
  }

  #later(why) {
    const pause = PAUSES[Math.min(this.#failures, PAUSES.length - 1)] * (0.8 + 0.4 * Math.random());
    this.#failures += 1;
    this.#onState({ name: 'reconnecting', why, at: Date.now() + pause });
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#connect('reconnecting');
    }, pause);
  }

  /** Until it ends: a state for good, or why it ended. */
  async #read(abort) {
    const watch = this.#watch(abort);
    let isFirst = true;
    try {
      const response = await ask(this.#path, { signal: abort.signal });
      const refused = await refusal(response);
      if (refused) return refused;
      for await (const { event, data } of events(response.body, watch.seen)) {
        if (this.#abort !== abort) return {};
        if (event !== 'overview') continue;
        if (isFirst) this.#onState({ name: 'live' });
        isFirst = false;
        this.#failures = 0;
        this.#onSample(JSON.parse(data));
      }
      return { why: 'The server has ended the connection.' };
    } finally {
      watch.stop();
    }
  }

  #watch(abort) {
    let timer;
    const seen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE);
    };
    seen();
    return { seen, stop: () => clearTimeout(timer) };
  }
}

/** What an answer that is no stream means: nothing to wait for, or a reason to try again. */
async function refusal(response) {
  if (response.ok) return null;
  if (response.status === 401) return { name: 'locked' };
  const told = await response.json().catch(() => ({}));
  const why = [told.title, told.detail].filter(Boolean).join(' ') || `The server answered ${response.status}.`;
  return response.status >= 500 ? { why } : { name: 'stopped', why };
}

/** The events of a stream as the WHATWG describes them, as far as this server uses them. */
async function* events(body, seen) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      seen();
      text += value;
      const whole = text.split(/\r?\n\r?\n/);
      text = whole.pop();
      if (text.length > LARGEST) throw new Error('an event without end');
      for (const block of whole) yield parsed(block);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parsed(block) {
  let event = 'message';
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (name === 'event') event = value ?? '';
    if (name === 'data') data.push(value ?? '');
  }
  return { event, data: data.join('\n') };
}
