// The few numbers that say how the server is doing as a whole.

import { byId, el, setAttribute, setText, svg } from './dom.js';
import * as format from './format.js';
import { Spark } from './spark.js';

/** `least` keeps a line calm that is near nothing. */
const RATES = [
  { key: 'requests', title: 'Requests', of: (totals) => totals.requests_per_s, least: 2 },
  { key: 'refusals', title: 'Refusals', of: (totals) => totals.rejections_per_s, least: 1, level: 'warn' },
  { key: 'errors', title: 'Errors', of: (totals) => totals.errors_per_s, least: 1, level: 'bad' },
];

export class Tiles {
  #history;
  #rates;
  #latency;
  #open;
  #connections;

  constructor(history) {
    this.#history = history;
    const tiles = byId('tiles');
    this.#rates = RATES.map((rate) => ({ ...rate, tile: new Tile(tiles, rate.title, 'a second', rate, format.rate) }));
    const latency = { key: 'latency', least: 20 };
    this.#latency = new Tile(tiles, 'Latency p95 · p50', '', latency, format.milliseconds);
    this.#open = new Tile(tiles, 'Open streams', '');
    this.#connections = new Tile(tiles, 'Connections', '');
    this.meter = svg('rect', { height: '100%', width: '0' });
    this.#connections.element.append(svg('svg', { class: 'meter', 'aria-hidden': 'true' }, this.meter));
  }

  remember(second, { totals }) {
    for (const { key, of } of this.#rates) this.#history.add(key, second, of(totals));
    this.#history.add('latency', second, totals.p95_ms);
  }

  show({ totals, streams, connections }) {
    for (const { key, of, tile, least, level } of this.#rates) {
      tile.show(format.rate(of(totals)));
      tile.draw(this.#history.values(key), least);
      setAttribute(tile.element, 'data-level', of(totals) > 0 && level);
    }
    this.#latency.show(format.milliseconds(totals.p95_ms), `· ${format.milliseconds(totals.p50_ms)}`);
    this.#latency.draw(this.#history.values('latency'), 20);
    const { requests, events, websockets } = streams;
    this.#open.show(format.count(events + websockets), '');
    this.#open.lines([
      format.plural(websockets, 'WebSocket'),
      format.plural(events, 'event stream'),
      format.plural(requests, 'request'),
    ]);
    const { open, allowed } = connections;
    this.#connections.show(format.count(open), allowed ? `of ${format.count(allowed)}` : '');
    setAttribute(this.meter, 'width', `${Math.min(100, (100 * open) / (allowed || 1)).toFixed(1)}%`);
    setAttribute(this.#connections.element, 'data-level', allowed && open > 0.9 * allowed && 'bad');
  }
}

class Tile {
  #value = el('span', { class: 'value' }, format.UNKNOWN);
  #unit;
  #lines = null;

  constructor(tiles, title, unit, chart = null, show = null) {
    this.#unit = el('span', { class: 'unit' }, unit);
    this.spark = chart && new Spark(title, show);
    const reading = el('dd', {}, this.#value, ' ', this.#unit);
    this.element = el('div', { class: 'tile' }, el('dt', {}, title), reading);
    if (this.spark) reading.append(this.spark.element);
    tiles.append(this.element);
  }

  show(value, unit = null) {
    setText(this.#value, value);
    if (unit !== null) setText(this.#unit, unit);
  }

  draw(values, least) {
    this.spark.draw(values, least);
  }

  lines(texts) {
    this.#lines ??= texts.map(() => {
      const line = el('dd', { class: 'line' });
      this.element.append(line);
      return line;
    });
    texts.forEach((text, place) => setText(this.#lines[place], text));
  }
}
