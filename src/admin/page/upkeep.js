// What needs somebody's hand from time to time: certificates, reloads, held-back tenants, telemetry.

import { byId, cell, el, pill, Rows, rowHeader, setPill, setText, show } from './dom.js';
import * as format from './format.js';

const DAY = 86400;
/** Seconds before the end at which an operator should look, or hurry; as the alert rules have it. */
const NEAR = 14 * DAY;
const PRESSING = 2 * DAY;

export function certificateLevel({ expires_in_s: left }) {
  if (left <= PRESSING) return 'bad';
  return left <= NEAR ? 'warn' : 'good';
}

export function expiry({ expires_in_s: left }) {
  return left <= 0 ? `expired ${format.duration(-left)} ago` : `in ${format.duration(left)}`;
}

export class Certificates {
  #rows = new Rows(byId('certificate-rows'), (item) => new CertificateRow(item));

  show({ certificates = [] }) {
    const ordered = certificates.toSorted((one, other) => one.expires_in_s - other.expires_in_s);
    this.#rows.show(ordered, (it) => `${it.names.join(' ')}\n${it.expires}`);
    show(byId('certificates-table'), ordered.length > 0);
    show(byId('certificates-empty'), ordered.length === 0);
  }
}

class CertificateRow {
  #left = pill('', 'none');

  constructor({ names, issuer, expires }) {
    const [shown, others] = [names.slice(0, 4), names.length - 4];
    const list = shown.map((name) => el('li', {}, el('bdi', {}, name)));
    if (others > 0) list.push(el('li', { class: 'soft', title: names.slice(4).join(', ') }, `and ${others} more`));
    const on = el('time', { datetime: expires, title: expires, class: 'soft' }, format.date(expires));
    this.element = el(
      'tr',
      { role: 'row' },
      rowHeader({}, el('ul', { class: 'plain' }, ...list)),
      cell('Issuer', { class: 'soft half' }, issuer ?? format.UNKNOWN),
      cell('Expires', { class: 'expiry half' }, this.#left, ' ', on),
    );
  }

  update(certificate) {
    setPill(this.#left, expiry(certificate), certificateLevel(certificate));
  }
}

const OUTCOMES = {
  applied: ['applied', 'good'],
  refused: ['refused', 'bad'],
  unchanged: ['nothing changed', 'none'],
};

export class Reloads {
  #reloads = new Rows(byId('reload-list'), (item) => ({ element: reloaded(item), update() {} }));
  #held = new Rows(byId('held-list'), (item) => ({ element: held(item), update() {} }));

  show({ reloads = [], held_back: heldBack = [] }) {
    this.#reloads.show(reloads, (it) => `${it.time} ${it.outcome}`);
    this.#held.show(heldBack, (it) => `${it.tenant}\n${it.since}\n${it.serves}`);
    show(byId('held'), heldBack.length > 0);
    show(byId('reloads-empty'), reloads.length === 0 && heldBack.length === 0);
  }
}

function reloaded({ time, outcome, took_ms: took, text, problems = [] }) {
  const [word, level] = OUTCOMES[outcome] ?? [outcome, 'none'];
  const at = el('time', { datetime: time, title: time }, format.time(time));
  const line = el('p', { class: 'line' }, at, ' ', pill(word, level), ' ');
  if (Number.isFinite(took)) line.append(el('span', { class: 'soft' }, `took ${format.milliseconds(took)}`));
  // The text of a refusal repeats its problems.
  const said = text && !problems.length ? el('p', { class: 'said' }, text) : null;
  return el('li', {}, line, said, problemList(problems, outcome === 'refused'));
}

function held({ tenant, serves, since, problems = [] }) {
  const word = serves === 'nothing' ? 'serves nothing' : 'serves its last good version';
  const at = el('span', { class: 'soft' }, 'since ', el('time', { datetime: since, title: since }, format.time(since)));
  const line = el('p', { class: 'line' }, el('strong', {}, el('bdi', {}, tenant)), ' ', pill(word, serves === 'nothing' ? 'bad' : 'warn'), ' ', at);
  return el('li', {}, line, problemList(problems, true));
}

/** Also what the answer of a reload is shown with. */
export function problemList(problems, isOpen) {
  if (!problems.length) return null;
  const errors = problems.filter((it) => it.severity === 'error').length;
  const warnings = problems.length - errors;
  const told = [errors && format.plural(errors, 'error'), warnings && format.plural(warnings, 'warning')];
  const items = problems.map((it) => {
    const mark = pill(it.severity, it.severity === 'error' ? 'bad' : 'warn');
    return el('li', {}, mark, ' ', el('span', { class: 'told' }, it.text));
  });
  return el('details', { open: isOpen }, el('summary', {}, told.filter(Boolean).join(', ')), el('ul', { class: 'problems' }, ...items));
}

const OTLP = {
  ok: ['sent', 'good'],
  failing: ['cannot be sent', 'bad'],
  off: ['off', 'none'],
};

export class Telemetry {
  #facts = [];

  constructor() {
    for (const title of ['Traces and metrics by OTLP', 'Access log', 'Spans', 'Watching', 'Process']) {
      const value = el('dd');
      byId('telemetry-facts').append(el('div', {}, el('dt', {}, title), value));
      this.#facts.push(value);
    }
    this.state = pill('', 'none');
    this.#facts[0].append(this.state);
  }

  show({ telemetry = {}, pid, workers, uptime_s: uptime, version }) {
    const [, log, spans, watching, process] = this.#facts;
    setPill(this.state, ...(OTLP[telemetry.otlp] ?? [telemetry.otlp ?? 'not known', 'none']));
    setText(log, telemetry.access_log === 'off' ? 'off' : dropped(telemetry.access_log_dropped, 'line'));
    setText(spans, dropped(telemetry.spans_dropped, 'span'));
    const { watchers } = telemetry;
    setText(watching, Number.isFinite(watchers) ? `${format.plural(watchers, 'page or script', 'pages and scripts')}, of 16 at most` : format.UNKNOWN);
    setText(process, `Vestibule ${version}, pid ${pid}, ${format.plural(workers, 'worker')}, up ${format.duration(uptime)}`);
  }
}

function dropped(number, noun) {
  if (!Number.isFinite(number)) return format.UNKNOWN;
  return number === 0 ? 'nothing dropped' : `${format.plural(number, noun)} dropped since the start`;
}
