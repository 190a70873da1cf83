// The chat's frame stays empty until it is asked for. Who is asking travels in the URL, and by
// postMessage once the frame says that it is ready.
(() => {
  const launcher = document.getElementById('chat-launcher');
  const frame = document.getElementById('chat-frame');
  const iframe = document.getElementById('chat-iframe');
  const chat = new URL(iframe.dataset.origin);
  let ready = false;
  let sent = false;
  // Milliseconds after which nobody waits for the chat any more. An app that answers for itself is
  // waited for once it has said that it is ready.
  const PATIENCE = 15000;
  const BRIDGED = {{BRIDGED}};
  let times = null;
  let timer = 0;

  // {{USER_HINT}}
  function payload() {
    return {
      mode: '{{MODE}}',
      user_id: {{USER}},
      require_user_id: {{REQUIRE}},
      allow_generated_id: {{GENERATE}},
      direction: document.documentElement.dir || 'ltr',
    };
  }

  function send() {
    if (!ready || sent || frame.hidden) return;
    sent = true;
    if (times) times.config = performance.now();
    iframe.contentWindow.postMessage({ type: 'chat-embed-config', payload: payload() }, chat.origin);
  }

  // How long the opening took, for the chat's operators: no word about who is asking. The page's
  // Content-Security-Policy, if it has one, needs connect-src for it.
  function tell(outcome, error) {
    if (!times || (outcome === 'timeout' && !BRIDGED && !times.ready)) return;
    // An answer to what was posted in the opening before this one.
    if (outcome !== 'timeout' && !times.config) return;
    clearTimeout(timer);
    const body = JSON.stringify({ v: 1, ...times, ended: performance.now(), outcome, error });
    times = null;
    const how = { method: 'POST', mode: 'no-cors', credentials: 'omit', keepalive: true, body };
    // Or else a page with a Referrer-Policy of its own would hide its origin.
    how.referrerPolicy = 'strict-origin';
    fetch(new URL('.vestibule/beacon', chat), how).catch(() => {});
  }

  launcher.addEventListener('click', () => {
    clearTimeout(timer);
    times = null;
    if (!frame.hidden) {
      frame.hidden = true;
      launcher.setAttribute('aria-expanded', 'false');
      launcher.textContent = 'Open Chat';
      return;
    }
    const said = payload();
    if (said.require_user_id && !said.user_id) {
      console.error('The chat needs window.currentUserId.');
      return;
    }
    frame.hidden = false;
    times = { shown: performance.now() };
    timer = setTimeout(tell, PATIENCE, 'timeout');
    launcher.setAttribute('aria-expanded', 'true');
    launcher.textContent = 'Close Chat';
    const url = new URL(chat);
    for (const [name, value] of Object.entries({ ...said, v: Date.now() })) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    ready = false;
    sent = false;
    iframe.src = url.toString();
  });

  window.addEventListener('message', (event) => {
    if (event.origin !== chat.origin || event.source !== iframe.contentWindow) return;
    const { type, launch } = event.data ?? {};
    if (times && launch && String(type).startsWith('chat-embed-')) times.launch = launch;
    if (type === 'chat-embed-ready') {
      if (times) times.ready ??= performance.now();
      ready = true;
      send();
    }
    if (type === 'chat-embed-ack') {
      console.debug('The chat knows who is asking.');
      tell('ack');
    }
    if (type === 'chat-embed-error') {
      console.error('The chat refused:', event.data);
      tell('error', String(event.data.code));
    }
  });
})();
