// The chat page: shows who Vestibule says is asking, beside what the URL says, and how messages
// travel, and lets people send them. The handshake with the page around it is Vestibule's bridge.

import { transports } from './transports.js';
import { WORDS } from './words.js';

const page = document.body.dataset;
const query = new URLSearchParams(window.location.search);
const EXAMPLE_USERS = { customer: '12345', employee: '2041' };

const byId = (id) => document.getElementById(id);
// What Vestibule said when it asked for this page; each answer says it again.
let told = {
  persona: page.persona,
  mode: page.mode,
  user_id: page.userId || null,
  assurance: page.assurance,
  session: page.session || null,
};
// No message leaves before the page around this frame has said who is asking.
const open = page.state === 'complete';
const direction = query.get('direction') === 'rtl' ? 'rtl' : 'ltr';
let language = direction === 'rtl' ? 'ar' : 'en';
let busy = false;
const words = () => WORDS[language];

function showWords() {
  document.documentElement.lang = language;
  byId('name').textContent = words().name(page.title);
  byId('language').textContent = words().other;
  byId('language').lang = words().otherLang;
  byId('told-label').textContent = words().told;
  byId('claimed-label').textContent = words().claimed;
  byId('transport-label').textContent = words().transport;
  byId('text').placeholder = words().placeholder;
  byId('text-label').textContent = words().message;
  byId('send').textContent = words().send;
  byId('suggestions').replaceChildren(...words().suggestions.map(suggestion));
  showTold();
  showClaimed();
  showClosed();
  setEnabled();
}

function suggestion(text) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = text;
  button.addEventListener('click', () => say(text));
  return button;
}

// A made-up id has 36 characters.
const short = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

function nameOf({ user_id: id }) {
  if (id !== null) return words().user(short(id, 14));
  return open ? words().visitor : words().awaited;
}

function showTold() {
  document.querySelector('.mode').textContent = told.mode;
  byId('user').textContent = nameOf(told);
  byId('user').title = told.user_id ?? '';
  // Nobody's name has no worth.
  byId('assurance').textContent = told.user_id === null ? '' : told.assurance;
  byId('assurance').title = words().assurances[told.assurance] ?? '';
  byId('session').textContent = told.session ? words().session(told.session.slice(0, 8)) : '';
  byId('session').title = told.session ?? '';
}

function showClaimed() {
  const says = ['mode', 'user_id'].filter((name) => query.has(name));
  const text = says.map((name) => `${name}=${query.get(name)}`).join(' ');
  byId('claimed').textContent = text || words().nothing;
}

function showClosed() {
  byId('closed').hidden = open;
  byId('closed-title').textContent = words().waiting;
  byId('closed-text').textContent = words().waitingText;
  const link = byId('closed-link');
  const address = `?mode=${page.mode}&user_id=${EXAMPLE_USERS[page.persona] ?? 'tester-7'}`;
  link.hidden = window.parent !== window;
  link.href = address;
  link.textContent = address;
}

function setEnabled() {
  const enabled = open && !busy;
  byId('text').disabled = !open;
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
  parts.push(`${all} ${times.all} ms`, nameOf(seen.caller));
  if (seen.request_id) parts.push(`${id} ${seen.request_id.slice(0, 8)}`);
  parts.forEach((part, index) => {
    const piece = document.createElement('bdi');
    piece.textContent = part;
    facts.append(index === 0 ? '' : ' · ', piece);
  });
  item.append(facts);
}

// Tabs of one browser share a session: another may have launched as somebody else.
function hear(caller) {
  const changed = caller.session !== told.session;
  told = caller;
  showTold();
  if (changed) addMessage('note', words().changed(nameOf(told)));
}

async function say(text) {
  if (busy || !open || text.trim() === '') return;
  busy = true;
  setEnabled();
  addMessage('me', text);
  const chosen = document.querySelector('input[name="transport"]:checked');
  const item = addMessage('bot typing', '');
  const paragraph = item.firstChild;
  const started = performance.now();
  let first = null;
  try {
    const seen = await transports[chosen.value](text, (word) => {
      first ??= Math.round(performance.now() - started);
      paragraph.textContent += word;
      showEnd();
    });
    const times = { first, all: Math.round(performance.now() - started) };
    addFacts(item, chosen.nextElementSibling.textContent, times, seen);
    hear(seen.caller);
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

document.documentElement.dir = direction;
showWords();
if (open) addMessage('bot', words().hello);
