// The host page around the launcher: who is signed in, which way the text runs, and what passed
// between the page and the frame, in milliseconds.

import { startBeacon } from './beacon.js';
import { readUserId, startLauncher } from './launcher.js';
import { watchTrust } from './trust.js';

const persona = document.body.dataset.persona;
const integerOnly = document.body.dataset.requireUserId === 'true';
const FIRST_USERS = { public: '', customer: '12345', employee: '2041', test: 'tester-7' };
const ACK_LIMIT_MS = 1000;

const byId = (id) => document.getElementById(id);

// Kept from visit to visit where the browser allows it.
const memory = {
  get(key, fallback) {
    try {
      return window.localStorage.getItem(`demo.${key}`) ?? fallback;
    } catch {
      return fallback;
    }
  },
  set(key, value) {
    try {
      window.localStorage.setItem(`demo.${key}`, value);
    } catch {
      // Private windows may refuse; the page works without.
    }
  },
};

// ---- the event log ----

let pressedAt = null;
let configAt = null;

function note(text, { detail, kind, ms } = {}) {
  const item = document.createElement('li');
  const time = document.createElement('time');
  const words = document.createElement('span');
  const since = ms ?? (pressedAt === null ? null : performance.now() - pressedAt);
  time.textContent = since === null ? '' : `${Math.round(since)} ms`;
  words.textContent = text;
  if (kind) item.dataset.kind = kind;
  if (detail) {
    const code = document.createElement('code');
    code.textContent = detail;
    words.append(code);
  }
  item.append(time, words);
  const log = byId('log');
  log.append(item);
  log.scrollTop = log.scrollHeight;
}

function step(name, text, state) {
  const element = byId(`step-${name}`);
  element.querySelector('.ms').textContent = text;
  if (state) element.dataset.state = state;
  else delete element.dataset.state;
}

function resetSteps() {
  step('hidden', 'until pressed', 'done');
  for (const name of ['ready', 'config', 'ack']) step(name, '–');
}

// The checklist wants the URL and the payload to say the same.
function sameInUrl(payload, url) {
  const query = new URL(url).searchParams;
  return Object.entries(payload).every(([name, value]) => query.get(name) === String(value));
}

const sincePress = () => `${Math.round(performance.now() - pressedAt)} ms`;

const reports = {
  open() {
    pressedAt = performance.now();
    resetSteps();
    step('hidden', 'shown', 'done');
    note('Launcher pressed, frame shown');
    trust.expectReady();
    beacon.shown();
  },
  url({ url }) {
    note('The frame’s URL carries the parameters', { detail: new URL(url).search });
  },
  waiting() {
    note('Configuration waits until the frame is ready');
  },
  ready({ configSent, launch }) {
    trust.ready();
    beacon.ready(launch);
    if (pressedAt === null) {
      note('chat-embed-ready from the frame');
      return;
    }
    // Not again for a chat that loads anew because it has changed hands.
    if (!byId('step-ready').dataset.state) step('ready', sincePress(), 'done');
    note('chat-embed-ready from the frame', {
      detail: configSent ? 'its configuration was posted before' : undefined,
    });
  },
  config({ payload, url }) {
    configAt = performance.now();
    beacon.config();
    step('config', sincePress(), 'done');
    note('chat-embed-config to the frame', { detail: JSON.stringify(payload) });
    if (url === null) note('By message alone: the chat changes hands');
    else if (sameInUrl(payload, url)) note('URL and payload say the same', { kind: 'good' });
    else note('URL and payload differ', { kind: 'bad', detail: url });
  },
  ack({ launch }) {
    const took = configAt === null ? 0 : performance.now() - configAt;
    const late = took > ACK_LIMIT_MS;
    step('ack', `${Math.round(took)} ms`, late ? 'late' : 'done');
    note(`chat-embed-ack ${Math.round(took)} ms after the configuration`, {
      kind: late ? 'bad' : 'good',
    });
    beacon.ended('ack', { launch });
  },
  error({ code, title, launch }) {
    step('ack', 'refused', 'late');
    note(`chat-embed-error: ${code}`, { kind: 'bad', detail: title });
    beacon.ended('error', { code, launch });
  },
  told({ outcome, shown, ready, ended }) {
    const took = outcome === 'ack' ? `${Math.round(ended - ready)} ms from ready` : `${Math.round(ended - shown)} ms`;
    note('Told Vestibule by beacon:', { detail: `${outcome}, ${took}` });
  },
  refused() {
    note('Not opened: a valid user id is required', { kind: 'bad' });
    byId('user-problem').textContent = 'This persona needs a user id before its chat can open.';
    editUser();
  },
  close() {
    trust.forget();
    beacon.forget();
    note('Closed; the next opening sends a fresh configuration');
    pressedAt = null;
    configAt = null;
    resetSteps();
  },
  untrusted({ connected }) {
    note(connected ? 'No chat-embed-ready' : 'The chat’s host cannot be reached', { kind: 'bad' });
  },
};

// ---- who is signed in ----

function showUser() {
  const user = memory.get(`user.${persona}`, FIRST_USERS[persona]);
  // What a server-rendered page would write into itself.
  window.currentCustomerId = readUserId(user, integerOnly) ?? undefined;
  const signedIn = window.currentCustomerId !== undefined;
  byId('user-shown').textContent = user;
  byId('signed-in').hidden = !signedIn;
  byId('signed-out').hidden = signedIn;
  byId('user-form').hidden = true;
  byId('user-actions').hidden = false;
  byId('change-user').textContent = signedIn ? 'Change user' : 'Sign in';
  byId('sign-out').hidden = !signedIn;
}

function editUser() {
  byId('user-form').hidden = false;
  byId('user-actions').hidden = true;
  const field = byId('user-field');
  field.inputMode = integerOnly ? 'numeric' : 'text';
  field.value = memory.get(`user.${persona}`, FIRST_USERS[persona]);
  field.focus();
  field.select();
}

function setUser(user) {
  memory.set(`user.${persona}`, user);
  byId('user-problem').textContent = '';
  showUser();
  if (!launcher.isOpen()) return;
  note('Another user, while the chat is open');
  launcher.update();
}

byId('change-user').addEventListener('click', editUser);
byId('sign-out').addEventListener('click', () => setUser(''));
byId('user-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const user = byId('user-field').value.trim();
  if (readUserId(user, integerOnly) === null) {
    byId('user-problem').textContent = integerOnly
      ? 'A user id here is a positive whole number, such as 12345.'
      : 'A user id here is up to 128 letters, digits, dots, colons, dashes and underscores.';
    return;
  }
  setUser(user);
});

// ---- direction ----

function setDirection(direction) {
  document.documentElement.dir = direction;
  byId('direction').setAttribute('aria-pressed', String(direction === 'rtl'));
  memory.set('direction', direction);
}

byId('direction').addEventListener('click', () => {
  setDirection(document.documentElement.dir === 'rtl' ? 'ltr' : 'rtl');
  if (launcher.isOpen()) note('Direction changed: close and open the chat to send it');
});

// ---- start ----

byId('flags').hidden = persona !== 'test';

const policy = () => ({
  requireUserId: persona === 'test' ? byId('flag-require').checked : integerOnly,
  allowGeneratedId: persona === 'test' ? byId('flag-generate').checked : !integerOnly,
});

const report = (name, facts) => reports[name](facts);
const trust = watchTrust({ origin: byId('chat-iframe').dataset.origin, report });
const beacon = startBeacon({ origin: byId('chat-iframe').dataset.origin, report });
const launcher = startLauncher({ policy, report });
setDirection(memory.get('direction', 'ltr'));
showUser();
note('Page loaded, frame hidden');
