// Refusals by reason, with what each means, and the latest ones.

import { byId, cell, el, Rows, rowHeader, setAttribute, setText, show, svg } from './dom.js';
import * as format from './format.js';
import { fullName } from './personas.js';
import { meaning } from './words.js';

/** Reasons at first. */
const TOP = 6;

export class Refusals {
  #reasons = new Rows(byId('reasons'), (item) => new ReasonRow(item));
  #recent = new Rows(byId('recent'), (item) => new RecentRow(item));
  #isWhole = false;
  #latest = [];

  constructor() {
    byId('reasons-more').addEventListener('click', () => {
      this.#isWhole = !this.#isWhole;
      this.#draw();
    });
  }

  show({ rejections = [], recent_rejections: recent = [], totals }) {
    const current = rejections.filter((it) => it.count > 0);
    const all = current.reduce((sum, it) => sum + it.count, 0);
    this.#latest = current.toSorted((one, other) => other.per_minute - one.per_minute || other.count - one.count);
    this.#latest = this.#latest.map((it) => ({ ...it, share: it.count / all }));
    this.#draw();
    const titles = new Map(rejections.map((it) => [it.code, it.title]));
    // Two of one connection may have everything in common but the request id.
    const keyed = recent.map((it) => ({ ...it, title: titles.get(it.code) ?? '' }));
    this.#recent.show(keyed, (it) => `${it.request_id}\n${it.time}\n${it.code}`);
    show(byId('recent-scroll'), recent.length > 0);
    show(byId('reasons-table'), current.length > 0);
    show(byId('refusals-empty'), current.length === 0);
    const rate = `${format.rate(totals.rejections_per_s)} a second now, ${format.count(all)} since the start`;
    setText(byId('refusals-count'), current.length ? rate : '');
  }

  #draw() {
    const shown = this.#isWhole ? this.#latest : this.#latest.slice(0, TOP);
    this.#reasons.show(shown, (it) => it.code);
    const more = byId('reasons-more');
    show(more, this.#latest.length > TOP);
    setText(more, this.#isWhole ? `Show the first ${TOP}` : `Show all ${this.#latest.length} reasons`);
  }
}

class ReasonRow {
  constructor(item) {
    this.perMinute = cell('A minute', { class: 'number' }, '');
    this.total = el('span', {}, '');
    this.bar = svg('rect', { height: '100%' });
    const bar = svg('svg', { class: 'share', 'aria-hidden': 'true' }, this.bar);
    this.where = cell('Mostly at', { class: 'where' }, '');
    const means = meaning(item.code);
    const reason = rowHeader(
      { class: 'reason' },
      el('code', {}, item.code),
      el('span', { class: 'title' }, item.title ?? ''),
      means ? el('span', { class: 'means' }, means) : null,
    );
    const total = cell('Since start', { class: 'number' }, this.total, bar);
    this.element = el('tr', { role: 'row' }, reason, this.perMinute, total, this.where);
  }

  update({ per_minute: perMinute, count, share, personas = [] }) {
    setText(this.perMinute, format.count(perMinute));
    setAttribute(this.perMinute, 'data-zero', perMinute === 0);
    setText(this.total, format.count(count));
    setAttribute(this.bar, 'width', `${(share * 100).toFixed(1)}%`);
    const names = personas.map((it) => `${fullName(it)} ${format.count(it.count)}`);
    setText(this.where, names.join(', ') || format.UNKNOWN);
  }
}

class RecentRow {
  constructor(item) {
    const time = el('time', { datetime: item.time, title: item.time }, format.time(item.time));
    const title = item.reason ?? item.title;
    const id = el('code', { class: 'id', title: item.trace_id ? `trace ${item.trace_id}` : null }, item.request_id ?? format.UNKNOWN);
    this.element = el(
      'tr',
      { role: 'row' },
      rowHeader({ class: 'when' }, time),
      cell('Where', { class: 'where bare' }, el('bdi', {}, fullName(item))),
      cell('Reason', { class: 'long bare' }, el('code', {}, item.code), title ? el('span', { class: 'means' }, title) : null),
      cell('Request id', { class: 'long bare' }, id),
    );
  }

  // What has happened does not change.
  update() {}
}
