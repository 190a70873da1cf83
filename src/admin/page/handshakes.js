// From ready to acknowledged, persona by persona, against the objective of one second.

import { byId, cell, el, Rows, setAttribute, setText, show, svg } from './dom.js';
import * as format from './format.js';
import { keyOf, titleOf } from './personas.js';

/** Milliseconds. */
const OBJECTIVE = 1000;
/** What the chart's width stands for. */
const SCALE = 2 * OBJECTIVE;
/** Of the launches; as the alert rule has it. */
export const WANTED = 0.95;
/** Fewer launches say nothing about a share. */
export const TELLING = 20;

/** Whether too many launches are late. */
export const isLate = (handshake) => handshake.count >= TELLING && handshake.within_objective < WANTED;

export class Handshakes {
  #rows = new Rows(byId('handshakes'), (item) => new Row(item));

  show({ personas }) {
    const measured = personas.filter((it) => it.handshake?.count > 0);
    measured.sort((one, other) => other.handshake.p95_ms - one.handshake.p95_ms || (keyOf(one) < keyOf(other) ? -1 : 1));
    // The late ones come first; an order that follows each millisecond could not be read.
    measured.sort((one, other) => Number(isLate(other.handshake)) - Number(isLate(one.handshake)));
    const isKnown = new Set(this.#rows.keys);
    const hasSame = measured.length === isKnown.size && measured.every((it) => isKnown.has(keyOf(it)));
    this.#rows.show(measured.slice(0, 50), keyOf, !hasSame);
    show(byId('handshake-table'), measured.length > 0);
    show(byId('handshake-empty'), measured.length === 0);
  }
}

class Row {
  #launches = cell('Launches', { class: 'number' }, '');
  #p50 = cell('p50', { class: 'number' }, '');
  #p95 = cell('p95', { class: 'number' }, '');
  #share = el('span', {}, '');
  #word = el('span', { class: 'unseen' }, '');
  #span = svg('line', { class: 'span', y1: '50%', y2: '50%' });
  #middle = svg('circle', { class: 'middle', cy: '50%', r: '4' });
  #late = svg('circle', { class: 'late', cy: '50%', r: '4' });
  #chart = svg(
    'svg',
    // The same numbers stand beside it.
    { class: 'track', 'aria-hidden': 'true' },
    svg('line', { class: 'ground', x1: '0', x2: '100%', y1: '50%', y2: '50%' }),
    svg('line', { class: 'objective', x1: '50%', x2: '50%', y1: '0', y2: '100%' }),
    this.#span,
    this.#middle,
    this.#late,
  );

  constructor(item) {
    const chart = cell('0 to 2 s', { class: 'chart' }, this.#chart);
    this.share = cell('In time', { class: 'number' }, this.#share, this.#word);
    this.element = el('tr', { role: 'row' }, titleOf(item), this.#launches, this.#p50, this.#p95, chart, this.share);
  }

  update({ handshake }) {
    const { count, p50_ms: p50, p95_ms: p95, within_objective: within } = handshake;
    setText(this.#launches, format.count(count));
    setText(this.#p50, format.milliseconds(p50));
    setText(this.#p95, format.milliseconds(p95));
    setText(this.#share, format.percent(within));
    const level = isLate(handshake) ? 'bad' : within < WANTED ? 'warn' : 'good';
    setText(this.#word, level === 'good' ? '' : ', less than the objective');
    setAttribute(this.share, 'data-level', level === 'good' ? null : level);
    setAttribute(this.element, 'data-level', level);
    const [from, to] = [place(p50), place(p95)];
    for (const [element, name, value] of [
      [this.#span, 'x1', from],
      [this.#span, 'x2', to],
      [this.#middle, 'cx', from],
      [this.#late, 'cx', to],
    ]) {
      setAttribute(element, name, value);
    }
  }
}

/** On the chart, a little within its ends so that the dots are whole. */
function place(milliseconds) {
  const part = Math.min(1, Math.max(0, (milliseconds || 0) / SCALE));
  return `${(2 + 96 * part).toFixed(1)}%`;
}
