// Reload and drain: nothing happens before somebody has read what will, and what came of it is said.

import { announce, byId, el, pill, setText, show } from './dom.js';
import { answerOf, problem } from './call.js';
import * as format from './format.js';
import { fullName, whose } from './personas.js';
import { problemList } from './upkeep.js';

/** A dialog that asks, does, and tells. */
class Deed {
  #dialog;
  #go;
  #close;
  #result;
  #verb;

  /** `act()` gives `{ level, word, text, problems }`. */
  constructor(name, act) {
    this.#dialog = byId(`${name}-dialog`);
    this.#go = byId(`${name}-go`);
    this.#close = byId(`${name}-close`);
    this.#result = byId(`${name}-result`);
    this.#verb = this.#go.textContent;
    this.#close.addEventListener('click', () => this.#dialog.close());
    byId(`${name}-form`).addEventListener('submit', (event) => {
      event.preventDefault();
      this.#run(act);
    });
  }

  open() {
    show(this.#result, false);
    show(this.#go, true);
    this.#go.disabled = false;
    setText(this.#go, this.#verb);
    setText(this.#close, 'Cancel');
    this.#dialog.showModal();
    // A deed is confirmed by reaching for it, not by a second Enter.
    this.#close.focus();
  }

  async #run(act) {
    if (this.#go.disabled) return;
    this.#go.disabled = true;
    setText(this.#go, `${this.#verb}: waiting for the server`);
    const { level, word, text, problems = [] } = await act().catch((error) => ({ level: 'bad', word: 'failed', text: error.message }));
    this.#result.replaceChildren(el('p', {}, pill(word, level), ' ', text), ...[problemList(problems, true)].filter(Boolean));
    show(this.#result, true);
    show(this.#go, false);
    setText(this.#close, 'Close');
    this.#close.focus();
    announce(`${word}: ${text}`);
  }
}

export function reloading() {
  const deed = new Deed('reload', reload);
  byId('reload').addEventListener('click', () => deed.open());
}

const OUTCOMES = {
  applied: ['Applied', 'good'],
  refused: ['Refused', 'bad'],
  unchanged: ['Nothing changed', 'good'],
};

async function reload() {
  const answer = await answerOf('/reload', { method: 'POST' });
  const { outcome, text, problems, held_back: heldBack = [] } = answer.told;
  if (!outcome) return { level: 'bad', word: 'Failed', text: problem(answer) };
  const [word, level] = OUTCOMES[outcome] ?? [outcome, 'warn'];
  const others = heldBack.length ? ` ${format.plural(heldBack.length, 'tenant')} held back: ${heldBack.map((it) => it.tenant).join(', ')}.` : '';
  const said = outcome === 'refused' ? 'What served before still serves.' : text;
  return { level: heldBack.length && level === 'good' ? 'warn' : level, word, text: `${said}${others}`, problems };
}

/** Gives the function that asks whether to drain a persona or site. */
export function draining() {
  let item = null;
  const deed = new Deed('drain', () => drain(item));
  return (of) => {
    item = of;
    const { events = 0, websockets = 0, requests = 0 } = item.open ?? {};
    setText(byId('drain-name'), fullName(item));
    const open = [format.plural(websockets, 'WebSocket'), format.plural(events, 'event stream'), format.plural(requests, 'request')];
    setText(
      byId('drain-text'),
      `Ends what is open there now: ${open.join(', ')}. WebSockets are closed with 1012 and browsers come back by themselves; new requests are served as before.`,
    );
    deed.open();
  };
}

async function drain(item) {
  const asked = { ...whose(item), within: byId('within').value.trim() || '0s' };
  const answer = await answerOf('/drain', { method: 'POST', document: asked });
  if (!answer.ok) return { level: 'bad', word: 'Not drained', text: problem(answer) };
  const { events = 0, websockets = 0, requests = 0 } = answer.told.told ?? {};
  if (events + websockets + requests === 0) return { level: 'good', word: 'Drained', text: 'Nothing was open.' };
  const told = [format.plural(websockets, 'WebSocket'), format.plural(events, 'event stream'), format.plural(requests, 'request')];
  return { level: 'good', word: 'Draining', text: `${told.join(', ')} end within ${format.duration(answer.told.within_s) || 'a moment'}.` };
}
