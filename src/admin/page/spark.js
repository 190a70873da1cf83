// A line of the last minutes, with its text equivalent.

import { setAttribute, svg } from './dom.js';
import { SECONDS } from './history.js';

const HEIGHT = 32;

export class Spark {
  #line;
  #area;

  /** `what` is said before the numbers: "Requests a second". */
  constructor(what, format) {
    this.what = what;
    this.format = format;
    this.#area = svg('path', { class: 'area' });
    this.#line = svg('path', { class: 'stroke' });
    this.element = svg(
      'svg',
      { class: 'spark', viewBox: `0 0 ${SECONDS - 1} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' },
      svg('path', { class: 'ground', d: `M0 ${HEIGHT - 1}H${SECONDS}` }),
      this.#area,
      this.#line,
    );
  }

  /** `least` is the smallest value that fills the height: a calm line must not look like a storm. */
  draw(values, least) {
    const known = values.filter(Number.isFinite);
    const highest = known.length ? Math.max(...known) : 0;
    const scale = (HEIGHT - 4) / Math.max(highest, least);
    const [line, area] = paths(values, (value) => HEIGHT - 1 - value * scale);
    setAttribute(this.#line, 'd', line);
    setAttribute(this.#area, 'd', area);
    const now = known.length ? this.format(known[known.length - 1]) : 'nothing';
    setAttribute(this.element, 'aria-label', `${this.what}, the last three minutes: now ${now}, at most ${this.format(highest)}`);
  }
}

/** A stroke for every stretch that was seen. */
function paths(values, y) {
  let line = '';
  let area = '';
  let start = null;
  const close = (end) => {
    if (start !== null) area += `L${end} ${HEIGHT - 1}H${start}Z`;
    start = null;
  };
  values.forEach((value, x) => {
    if (!Number.isFinite(value)) return close(x - 1);
    const at = `${x} ${y(value).toFixed(1)}`;
    line += `${start === null ? 'M' : 'L'}${at}`;
    area += start === null ? `M${x} ${HEIGHT - 1}L${at}` : `L${at}`;
    start ??= x;
    return undefined;
  });
  close(values.length - 1);
  return [line, area];
}
