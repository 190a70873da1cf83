/*
 * Vestibule's bridge: answers the embed handshake of the page around this frame.
 *
 *   frame -> page   {type: 'chat-embed-ready'}
 *   page -> frame   {type: 'chat-embed-config', payload: {mode, user_id, require_user_id,
 *                    allow_generated_id, direction}}       any number of times; the latest counts
 *   frame -> page   {type: 'chat-embed-ack'}               the session is that user's
 *   frame -> page   {type: 'chat-embed-error', code, title}
 *
 * Each message of the frame says which document it is of (launch), for a beacon of the page.
 *
 * The page posts to this frame's origin, and must be one of the tenant's embed_origins. When the
 * session changes hands, the frame acknowledges and then loads the chat anew by itself.
 */
(() => {
  'use strict';
  const script = document.currentScript;
  const page = window.parent;
  if (!script || page === window) return;

  const NAMES = ['mode', 'user_id', 'require_user_id', 'allow_generated_id', 'direction'];
  const ADVICE = {
    answer_invalid: 'Something between this frame and Vestibule answers in its place.',
    identity_unproven: 'This persona takes no asserted user_id: sign the launch, or set trust_asserted.',
    metadata_contradiction: 'Send require_user_id and allow_generated_id as the persona is configured, or not at all.',
    mode_mismatch: 'Send the mode of the persona that this frame shows.',
    network_error: 'Nothing came back within 15 seconds: is the connection, or an extension, in the way?',
    origin_not_allowed: 'A sandboxed frame needs allow-same-origin.',
    parameter_invalid: 'Send {type, payload}: texts, an integer or text for user_id, booleans for the flags.',
    session_missing: 'The browser kept no cookie; start the chat with its parameters in the URL.',
    user_id_invalid: 'Send user_id in the format of the persona: a positive integer, unless user_id_format says token.',
    user_id_missing: 'Send user_id.',
  };
  // Milliseconds: how long a configuration outlives its document, a request lasts, a navigation that
  // was announced is waited for, and one that the page may have begun has to be announced.
  const FRESH = 10000;
  const PATIENCE = 15000;
  const DEPARTURE = 5000;
  const NOTICE = 50;

  const base = script.getAttribute('data-base') || '';
  const origins = (script.getAttribute('data-origins') || '').split(' ').filter(Boolean);
  const launch = script.getAttribute('data-launch');
  const prefix = /^\/\.v\/[^/]+/.exec(location.pathname);
  // With the origin: a <base> of the app must not redirect it.
  const api = location.origin + (prefix ? prefix[0] : '') + base + '/.vestibule/config';
  const key = 'vestibule.config:' + base;

  let heard = false; // a configuration came
  let next = null; // the latest one that was not sent yet
  let running = false;
  let answered = false; // ... and the latest one is
  let target = ''; // where the session has moved to, while this document has not
  let leaving = false;
  let moving = ''; // where this script is navigating to
  let announced = false; // ... and its beforeunload is still to come
  let departure = 0;
  let warned = false;

  const allows = (origin) => origins.some((allowed) => {
    // A shell around this document: it passes on what the page around it says.
    if (allowed === "'self'") return origin === location.origin;
    if (allowed === 'file:') return origin === 'null' || origin === 'file://';
    const star = allowed.indexOf('*');
    if (star < 0) return origin === allowed;
    return origin.length >= allowed.length
      && origin.startsWith(allowed.slice(0, star)) && origin.endsWith(allowed.slice(star + 1));
  });

  const post = (message, origin) => {
    // Opaque origins cannot be addressed; nothing we say is secret.
    page.postMessage(launch ? { ...message, launch } : message, /^https?:/.test(origin) ? origin : '*');
  };
  const ready = () => post({ type: 'chat-embed-ready' }, '*');

  const refuse = (code, title, origin) => {
    console.error('[vestibule] chat-embed-config was refused, ' + code + ': ' + title
      + (Object.prototype.hasOwnProperty.call(ADVICE, code) ? ' ' + ADVICE[code] : ''));
    post({ type: 'chat-embed-error', code, title }, origin);
  };

  // What is posted: ours and nothing else.
  const body = (value) => JSON.stringify(NAMES.reduce((own, name) => {
    const given = value(name);
    if (given !== undefined && given !== null) own[name] = typeof given === 'bigint' ? String(given) : given;
    return own;
  }, {}));

  // A navigation may end this document before the answer: its successor asks again.
  const remember = (config) => {
    try { sessionStorage.setItem(key, JSON.stringify(config)); } catch { /* then not */ }
  };
  const forget = () => {
    try { sessionStorage.removeItem(key); } catch { /* nothing was kept */ }
  };
  const recall = () => {
    const here = new URLSearchParams(location.search);
    const user = here.get('user_id');
    try {
      const config = JSON.parse(sessionStorage.getItem(key));
      if (!config) return null;
      const same = user === null || user === String(JSON.parse(config.body).user_id);
      if (same && Math.abs(Date.now() - config.at) < FRESH) return { ...config, late: user === null };
      forget();
    } catch {
      // Nothing can be kept here. Where the URL brought a user, an answer may be owed, so one is
      // given; whether it was asked for, only the page knows.
      if (user !== null) return { body: body((name) => here.get(name)), origin: '*', quiet: true };
    }
    return null;
  };

  // This document below another prefix. The session says who is asking now, the URL no longer does;
  // the direction of text stays in it, because apps read it there.
  const below = (prefixed, said) => {
    const url = new URL(location.href);
    url.pathname = prefixed + url.pathname.slice(prefix ? prefix[0].length : 0);
    for (const name of NAMES) {
      if (url.searchParams.has(name)) url.searchParams.delete(name);
    }
    const { direction } = JSON.parse(said);
    if (typeof direction === 'string') url.searchParams.set('direction', direction);
    return url.href;
  };

  const send = async (config) => {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PATIENCE);
    try {
      const response = await fetch(api, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: config.body,
        credentials: 'same-origin',
        cache: 'no-store',
        redirect: 'error',
        keepalive: true,
        signal: abort.signal,
      });
      const text = await response.text();
      let said = null;
      try { said = JSON.parse(text); } catch { /* not from us */ }
      if (response.ok && said && said.state === 'complete') {
        return { location: typeof said.prefix === 'string' ? below(said.prefix, config.body) : '' };
      }
      if (!response.ok && said && said.code) return { code: said.code, title: said.title || '' };
      return { code: 'answer_invalid', title: 'The chat gave an unexpected answer (' + response.status + ').' };
    } catch {
      return { code: 'network_error', title: 'The chat could not be reached.' };
    } finally {
      clearTimeout(timer);
    }
  };

  const move = () => {
    const url = new URL(target, location.origin);
    target = '';
    if (url.origin !== location.origin) return;
    moving = url.href;
    announced = true;
    location.replace(moving);
  };
  // The document on its way was asked for with a session that is about to end: it would show one
  // user and speak for another.
  const stay = () => {
    if (!moving) return;
    target = moving;
    moving = '';
    leaving = announced = false;
    clearTimeout(departure);
    window.stop();
  };

  const settle = (config, answer) => {
    // The document goes away and its requests with it: no answer is no refusal.
    if (answer.code === 'network_error' && leaving) return;
    answered = true;
    if (!answer.code) post({ type: 'chat-embed-ack' }, config.origin);
    else if (!config.quiet) refuse(answer.code, answer.title, config.origin);
    // Where the page navigates this frame, it knows better where to; and a word of this document that
    // arrives after its end has no source any more that the page could know it by, so its successor
    // asks again.
    setTimeout(() => {
      if (leaving || running) return;
      forget();
      // Also after a refusal: one before it may have been taken.
      if (target) move();
    }, NOTICE);
  };

  // One request at a time, so that the configuration that came last is the one that holds.
  const take = async (config) => {
    next = config;
    remember(config);
    answered = false;
    if (running) return;
    running = true;
    while (next) {
      const current = next;
      next = null;
      stay();
      const answer = await send(current);
      if (answer.location && !current.quiet) target = answer.location;
      // The document before may have got this session after this one was asked for, and the URL
      // says nobody: it loads anew.
      else if (current.late && !answer.code) target = below(prefix ? prefix[0] : '', current.body);
      if (!next) settle(current, answer);
    }
    running = false;
  };

  window.addEventListener('message', (event) => {
    const { data, origin } = event;
    if (event.source !== page || !data || data.type !== 'chat-embed-config') return;
    if (!allows(origin)) {
      if (!warned) console.warn('[vestibule] chat-embed-config of ' + origin + ' is ignored: it is not among the embed_origins.');
      warned = true;
      return;
    }
    heard = true;
    let config;
    try {
      config = { body: body((name) => data.payload[name]), origin, at: Date.now() };
    } catch {
      refuse('parameter_invalid', 'The configuration has no payload that JSON can hold.', origin);
      return;
    }
    take(config);
  });

  const heed = () => {
    leaving = true;
    if (announced) listen();
    else moving = '';
    announced = false;
    clearTimeout(departure);
    departure = setTimeout(() => {
      // It was a download, or somebody stayed after all.
      leaving = false;
      moving = '';
      listen();
      if (running) return;
      if (answered) forget();
      const pending = recall();
      if (target) move();
      else if (pending && !pending.quiet) take(pending);
    }, DEPARTURE);
  };
  // Asking twice, Chromium may lose a navigation.
  const listen = () => window.addEventListener('beforeunload', heed, { once: true });
  listen();
  window.addEventListener('pagehide', () => {
    leaving = true;
    clearTimeout(departure);
  });
  window.addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    leaving = announced = false;
    moving = '';
    listen();
  });

  ready();
  window.addEventListener('load', () => {
    if (!heard) ready();
  });
  const pending = recall();
  if (pending) take(pending);
})();
