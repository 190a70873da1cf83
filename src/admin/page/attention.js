// The one place that says whether anybody needs to do something: derived from a sample, worst first.
//
// What comes and goes with each second must not flicker, and must not be announced each time.

import { announce, byId, el, Rows, setAttribute, setText, show } from './dom.js';
import * as format from './format.js';
import { isLate } from './handshakes.js';
import { fullName, keyOf } from './personas.js';
import { certificateLevel, expiry } from './upkeep.js';
import { levelOf } from './upstreams.js';

/** Milliseconds that a matter stays after it was last seen, and for which it is not announced again. */
const STAYS = 10_000;
const QUIET = 120_000;
/** Of the requests, where there is traffic to speak of: a share that the alert rules call an outage. */
const FAILING = 0.05;
/** More would not be read. */
const LISTED = 12;

export class Attention {
  #rows = new Rows(byId('attention-list'), (item) => new Item(item));
  #seen = new Map();
  #announced = new Map();
  #dropped = new Map();

  show(overview) {
    const now = performance.now();
    for (const matter of [...matters(overview), ...this.#drops(overview)]) {
      this.#seen.set(matter.key, { ...matter, at: now });
    }
    for (const [key, { at }] of this.#seen) if (now - at > STAYS) this.#seen.delete(key);
    const current = [...this.#seen.values()].sort((one, other) => Number(other.level === 'bad') - Number(one.level === 'bad'));
    this.#rows.show(current.slice(0, LISTED), (it) => it.key);
    show(byId('attention-list'), current.length > 0);
    const title = current.length ? `${format.plural(current.length, 'thing')} ${current.length === 1 ? 'needs' : 'need'} attention` : 'Nothing needs attention';
    setText(byId('attention-title'), title);
    setAttribute(byId('attention'), 'data-level', current.some((it) => it.level === 'bad') ? 'bad' : current.length ? 'warn' : 'good');
    this.#speak(current, now);
  }

  #speak(current, now) {
    const news = current.filter(({ key }) => now - (this.#announced.get(key) ?? -Infinity) > QUIET);
    for (const { key } of current) this.#announced.set(key, now);
    if (news.length) announce(`Needs attention: ${news.slice(0, 3).map((it) => it.title).join('. ')}`);
  }

  /** What was dropped long ago is told below; what is being dropped now is news. */
  #drops({ telemetry = {} }) {
    const found = [];
    for (const [key, noun] of [['access_log_dropped', 'access log line'], ['spans_dropped', 'span']]) {
      const number = telemetry[key] ?? 0;
      const before = this.#dropped.get(key) ?? number;
      this.#dropped.set(key, number);
      if (number > before) {
        found.push({ key, level: 'warn', title: `${format.plural(number - before, noun)} dropped in this second`, text: 'Whoever takes them cannot keep up; requests do not wait.', link: '#telemetry' });
      }
    }
    return found;
  }
}

class Item {
  constructor({ link }) {
    this.link = el('a', { href: link });
    this.text = el('span', { class: 'means' });
    this.element = el('li', {}, this.link, ' ', this.text);
  }

  update({ level, title, text }) {
    setAttribute(this.element, 'data-level', level);
    setText(this.link, title);
    setText(this.text, text);
  }
}

function matters(overview) {
  return [
    ...ofServer(overview),
    ...(overview.upstreams ?? []).filter((it) => levelOf(it) !== 'good').map(ofUpstream),
    ...(overview.held_back ?? []).map(ofHeldBack),
    ...ofReload(overview.reloads ?? []),
    ...(overview.certificates ?? []).filter((it) => certificateLevel(it) !== 'good').map(ofCertificate),
    ...overview.personas.flatMap(ofPersona),
  ];
}

function ofServer({ state, connections, telemetry = {} }) {
  const found = [];
  if (state === 'draining') {
    found.push({ key: 'draining', level: 'warn', title: 'The server is draining', text: 'It takes nothing new and ends when its streams have.', link: '#personas' });
  }
  if (connections.allowed && connections.open > 0.9 * connections.allowed) {
    const text = `${format.count(connections.open)} of ${format.count(connections.allowed)} are open: [server.limits] connections.`;
    found.push({ key: 'connections', level: 'bad', title: 'Connections are nearly used up', text, link: '#personas' });
  }
  if (telemetry.otlp === 'failing') {
    found.push({ key: 'otlp', level: 'warn', title: 'Telemetry cannot be sent', text: 'The collector of [telemetry] otlp_endpoint does not take it.', link: '#telemetry' });
  }
  return found;
}

function ofUpstream(upstream) {
  const level = levelOf(upstream);
  const out = upstream.servers.filter((server) => server.state === 'unhealthy' || server.state === 'ejected');
  const title = level === 'bad' ? `No server of ${upstream.name} is well` : `${format.plural(out.length, 'server')} of ${upstream.name} ${out.length === 1 ? 'is' : 'are'} out`;
  const text = `${out.slice(0, 3).map((server) => server.address).join(', ')}: is the app running?`;
  return { key: `upstream\n${upstream.name}`, level, title, text, link: '#upstreams' };
}

function ofHeldBack({ tenant, serves }) {
  const level = serves === 'nothing' ? 'bad' : 'warn';
  const text = serves === 'nothing' ? 'Its file has errors and never had a good version: it serves nothing.' : 'Its file has errors: its last good version serves.';
  return { key: `held\n${tenant}`, level, title: `Tenant ${tenant} is held back`, text, link: '#reloads' };
}

function ofReload([latest]) {
  if (latest?.outcome !== 'refused') return [];
  return [{ key: 'reload', level: 'bad', title: 'The last reload was refused', text: 'The configuration before it serves.', link: '#reloads' }];
}

function ofCertificate(certificate) {
  const isOver = certificate.expires_in_s <= 0;
  const title = `The certificate of ${certificate.names[0]} ${isOver ? 'has expired' : `expires ${expiry(certificate)}`}`;
  const text = isOver ? 'Browsers refuse it.' : 'Renewed files are taken up by themselves.';
  return { key: `certificate\n${certificate.names.join(' ')}`, level: certificateLevel(certificate), title, text, link: '#certificates' };
}

function ofPersona(it) {
  const found = [];
  const name = fullName(it);
  const share = it.errors_per_s / it.requests_per_s;
  if (it.requests_per_s >= 1 && share > FAILING) {
    found.push({ key: `errors\n${keyOf(it)}`, level: 'bad', title: `${format.percent(share)} of the requests of ${name} fail`, text: 'Refusals say whether it is the app.', link: '#refusals' });
  }
  if (it.handshake && isLate(it.handshake)) {
    const late = format.percent(1 - it.handshake.within_objective);
    found.push({ key: `late\n${keyOf(it)}`, level: 'warn', title: `${late} of the handshakes of ${name} take over a second`, text: 'The objective is 5% at most.', link: '#handshake' });
  }
  return found;
}
