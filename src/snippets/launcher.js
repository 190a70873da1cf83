// The chat's frame stays empty until it is asked for. Who is asking travels in the URL, and by
// postMessage once the frame says that it is ready.
(() => {
  const launcher = document.getElementById('chat-launcher');
  const frame = document.getElementById('chat-frame');
  const iframe = document.getElementById('chat-iframe');
  const chat = new URL(iframe.dataset.origin);
  let ready = false;
  let sent = false;

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
    iframe.contentWindow.postMessage({ type: 'chat-embed-config', payload: payload() }, chat.origin);
  }

  launcher.addEventListener('click', () => {
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
    if (event.data?.type === 'chat-embed-ready') {
      ready = true;
      send();
    }
    if (event.data?.type === 'chat-embed-ack') console.debug('The chat knows who is asking.');
    if (event.data?.type === 'chat-embed-error') console.error('The chat refused:', event.data);
  });
})();
