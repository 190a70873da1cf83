// "Why is this refused?": an address goes to the server, which walks a request through the stages
// that serve, without sending it anywhere; the verdict comes first, in words, then each stage.

import { announce, byId, el, pill, setText, show } from './dom.js';
import { answerOf, problem } from './call.js';
import { meaning } from './words.js';

/** What each stage decides, for people who do not know its name. */
const STAGES = {
  route: 'Whose chat is it?',
  kind: 'What kind of request?',
  preview: 'Is it a preview?',
  signature: 'Is the link signed?',
  metadata: 'Who is asking?',
  variables: 'Which variables come along?',
  injection: 'What is injected?',
  session: 'Which session?',
  origin: 'Which page asks?',
  limits: 'What is left of the limits?',
  cookie: 'Which cookie is set?',
  forward: 'What does the app receive?',
  dress: 'What changes in its answer?',
  answer: 'What is answered?',
};

const VERDICTS = {
  forwarded: ['Not refused', 'good', 'It reaches the app.'],
  answered: ['Not refused', 'good', 'Vestibule answers it itself.'],
  redirected: ['Redirected', 'none', 'The browser is sent elsewhere.'],
  refused: ['Refused', 'bad', ''],
};

export function explaining() {
  const form = byId('explain-form');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const question = asked(form);
    if (!question) return;
    byId('ask').disabled = true;
    const answer = await answerOf('/explain', { method: 'POST', document: question }).catch((error) => error);
    byId('ask').disabled = false;
    if (answer instanceof Error) wrong(answer.message);
    else if (!answer.told.verdict) wrong(problem(answer));
    else tell(answer.told);
  });
}

/** The question, or nothing where a field says nonsense and has been marked. */
function asked(form) {
  const value = (id) => byId(id).value.trim();
  let url = value('url');
  if (url && !/^[a-z][a-z0-9+.-]*:\/\//i.test(url)) url = `https://${url}`;
  if (!/^https?:\/\/[^\s/?#]+([/?#]\S*)?$/i.test(url)) {
    wrong('Write a whole address: https://chat.example.com/?user_id=1');
    return null;
  }
  wrong('');
  const chosen = new FormData(form);
  const question = { url, place: chosen.get('place'), cookies: chosen.get('cookies') };
  if (byId('method').value !== 'GET') question.method = byId('method').value;
  const headers = value('headers').split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  if (headers.length) question.headers = headers;
  if (byId('body').value) question.body = byId('body').value;
  if (value('launched')) question.launched = value('launched');
  if (value('client')) question.client = value('client');
  return question;
}

function wrong(text) {
  setText(byId('url-problem'), text);
  byId('url').setAttribute('aria-invalid', String(text !== ''));
  if (text) {
    show(byId('explained'), false);
    byId('url').focus();
    announce(text);
  }
}

function tell({ steps = [], verdict, text }) {
  const place = byId('explained');
  place.replaceChildren(verdictOf(verdict), ...stepsOf(steps), ...wholeOf(text));
  show(place, true);
  announce(`${headline(verdict)}. ${verdict.title ?? ''}`);
}

function headline({ state, status, code }) {
  const [word] = VERDICTS[state] ?? [state];
  return [word, status && `with ${status}`, code].filter(Boolean).join(' ');
}

function verdictOf({ state, status, code, title, detail, remedy }) {
  const [word, level, otherwise] = VERDICTS[state] ?? [state, 'none', ''];
  const facts = [status, code].filter(Boolean).join(' ');
  const means = code ? meaning(code) : '';
  return el(
    'div',
    { class: 'verdict', 'data-level': level },
    el('h3', {}, pill(word, level), facts ? el('code', {}, facts) : null),
    el('p', { class: 'title' }, title ?? otherwise),
    detail ? el('p', {}, sentence(detail)) : null,
    means ? el('p', { class: 'means' }, means) : null,
    remedy ? el('p', { class: 'remedy' }, el('b', {}, 'What to do: '), sentence(remedy)) : null,
  );
}

/** What a log has as half a sentence. */
function sentence(text) {
  const end = /[.!?]$/.test(text) ? '' : '.';
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${end}`;
}

function stepsOf(steps) {
  return steps.map(({ number, method, target, stages, sent = [] }) => {
    const rows = stages.map(({ stage, text }) => {
      const term = el('dt', {}, STAGES[stage] ?? stage, el('small', {}, stage));
      return el('div', {}, term, el('dd', {}, text, stage === 'forward' ? received(sent) : null));
    });
    const title = el('h4', {}, `Request ${number}: `, el('code', {}, `${method} ${target}`));
    return el('section', { class: 'step' }, title, el('dl', { class: 'stages' }, ...rows));
  });
}

function received(lines) {
  if (!lines.length) return null;
  return el('pre', { tabindex: '0', role: 'region', 'aria-label': 'The request as the app receives it' }, lines.join('\n'));
}

function wholeOf(text) {
  if (!text) return [];
  const command = el('code', {}, 'vestibule explain');
  const printed = el('pre', { tabindex: '0', role: 'region', 'aria-label': 'What vestibule explain prints' }, text);
  return [el('details', {}, el('summary', {}, 'As ', command, ' prints it'), printed)];
}
