// The chat page: shows who is asking and how messages travel, and lets people send them.

import { startHandshake } from './handshake.js';
import { transports } from './transports.js';
import { WORDS } from './words.js';

const given = document.body.dataset;
const persona = {
  mode: given.persona,
  requireUserId: given.requireUserId === 'true',
  allowGeneratedId: given.allowGeneratedId === 'true',
};
const EXAMPLE_USERS = { customer: '12345', employee: '2041' };

const byId = (id) => document.getElementById(id);
let language = 'en';
let identity = null; // { userId, generated, direction, source }
let closedBy = null; // a problem's name
let busy = false;
const words = () => WORDS[language];

function showWords() {
  document.documentElement.lang = language;
  byId('name').textContent = words().name(given.title);
  byId('language').textContent = words().other;
  byId('language').lang = words().otherLang;
  byId('transport-label').textContent = words().transport;
  byId('text').placeholder = words().placeholder;
  byId('text-label').textContent = words().message;
  byId('send').textContent = words().send;
  byId('suggestions').replaceChildren(...words().suggestions.map(suggestion));
  showIdentity();
}

function suggestion(text) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = text;
  button.addEventListener('click', () => say(text));
  return button;
}

function showIdentity() {
  const { userId, generated, source } = identity ?? {};
  let who = '';
  if (identity) {
    if (userId === null) who = words().visitor;
    else who = generated ? words().generated(userId) : words().user(userId);
  }
  byId('user').textContent = who;
  // A name made up here was said by nobody.
  const said = identity && userId !== null && !generated;
  byId('source').textContent = said ? (source === 'URL' ? words().byUrl : words().byMessage) : '';
  const closed = identity === null;
  byId('closed').hidden = !closed;
  if (closed) showClosed();
  setEnabled();
}

function showClosed() {
  const waiting = closedBy === null;
  byId('closed-title').textContent = waiting ? words().waiting : words().wrong;
  byId('closed-text').textContent = waiting ? words().waitingText : words().problems[closedBy];
  const link = byId('closed-link');
  const example = EXAMPLE_USERS[persona.mode];
  const query = `?mode=${persona.mode}${example ? `&user_id=${example}` : ''}`;
  link.hidden = window.parent !== window;
  link.href = query;
  link.textContent = query;
}

function setEnabled() {
  const enabled = identity !== null && !busy;
  byId('text').disabled = identity === null;
  byId('send').disabled = !enabled;
  for (const button of byId('suggestions').children) button.disabled = !enabled;
}

// Only this page's own list: scrollIntoView could move the page around the frame as well.
function showEnd() {
  const list = document.querySelector('main');
  list.scrollTop = list.scrollHeight;
}

function addMessage(kind, text) {
  const item = document.createElement('li');
  item.className = kind;
  const paragraph = document.createElement('p');
  paragraph.dir = 'auto';
  paragraph.textContent = text;
  item.append(paragraph);
  byId('messages').append(item);
  showEnd();
  return item;
}

function addFacts(item, transport, times, seen) {
  const facts = document.createElement('small');
  const { first, all, id } = words().facts;
  const parts = [transport];
  if (transport !== 'HTTP') parts.push(`${first} ${times.first} ms`);
  parts.push(`${all} ${times.all} ms`);
  if (seen.request_id) parts.push(`${id} ${seen.request_id.slice(0, 8)}`);
  parts.forEach((part, index) => {
    const piece = document.createElement('bdi');
    piece.textContent = part;
    facts.append(index === 0 ? '' : ' · ', piece);
  });
  item.append(facts);
}

async function say(text) {
  if (busy || identity === null || text.trim() === '') return;
  busy = true;
  setEnabled();
  addMessage('me', text);
  const chosen = document.querySelector('input[name="transport"]:checked');
  const item = addMessage('bot typing', '');
  const paragraph = item.firstChild;
  const started = performance.now();
  let first = null;
  try {
    const message = { text, mode: persona.mode, user_id: identity.userId };
    const seen = await transports[chosen.value](message, (word) => {
      first ??= Math.round(performance.now() - started);
      paragraph.textContent += word;
      showEnd();
    });
    const times = { first, all: Math.round(performance.now() - started) };
    addFacts(item, chosen.nextElementSibling.textContent, times, seen);
  } catch (error) {
    item.classList.add('bad');
    paragraph.textContent = words().failed(error.message);
  }
  item.classList.remove('typing');
  showEnd();
  busy = false;
  setEnabled();
}

byId('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = byId('text');
  if (busy) return;
  const text = field.value;
  field.value = '';
  field.focus();
  say(text);
});

byId('language').addEventListener('click', () => {
  language = words().otherLang;
  showWords();
});

startHandshake({
  persona,
  allowedOrigin: given.allowedOrigin,
  apply(config, source) {
    const firstTime = identity === null;
    identity = { ...config, source };
    closedBy = null;
    document.documentElement.dir = config.direction;
    if (firstTime) {
      language = config.direction === 'rtl' ? 'ar' : 'en';
      addMessage('bot', words().hello);
    }
    showWords();
  },
  refuse(problem) {
    if (identity === null) closedBy = problem;
    showWords();
  },
});
showWords();
