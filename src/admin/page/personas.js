// The table of personas and sites: who is busy, who refuses, who is slow.
//
// A row keeps its place while somebody is at it. The server sends the busiest; a search asks it for
// the others.

import { announce, byId, cell, el, Rows, rowHeader, setAttribute, setText, show } from './dom.js';
import * as format from './format.js';
import { answerOf } from './call.js';
import { Spark } from './spark.js';

/** Rows at first. */
const TOP = 25;
/** Milliseconds between changes of the order, and between questions of a search. */
const CALM = 5000;
const PAUSE_OF_TYPING = 250;
const CAN_HOVER = window.matchMedia('(hover: hover)');

const COLUMNS = [
  { key: 'name', title: 'Persona', of: (it) => fullName(it), rising: true },
  { key: 'history', title: 'Three minutes', chart: true },
  { key: 'requests', title: 'Requests/s', of: (it) => it.requests_per_s, show: format.rate },
  { key: 'errors', title: 'Errors/s', of: (it) => it.errors_per_s, show: format.rate, bad: true },
  { key: 'refused', title: 'Refused/s', of: (it) => it.rejections_per_s, show: format.rate, warn: true },
  { key: 'p50', title: 'p50', of: (it) => it.p50_ms, show: format.milliseconds },
  { key: 'p95', title: 'p95', of: (it) => it.p95_ms, show: format.milliseconds },
  { key: 'open', title: 'Requests open', of: (it) => it.open?.requests, show: format.count },
  { key: 'events', title: 'Event streams', of: (it) => it.open?.events, show: format.count },
  { key: 'sockets', title: 'WebSockets', of: (it) => it.open?.websockets, show: format.count },
];

const nameOf = (it) => it.persona ?? it.site;
const isSite = (it) => it.site !== undefined;
/** A persona and a site may have the same name. */
export const keyOf = (it) => `${isSite(it) ? 'site' : 'persona'}\n${it.tenant}\n${nameOf(it)}`;

/** What no persona or site has the address of is nobody's. */
export const fullName = (it) => (it.tenant ? [it.tenant, nameOf(it)].filter(Boolean).join('/') : 'nobody’s');

/** Those that share their numbers are told of in one row: nobody in particular, who could be drained. */
const isSeveral = (it) => nameOf(it) === '_other';

/** As the header of its row. */
export function titleOf(it) {
  if (!it.tenant) return rowHeader({ class: 'name' }, el('span', { class: 'tenant' }, fullName(it)));
  const tenant = el('span', { class: 'tenant' }, el('bdi', {}, it.tenant), '/');
  const header = rowHeader({ class: 'name' }, tenant, el('bdi', {}, nameOf(it)));
  if (isSite(it)) header.append(' ', el('span', { class: 'kind' }, 'site'));
  return header;
}

/** As `/drain` wants it named. */
export const whose = (it) => ({ tenant: it.tenant, [isSite(it) ? 'site' : 'persona']: nameOf(it) });

export class Personas {
  #history;
  #onDrain;
  #rows;
  #sort = { column: COLUMNS[2], rising: false };
  #order = [];
  #orderedAt = 0;
  #isWhole = false;
  #search = '';
  /** What the server found beyond the busiest, and when it was asked. */
  #found = null;
  #askedAt = 0;
  #latest = null;

  constructor(history, onDrain) {
    this.#history = history;
    this.#onDrain = onDrain;
    this.#rows = new Rows(byId('personas-rows'), (item) => new PersonaRow(item, history, onDrain));
    this.#head();
    this.#tools();
  }

  show(overview) {
    this.#latest = overview;
    if (this.#search) this.#ask();
    this.#draw();
  }

  #matching() {
    const items = merged(this.#latest.personas, this.#found);
    const words = this.#words();
    const text = (it) => [fullName(it), ...(it.hosts ?? [])].join(' ').toLowerCase();
    return items.filter((it) => words.every((word) => text(it).includes(word)));
  }

  #words() {
    return this.#search.toLowerCase().split(/[\s/]+/).filter(Boolean);
  }

  #draw() {
    if (!this.#latest) return;
    const matching = this.#matching();
    const ordered = this.#ordered(matching);
    const isShort = !this.#isWhole && ordered.length > TOP;
    const shown = isShort ? ordered.slice(0, TOP) : ordered;
    const focused = isShort && ordered.find((it) => this.#rows.get(keyOf(it))?.element.contains(document.activeElement));
    if (focused && !shown.includes(focused)) shown.push(focused);
    this.#rows.show(shown, keyOf, !this.#isHeld());
    this.#around(matching.length, isShort);
  }

  /** The order of a moment ago, for as long as it is not due; who is new comes last until then. */
  #ordered(items) {
    if (!this.#isHeld() && performance.now() - this.#orderedAt > CALM) this.#reorder(items);
    const places = new Map(this.#order.map((key, place) => [key, place]));
    const place = (it) => places.get(keyOf(it)) ?? Infinity;
    return items.toSorted((one, other) => {
      const [a, b] = [place(one), place(other)];
      return a === b ? 0 : a - b;
    });
  }

  #reorder(items) {
    const { column, rising } = this.#sort;
    const sign = rising ? 1 : -1;
    const value = (it) => (column.key === 'requests' ? this.#history.mean(`requests\n${keyOf(it)}`) : (column.of(it) ?? -1));
    const ranked = items.map((it) => ({ key: keyOf(it), name: fullName(it), value: value(it) }));
    ranked.sort((one, other) => {
      if (one.value !== other.value) return (one.value < other.value ? -1 : 1) * sign;
      return one.name < other.name ? -1 : 1;
    });
    this.#order = ranked.map(({ key }) => key);
    this.#orderedAt = performance.now();
  }

  #isHeld() {
    const rows = byId('personas-rows');
    // On a touch screen what was tapped last counts as hovered for good.
    return (CAN_HOVER.matches && rows.matches(':hover')) || rows.contains(document.activeElement);
  }

  #again() {
    this.#orderedAt = -Infinity;
    this.#draw();
  }

  #around(matching, isShort) {
    const { persona_count: personas, site_count: sites, tenants } = this.#latest;
    const of = `${format.plural(personas, 'persona')}${sites ? ` and ${format.plural(sites, 'site')}` : ''} of ${format.plural(tenants, 'tenant')}`;
    const listed = this.#latest.personas.length;
    const busiest = personas + sites > listed && !this.#search ? `; the ${format.count(listed)} busiest can be sorted, search finds all` : '';
    setText(byId('personas-count'), `${of}${busiest}`);
    show(byId('personas-table'), matching > 0);
    const empty = byId('personas-empty');
    show(empty, matching === 0);
    if (matching === 0) setText(empty, this.#emptiness(personas + sites));
    const more = byId('personas-more');
    show(more, matching > TOP);
    setText(more, isShort ? `Show all ${format.count(matching)}` : `Show the first ${TOP}`);
  }

  #emptiness(configured) {
    if (configured === 0) {
      return 'No persona is configured yet. Add [tenants.NAME.personas.NAME] to the configuration and save it: it appears here by itself.';
    }
    return this.#search ? `No tenant, persona or site has “${this.#search}” in its name or host.` : 'No traffic yet.';
  }

  #head() {
    const sort = byId('sort');
    for (const column of COLUMNS) {
      const kind = column.show ? 'number' : column.chart ? 'chart' : null;
      const attributes = { role: 'columnheader', scope: 'col', class: kind, 'data-key': column.key };
      const title = column.chart ? column.title : el('button', { type: 'button', class: 'sort' }, column.title);
      const header = el('th', attributes, title);
      column.header = header;
      byId('personas-head').append(header);
      if (column.chart) continue;
      sort.append(el('option', { value: column.key }, column.title));
      title.addEventListener('click', () => this.#sortBy(column));
    }
    const actions = el('span', { class: 'unseen' }, 'Actions');
    byId('personas-head').append(el('th', { role: 'columnheader', scope: 'col' }, actions));
    sort.value = this.#sort.column.key;
    sort.addEventListener('change', () => this.#sortBy(COLUMNS.find((column) => column.key === sort.value), true));
    this.#mark();
  }

  #sortBy(column, isChosen = false) {
    const isSame = this.#sort.column === column && !isChosen;
    this.#sort = { column, rising: isSame ? !this.#sort.rising : Boolean(column.rising) };
    byId('sort').value = column.key;
    this.#mark();
    this.#again();
    announce(`Sorted by ${column.title}, ${this.#sort.rising ? 'rising' : 'falling'}`);
  }

  #mark() {
    for (const column of COLUMNS) {
      const isSorted = column === this.#sort.column;
      setAttribute(column.header, 'aria-sort', isSorted && (this.#sort.rising ? 'ascending' : 'descending'));
    }
  }

  #tools() {
    let typing;
    byId('search').addEventListener('input', (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        this.#search = event.target.value.trim();
        this.#found = null;
        this.#askedAt = 0;
        if (!this.#latest) return;
        this.show(this.#latest);
        this.#again();
        const found = this.#rows.keys.length;
        if (this.#search) announce(`${format.plural(found, 'row')} shown`);
      }, PAUSE_OF_TYPING);
    });
    byId('personas-more').addEventListener('click', () => {
      this.#isWhole = !this.#isWhole;
      this.#again();
    });
  }

  /** Everybody, not only the busiest, and by host too; the server looks for one word. */
  async #ask() {
    if (performance.now() - this.#askedAt < CALM && this.#askedAt) return;
    this.#askedAt = performance.now();
    const search = this.#search;
    const longest = this.#words().sort((one, other) => other.length - one.length)[0] ?? '';
    const query = new URLSearchParams({ search: longest, limit: '100' });
    const answer = await answerOf(`/personas?${query}`).catch(() => null);
    if (!answer?.ok || search !== this.#search) return;
    const isNew = this.#found === null;
    this.#found = answer.told.personas ?? [];
    if (isNew) this.#again();
  }
}

/** The busiest, whose numbers are fresher, and whom else a search has found. */
function merged(busiest, found) {
  if (!found) return busiest;
  const fresh = new Map(busiest.map((it) => [keyOf(it), it]));
  const known = new Set(found.map(keyOf));
  const both = found.map((it) => ({ ...it, ...fresh.get(keyOf(it)) }));
  return [...both, ...busiest.filter((it) => !known.has(keyOf(it)))];
}

class PersonaRow {
  #cells = [];
  #history;
  #item;

  constructor(item, history, onDrain) {
    this.#history = history;
    this.key = `requests\n${keyOf(item)}`;
    this.spark = new Spark(`Requests a second of ${fullName(item)}`, format.rate);
    const cells = COLUMNS.slice(2).map((column) => {
      const made = cell(column.title, { class: 'number', 'data-key': column.key }, '');
      this.#cells.push({ column, made });
      return made;
    });
    const drain = el('button', { type: 'button', class: 'small' }, 'Drain…', el('span', { class: 'unseen' }, ` ${fullName(item)}`));
    drain.addEventListener('click', () => onDrain(this.#item));
    const chart = cell('Three minutes', { class: 'chart' }, this.spark.element);
    const action = cell('', { class: 'action' }, item.tenant && !isSeveral(item) ? drain : null);
    this.element = el('tr', { role: 'row' }, titleOf(item), chart, ...cells, action);
  }

  update(item) {
    this.#item = item;
    for (const { column, made } of this.#cells) {
      const value = column.of(item);
      setText(made, column.show(value));
      const level = value > 0 ? (column.bad && 'bad') || (column.warn && 'warn') : null;
      setAttribute(made, 'data-level', level);
      setAttribute(made, 'data-zero', value === 0);
    }
    this.spark.draw(this.#history.values(this.key), 1);
  }
}
