// What the page remembers of the last minutes: the server keeps no history, and forgets nothing here.
//
// A second that was not seen (paused, reconnecting, not among the busiest) is a gap, not a zero.

/** Three minutes of seconds. */
export const SECONDS = 180;

class Series {
  #values = new Float64Array(SECONDS).fill(NaN);
  #next = 0;
  /** The second of the newest value. */
  at = null;

  add(second, value) {
    // From a clock that was set back, or a server that was away longer than it is remembered.
    const skipped = this.at === null ? 1 : second - this.at;
    if (skipped === 0) this.#next -= 1;
    // The server's seconds are a little longer than a second: now and then one of ours has no sample.
    if (skipped === 2) this.#push(value);
    else if (skipped < 0 || skipped > SECONDS) this.#values.fill(NaN);
    else for (let gap = 1; gap < skipped; gap += 1) this.#push(NaN);
    this.at = second;
    this.#push(value);
  }

  #push(value) {
    this.#values[((this.#next % SECONDS) + SECONDS) % SECONDS] = value;
    this.#next += 1;
  }

  /** Oldest first. */
  values() {
    const start = ((this.#next % SECONDS) + SECONDS) % SECONDS;
    return Array.from({ length: SECONDS }, (_, place) => this.#values[(start + place) % SECONDS]);
  }
}

export class History {
  #series = new Map();

  add(key, second, value) {
    if (!this.#series.has(key)) this.#series.set(key, new Series());
    this.#series.get(key).add(second, Number.isFinite(value) ? value : NaN);
  }

  values(key) {
    return this.#series.get(key)?.values() ?? new Array(SECONDS).fill(NaN);
  }

  /** Of the last ten seconds that were seen; one second says little about who is busy. */
  mean(key) {
    const known = this.values(key).slice(-10).filter(Number.isFinite);
    return known.reduce((sum, value) => sum + value, 0) / (known.length || 1);
  }

  /** What nobody has added to for as long as it is remembered. */
  tidy(second) {
    for (const [key, series] of this.#series) {
      if (Math.abs(second - series.at) > SECONDS) this.#series.delete(key);
    }
  }
}
