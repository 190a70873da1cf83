// The frame's side of the handshake: who is asking, by the URL or by the page around it.
//
// A configuration is believed only from the page around this frame, only from an allowed origin,
// only for this persona's own mode, and only with a user id of the right form. The URL carries the
// same parameters for the case that messages are late or blocked, and passes the same test.

const INTEGER = /^[1-9][0-9]{0,15}$/;
const TOKEN = /^[A-Za-z0-9._:-]{1,128}$/;
const flag = (value) => value === true || value === 'true';

// What `raw` says, checked: { userId, generated, direction } or { problem }.
export function readConfig(raw, persona) {
  if (raw.mode !== undefined && raw.mode !== null && raw.mode !== persona.mode) {
    return { problem: 'mode' };
  }
  const text = raw.user_id === undefined || raw.user_id === null ? '' : String(raw.user_id);
  const mustHave = persona.requireUserId || (persona.mode === 'test' && flag(raw.require_user_id));
  const direction = raw.direction === 'rtl' ? 'rtl' : 'ltr';
  if (text === '') {
    if (mustHave) return { problem: 'missing' };
    const generated = persona.allowGeneratedId && flag(raw.allow_generated_id);
    return { userId: generated ? generatedId() : null, generated, direction };
  }
  const wellFormed = persona.requireUserId
    ? INTEGER.test(text) && Number.isSafeInteger(Number(text))
    : TOKEN.test(text);
  return wellFormed ? { userId: text, generated: false, direction } : { problem: 'malformed' };
}

let generatedOnce = null;
function generatedId() {
  generatedOnce ??= `visitor-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  return generatedOnce;
}

// Calls `apply(config, source)` for each configuration believed, `refuse(problem, source)` for each
// that is not.
export function startHandshake({ persona, allowedOrigin, apply, refuse }) {
  const query = new URLSearchParams(window.location.search);
  const embedded = window.parent !== window;
  const readyAt = performance.now();

  if (query.has('mode') || query.has('user_id') || !persona.requireUserId) {
    const config = readConfig(Object.fromEntries(query), persona);
    if (config.problem) refuse(config.problem, 'URL');
    else apply(config, 'URL');
  }
  if (!embedded) return;

  window.addEventListener('message', (event) => {
    if (event.source !== window.parent || event.origin !== allowedOrigin) return;
    if (event.data?.type !== 'chat-embed-config') return;
    const config = readConfig(event.data.payload ?? {}, persona);
    if (config.problem) {
      console.debug(`Configuration refused: ${config.problem}`);
      refuse(config.problem, 'message');
      return;
    }
    apply(config, 'message');
    const payload = {
      mode: persona.mode,
      user_id: config.userId,
      direction: config.direction,
      ms_since_ready: Math.round(performance.now() - readyAt),
    };
    window.parent.postMessage({ type: 'chat-embed-ack', payload }, allowedOrigin);
  });
  window.parent.postMessage({ type: 'chat-embed-ready' }, allowedOrigin);
}
