// The operator's page: takes each sample of the live feed to the parts that show it.
//
// It must not ask any other server for anything, must not write markup that a name could be part
// of, and must not say more aloud than that something has changed.

import { announce, byId, setAttribute, setText, show } from './dom.js';
import { token } from './call.js';
import { Attention } from './attention.js';
import { explaining } from './explain.js';
import { Feed } from './feed.js';
import * as format from './format.js';
import { Handshakes } from './handshakes.js';
import { History } from './history.js';
import { draining, reloading } from './operate.js';
import { keyOf, Personas } from './personas.js';
import { Refusals } from './refusals.js';
import { Tiles } from './tiles.js';
import { Certificates, Reloads, Telemetry } from './upkeep.js';
import { Upstreams } from './upstreams.js';

const history = new History();
const tiles = new Tiles(history);
const parts = [
  tiles,
  new Attention(),
  new Personas(history, draining()),
  new Refusals(),
  new Handshakes(),
  new Upstreams(),
  new Certificates(),
  new Reloads(),
  new Telemetry(),
];
reloading();
explaining();

let latest = null;
let feed = null;
let state = { name: 'connecting' };
/** The state that was announced last. */
let announced = 'connecting';

function remember(overview) {
  const second = Math.round(Date.parse(overview.time) / 1000);
  tiles.remember(second, overview);
  for (const it of overview.personas) history.add(`requests\n${keyOf(it)}`, second, it.requests_per_s);
  history.tidy(second);
}

function take(overview) {
  if (latest && latest.pid !== overview.pid) announce('The server was started anew.');
  latest = overview;
  remember(overview);
  // What nobody sees is not drawn; it is remembered.
  if (!document.hidden) draw();
}

function draw() {
  if (!latest) return;
  const { version, state: server, uptime_s: uptime } = latest;
  setText(byId('version'), version);
  setText(byId('server-state'), server === 'ready' ? 'Ready' : 'Draining');
  setText(byId('server-facts'), `up ${format.duration(uptime)}`);
  for (const part of parts) part.show(latest);
}

const WORDS = {
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  paused: 'Paused',
  locked: 'Locked',
  stopped: 'Stopped',
};

/** What is said aloud when the state becomes another. */
const SAID = {
  live: 'Live again.',
  reconnecting: 'The connection was lost. Trying again.',
  paused: 'Paused. What stands here does not change.',
  locked: 'The server asks for its token.',
  stopped: 'Stopped.',
};

function changed(to) {
  state = to;
  setText(byId('feed-word'), WORDS[to.name]);
  setAttribute(byId('feed'), 'data-state', to.name);
  setText(byId('pause'), to.name === 'paused' ? 'Resume' : 'Pause');
  byId('pause').disabled = to.name === 'locked' || to.name === 'stopped';
  document.body.dataset.stale = to.name === 'live' || to.name === 'connecting' ? 'no' : 'yes';
  document.title = to.name === 'live' ? 'Vestibule' : `${WORDS[to.name]} · Vestibule`;
  trouble();
  locked(to.name === 'locked');
  const isNews = to.name !== announced && !(to.name === 'live' && announced === 'connecting');
  if (isNews && SAID[to.name]) announce(SAID[to.name]);
  announced = to.name;
}

/** Counts down where there is something to wait for. */
function trouble() {
  const isTrouble = state.name === 'reconnecting' || state.name === 'stopped';
  show(byId('trouble'), isTrouble);
  if (!isTrouble) return;
  const isOver = state.name === 'stopped';
  setText(byId('trouble-title'), isOver ? 'The server refuses this page' : 'Not connected');
  const left = Math.ceil((state.at - Date.now()) / 1000);
  const next = isOver ? '' : left > 0 ? ` Next try in ${format.plural(left, 'second')}.` : ' Trying now.';
  const old = latest ? ` What stands below is of ${format.time(latest.time)}.` : '';
  setText(byId('trouble-text'), `${state.why}${next}${old}`);
}

function locked(isLocked) {
  const was = !byId('locked').hidden;
  show(byId('locked'), isLocked);
  show(byId('main'), !isLocked || latest !== null);
  document.body.dataset.empty = isLocked && latest === null ? 'yes' : 'no';
  show(byId('forget'), token.get() !== null && !isLocked);
  if (!isLocked || was) return;
  setText(byId('token-problem'), token.get() === null ? '' : 'This is not the token of the server. Nothing was kept.');
  token.forget();
  byId('token').focus();
}

function tokens() {
  byId('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const offered = byId('token').value.trim();
    // What a header cannot carry is no token, and fetch would refuse it without a word.
    if (!/^[\x21-\x7e]+$/.test(offered)) {
      setText(byId('token-problem'), 'A token has no spaces and no letters beyond ASCII.');
      return;
    }
    token.keep(offered);
    byId('token').value = '';
    show(byId('locked'), false);
    feed.start();
  });
  byId('forget').addEventListener('click', () => {
    token.forget();
    latest = null;
    changed({ name: 'connecting' });
    window.location.reload();
  });
  // A link carries no token: it would only lead to a refusal.
  if (token.get() !== null) for (const link of document.querySelectorAll('#telemetry a')) link.removeAttribute('href');
  window.addEventListener('vestibule-locked', () => feed.start());
}

function controls() {
  byId('pause').addEventListener('click', () => (state.name === 'paused' ? feed.start() : feed.pause()));
  byId('try-again').addEventListener('click', () => (state.name === 'stopped' ? feed.start() : feed.hurry()));
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    draw();
    feed.hurry();
  });
  window.setInterval(trouble, 1000);
}

feed = new Feed('/events', take, changed);
tokens();
controls();
feed.start();
