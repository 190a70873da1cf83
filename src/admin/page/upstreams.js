// The servers behind the door: who is well, who is out, how long they take.

import { byId, cell, el, pill, Rows, rowHeader, setPill, setText, show } from './dom.js';
import * as format from './format.js';

/** Upstreams at first; what is sick is always shown. */
const TOP = 12;

const STATES = {
  healthy: ['healthy', 'good', ''],
  slow_start: ['starting', 'good', 'Back from an outage: its share grows.'],
  unhealthy: ['unhealthy', 'bad', 'Its health checks fail.'],
  ejected: ['ejected', 'bad', 'Requests failed on it in a row: it is left out for a while.'],
};

const stateOf = (server) => STATES[server.state] ?? [server.state, 'warn', ''];
const isOut = (server) => stateOf(server)[1] === 'bad';

/** How an upstream is, in a word: `good`, `warn` where some servers are out, `bad` where all are. */
export function levelOf({ servers }) {
  const out = servers.filter(isOut).length;
  if (out === 0) return 'good';
  return out === servers.length ? 'bad' : 'warn';
}

export class Upstreams {
  #rows = new Rows(byId('upstream-list'), (item) => new Card(item));
  #isWhole = false;
  #latest = [];

  constructor() {
    byId('upstreams-more').addEventListener('click', () => {
      this.#isWhole = !this.#isWhole;
      this.#draw();
    });
  }

  show({ upstreams = [], upstream_count: count = upstreams.length }) {
    const rank = { bad: 0, warn: 1, good: 2 };
    const ordered = (one, other) => rank[levelOf(one)] - rank[levelOf(other)] || (one.name < other.name ? -1 : 1);
    this.#latest = upstreams.toSorted(ordered);
    this.#draw();
    show(byId('upstreams-empty'), upstreams.length === 0);
    const sick = upstreams.filter((it) => levelOf(it) !== 'good').length;
    const servers = upstreams.reduce((sum, it) => sum + it.servers.length, 0);
    const listed = count > upstreams.length ? `, ${format.count(upstreams.length)} listed` : `, ${format.plural(servers, 'server')}`;
    const all = `${format.plural(count, 'upstream')}${listed}`;
    setText(byId('upstreams-count'), upstreams.length ? `${all}${sick ? `; ${sick} not well` : ', all well'}` : '');
  }

  #draw() {
    const sick = this.#latest.filter((it) => levelOf(it) !== 'good').length;
    const shown = this.#isWhole ? this.#latest : this.#latest.slice(0, Math.max(TOP, sick));
    this.#rows.show(shown, (it) => it.name);
    const more = byId('upstreams-more');
    show(more, this.#latest.length > TOP);
    setText(more, this.#isWhole ? `Show the first ${TOP}` : `Show all ${this.#latest.length}`);
  }
}

class Card {
  #state = pill('', 'none');
  #numbers = el('p', { class: 'numbers' });
  #body = el('tbody', { role: 'rowgroup' });
  #rows = new Rows(this.#body, (server) => new ServerRow(server));

  constructor({ name }) {
    const title = el('h3', {}, el('bdi', {}, name));
    const heads = ['Server', 'State', 'Latency', 'Active', 'Weight'];
    const head = heads.map((text, place) =>
      el('th', { role: 'columnheader', scope: 'col', class: place > 1 ? 'number' : null }, text),
    );
    const table = el(
      'table',
      { role: 'table', class: 'cards' },
      el('caption', { class: 'unseen' }, `Servers of ${name}`),
      el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...head)),
      this.#body,
    );
    this.table = table;
    this.element = el('article', { class: 'upstream' }, el('div', { class: 'line' }, title, this.#state, this.#numbers), table);
  }

  update(upstream) {
    const level = levelOf(upstream);
    const out = upstream.servers.filter(isOut).length;
    const words = { good: 'well', warn: `${out} of ${upstream.servers.length} out`, bad: 'all out' };
    setPill(this.#state, words[level], level);
    setText(this.#numbers, numbersOf(upstream).join(' · '));
    this.#rows.show(upstream.servers, (server) => server.address);
    // Without health checks nobody measures it.
    const isMeasured = upstream.servers.some((server) => Number.isFinite(server.latency_ms));
    this.table.classList.toggle('unmeasured', !isMeasured);
  }
}

function numbersOf({ requests_per_s: requests, failures_per_s: failures, p50_ms: p50, p95_ms: p95, circuit }) {
  const told = [];
  if (Number.isFinite(requests)) told.push(`${format.rate(requests)} requests/s`);
  if (failures > 0) told.push(`${format.rate(failures)} failures/s`);
  if (Number.isFinite(p50)) told.push(`p50 ${format.milliseconds(p50)}`);
  if (Number.isFinite(p95)) told.push(`p95 ${format.milliseconds(p95)}`);
  return [...told, ...circuitOf(circuit)];
}

/** As far as a limit is set. */
function circuitOf(circuit) {
  if (typeof circuit === 'string') return [`circuit ${circuit}`];
  if (!circuit) return [];
  const told = circuit.panics ? ['too few are well: all are tried'] : [];
  if (circuit.max_connections) told.push(`${format.count(circuit.active)} of ${format.count(circuit.max_connections)} connections`);
  if (circuit.max_pending) told.push(`${format.count(circuit.pending)} of ${format.count(circuit.max_pending)} waiting`);
  return told;
}

class ServerRow {
  #state = pill('', 'none');
  #means = el('span', { class: 'means' });
  #latency = cell('Latency', { class: 'number' }, '');
  #active = cell('Active', { class: 'number' }, '');
  #weight = cell('Weight', { class: 'number' }, '');

  constructor(server) {
    const name = rowHeader({ class: 'address' }, el('bdi', {}, server.address));
    const state = cell('State', { class: 'long bare' }, this.#state, this.#means);
    this.element = el('tr', { role: 'row' }, name, state, this.#latency, this.#active, this.#weight);
  }

  update(server) {
    const [word, level, means] = stateOf(server);
    setPill(this.#state, word, level);
    setText(this.#means, means);
    setText(this.#latency, format.milliseconds(server.latency_ms));
    setText(this.#active, format.count(server.active));
    setText(this.#weight, Number.isFinite(server.weight) ? `${server.weight}%` : format.UNKNOWN);
  }
}
