// Asking the server, with the token where it wants one.
//
// The token is kept for this tab alone, and goes nowhere but to the origin that served this page.

const KEPT = 'vestibule-admin-token';

export const token = {
  get() {
    return sessionStorage.getItem(KEPT);
  },
  keep(value) {
    sessionStorage.setItem(KEPT, value);
  },
  forget() {
    sessionStorage.removeItem(KEPT);
  },
};

/** The response as fetch gives it; `path` is one of this server's. */
export function ask(path, { method = 'GET', document: body, signal } = {}) {
  const headers = new Headers();
  const held = token.get();
  if (held) headers.set('Authorization', `Bearer ${held}`);
  if (body !== undefined) headers.set('Content-Type', 'application/json');
  const sent = body === undefined ? undefined : JSON.stringify(body);
  return fetch(path, { method, headers, body: sent, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' });
}

/** Status and JSON of an answer; a refusal is an answer too, a lost connection is an error in words. */
export async function answerOf(path, options) {
  let response;
  try {
    response = await ask(path, options);
  } catch {
    throw new Error('The server cannot be reached.');
  }
  const told = await response.json().catch(() => ({}));
  if (response.status === 401) window.dispatchEvent(new Event('vestibule-locked'));
  return { status: response.status, ok: response.ok, told };
}

/** What a problem document says, in one sentence or two. */
export function problem({ status, told }) {
  const said = [told.title, told.detail].filter((text) => typeof text === 'string');
  return said.length ? said.join(' ') : `The server answered ${status}.`;
}
