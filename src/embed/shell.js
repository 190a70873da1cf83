/*
 * Vestibule's shell: carries messages between the page around a custom template, the template, and
 * the chat inside it.
 *
 *   page -> chat       whatever a page of an allowed origin posts to this window
 *   chat -> page       whatever the chat posts; the page sees what it would see around the chat itself
 *   chat -> template   {type: 'ragtime-event' | 'ragtime-action', ...} as CustomEvents on window:
 *                      'ragtime:event' and 'ragtime:action', the message in event.detail
 *   template -> chat   window.ragtime.send(type, detail) posts {type, detail}
 *
 * It runs in three places: in a template that is a page of its own (`shell`); on a host of several
 * tenants in the page (`stage`) that shows the template in a sandbox and the chat above it, and in
 * the template there (`template`).
 */
(() => {
  'use strict';
  const script = document.currentScript;
  if (!script) return;
  const part = script.getAttribute('data-part');
  const page = window.parent === window ? null : window.parent;
  const origins = (script.getAttribute('data-origins') || '').split(' ').filter(Boolean);
  const EVENTS = { 'ragtime-event': 'ragtime:event', 'ragtime-action': 'ragtime:action' };
  // Between the stage and the template in its sandbox.
  const EVENT = 'vestibule-shell-event';
  const SEND = 'vestibule-shell-send';
  const PLACE = 'vestibule-shell-place';

  const isEvent = (data) => Boolean(data) && typeof data.type === 'string'
    && Object.prototype.hasOwnProperty.call(EVENTS, data.type);
  const dispatch = (data) => {
    window.dispatchEvent(new CustomEvent(EVENTS[data.type], { detail: data }));
  };
  const publish = (send) => {
    const api = Object.freeze({ send });
    for (const name of ['ragtime', 'vestibule']) {
      Object.defineProperty(window, name, { value: api, enumerable: true });
    }
  };

  if (part === 'template') {
    // In the sandbox: everything goes through the stage.
    publish((type, detail) => page.postMessage({ type: SEND, message: { type, detail } }, '*'));
    window.addEventListener('message', ({ data, source }) => {
      if (source === page && data && data.type === EVENT && isEvent(data.message)) dispatch(data.message);
    });
    // How far in from its four edges the elements around the place cut it off, and the corners that
    // they give it.
    const cut = (place, box) => {
      const inset = [0, 0, 0, 0];
      let { borderRadius: radius } = getComputedStyle(place);
      for (let around = place.parentElement; around && around !== document.body; around = around.parentElement) {
        const { overflowX, overflowY, borderRadius } = getComputedStyle(around);
        if (overflowX === 'visible' && overflowY === 'visible') continue;
        const edge = around.getBoundingClientRect();
        const over = [edge.top - box.top, box.right - edge.right, box.bottom - edge.bottom, edge.left - box.left];
        over.forEach((length, side) => { inset[side] = Math.max(inset[side], length); });
        if (radius === '0px' && over.every((length) => Math.abs(length) < 1)) radius = borderRadius;
      }
      return { inset, radius };
    };
    let told = '';
    let asked = 0;
    const tell = () => {
      asked = 0;
      const place = document.querySelector('[data-vestibule-place]');
      if (!place) return;
      const box = place.getBoundingClientRect();
      const { left, top, width, height } = box;
      const shows = getComputedStyle(place).visibility === 'visible';
      const now = { left, top, width, height, ...cut(place, box), shows };
      if (JSON.stringify(now) === told) return;
      told = JSON.stringify(now);
      page.postMessage({ type: PLACE, place: now }, '*');
    };
    const look = () => { asked = asked || requestAnimationFrame(tell); };
    const sizes = new ResizeObserver(look);
    const watch = () => {
      const place = document.querySelector('[data-vestibule-place]');
      if (place) sizes.observe(place);
      sizes.observe(document.documentElement);
      look();
    };
    new MutationObserver(look).observe(document, { attributes: true, childList: true, subtree: true });
    for (const type of ['scroll', 'transitionend', 'animationend', 'toggle', 'load']) {
      document.addEventListener(type, look, { capture: true, passive: true });
    }
    window.addEventListener('resize', look);
    document.addEventListener('DOMContentLoaded', watch);
    window.addEventListener('load', watch);
    return;
  }

  const frame = (name) => document.querySelector('iframe[data-vestibule-' + name + ']');
  const windowOf = (name) => {
    const element = frame(name);
    return element && element.contentWindow;
  };
  // The chat is a page of this origin, unless it has been led away: then nobody hears anything.
  const toChat = (data, ports) => {
    const chat = windowOf('chat');
    if (chat) chat.postMessage(data, location.origin, ports);
  };

  const allows = (origin) => origins.some((allowed) => {
    if (allowed === 'file:') return origin === 'null' || origin === 'file://';
    const star = allowed.indexOf('*');
    if (star < 0) return origin === allowed;
    return origin.length >= allowed.length
      && origin.startsWith(allowed.slice(0, star)) && origin.endsWith(allowed.slice(star + 1));
  });
  const originOf = (url) => {
    try { return new URL(url).origin; } catch { return ''; }
  };
  // The origin of the page around this one: what it said, or what the browser knows.
  let host = '';
  const around = () => {
    if (host) return host;
    const ancestors = location.ancestorOrigins;
    const known = ancestors && ancestors.length ? ancestors[0] : originOf(document.referrer);
    return allows(known) || known === location.origin ? known : '';
  };
  const toPage = (data, ports) => {
    if (!page) return;
    const origin = around();
    if (origin) {
      // An opaque origin cannot be addressed; that it may frame us was decided by our policy.
      page.postMessage(data, /^https?:/.test(origin) ? origin : '*', ports);
      return;
    }
    // Not known yet: only a page of one of these origins hears it, and a port goes to nobody.
    for (const allowed of origins) {
      if (/^https?:/.test(allowed) && !allowed.includes('*')) page.postMessage(data, allowed);
    }
  };

  // Where the browser keeps no cookie the chat's session is in its path. This page takes it up: when
  // it is reloaded, or somebody comes back to it, its frame goes on with the session.
  const prefixOf = (path) => (/^\/\.v\/[^/]+/.exec(path) || [''])[0];
  const lead = (prefix) => {
    const { pathname, search, hash } = location;
    const own = prefixOf(pathname);
    if (prefix !== own) history.replaceState(history.state, '', prefix + pathname.slice(own.length) + search + hash);
  };
  if (page) {
    // A template in a sandbox learns its address from ours: it must not hold the session.
    if (part === 'stage') lead('');
    document.addEventListener('load', ({ target }) => {
      if (target !== frame('chat')) return;
      let path = '';
      try { path = target.contentWindow.location.pathname; } catch { /* led away */ }
      if (prefixOf(path)) lead(prefixOf(path));
    }, true);
  }

  if (part === 'shell') publish((type, detail) => toChat({ type, detail }));

  const pixels = (value) => (Number.isFinite(Number(value)) ? Number(value) : 0) + 'px';
  const lay = (place) => {
    const { style } = frame('chat');
    for (const side of ['left', 'top', 'width', 'height']) style[side] = pixels(place[side]);
    style.borderRadius = String(place.radius);
    const inset = Array.isArray(place.inset) ? place.inset.slice(0, 4).map(pixels) : [];
    style.clipPath = inset.some((length) => length !== '0px') ? 'inset(' + inset.join(' ') + ')' : '';
    style.visibility = place.shows === true && Number(place.width) > 0 ? 'visible' : 'hidden';
  };
  const fromTemplate = (data) => {
    if (!data || typeof data !== 'object') return;
    if (data.type === PLACE && data.place && frame('chat')) lay(data.place);
    // Who is asking is for the page around to say, whatever has come into the template's frame.
    const isConfig = data.message && String(data.message.type).startsWith('chat-embed-');
    if (data.type === SEND && data.message && !isConfig) toChat(data.message);
  };
  const toTemplate = (data) => {
    if (part === 'shell') dispatch(data);
    // Its origin is opaque; it is ours as long as it is in this frame.
    else if (windowOf('template')) windowOf('template').postMessage({ type: EVENT, message: data }, '*');
  };

  let warned = false;
  window.addEventListener('message', (event) => {
    const { data, origin, source, ports } = event;
    if (!source) return;
    if (source === windowOf('chat')) {
      if (origin !== location.origin) return;
      toPage(data, [...ports]);
      if (isEvent(data)) toTemplate(data);
    } else if (page && source === page) {
      if (!allows(origin) && origin !== location.origin) {
        if (!warned) console.warn('[vestibule] a message of ' + origin + ' is ignored: it is not among the embed_origins.');
        warned = true;
        return;
      }
      host = origin;
      toChat(data, [...ports]);
    } else if (part === 'stage' && source === windowOf('template')) {
      fromTemplate(data);
    }
  });
})();
