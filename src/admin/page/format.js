// Numbers and times as people read them.

/** Where the server does not know, or has measured nothing. */
export const UNKNOWN = '–';

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export function count(value) {
  return Number.isFinite(value) ? grouped.format(value) : UNKNOWN;
}

/** Of something a second or a minute. */
export function rate(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (value === 0) return '0';
  if (value < 0.05) return '<0.1';
  return value < 9.95 ? value.toFixed(1) : grouped.format(value);
}

export function milliseconds(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  if (value < 9.95) return `${value.toFixed(1)} ms`;
  if (value < 999.5) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(value < 9950 ? 2 : 1)} s`;
}

export function percent(part) {
  if (!Number.isFinite(part)) return UNKNOWN;
  // What is not all must not read as all, nor what is not none as none.
  if (part > 0 && part < 0.01) return '<1%';
  if (part < 1 && part > 0.99) return '>99%';
  // What just misses an objective must not read as if it met it.
  return `${Math.floor(part * 100 + 1e-9)}%`;
}

const UNITS = [
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/** "3 days", "5 minutes": the largest unit that fits at least once. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return UNKNOWN;
  const [name, size] = UNITS.find(([, size]) => seconds >= size) ?? UNITS[3];
  return plural(Math.floor(seconds / size), name);
}

export function plural(number, noun, several = `${noun}s`) {
  return `${grouped.format(number)} ${number === 1 ? noun : several}`;
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });

/** Of today the time, else the day too; in this machine's zone. */
export function time(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return UNKNOWN;
  const isToday = new Date().toDateString() === at.toDateString();
  return isToday ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
}

export function date(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? UNKNOWN : day.format(at);
}
