// The launcher, as the persona seed has a host page do it: the frame stays hidden until pressed,
// configuration waits for chat-embed-ready, and the frame's URL carries the same parameters for
// the case that postMessage is late or blocked. What happens is told to `report`; nothing here
// touches the rest of the page.

const WORDS = document.body.dataset;

// The user id as the payload carries it, or null. Customers and employees are positive integers;
// other personas may use any short token.
export function readUserId(text, integerOnly) {
  const trimmed = String(text ?? '').trim();
  const number = Number(trimmed);
  if (/^[1-9][0-9]*$/.test(trimmed) && Number.isSafeInteger(number)) return number;
  if (!integerOnly && /^[A-Za-z0-9._:-]{1,128}$/.test(trimmed)) return trimmed;
  return null;
}

export function buildUrlWithParams(baseUrl, params) {
  const url = new URL(baseUrl, window.location.href);
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
  }
  return url.toString();
}

// `policy()` gives { requireUserId, allowGeneratedId } as they are now: the test persona's page
// has switches for them.
export function startLauncher({ policy, report }) {
  const mode = WORDS.persona;
  const integerOnly = WORDS.requireUserId === 'true';
  const launcher = document.getElementById('chat-launcher');
  const frame = document.getElementById('chat-frame');
  const iframe = document.getElementById('chat-iframe');
  const baseUrl = window.CHAT_WIDGET_ORIGIN || iframe.dataset.origin || iframe.src;
  iframe.src = baseUrl;
  const widgetOrigin = new URL(baseUrl, window.location.href).origin;

  let configSent = false;
  let iframeReady = false;
  let lastValidUserId = null;
  // Whether the frame's URL says the same.
  let byUrl = false;

  const isOpen = () => !frame.hasAttribute('hidden');
  // Visitors may come without a user id; for everyone else there is nothing to send without one.
  const identified = (userId) => userId !== null || !policy().requireUserId;

  function parameters(userId) {
    const { requireUserId, allowGeneratedId } = policy();
    return {
      mode,
      ...(userId === null ? {} : { user_id: userId }),
      require_user_id: requireUserId,
      allow_generated_id: allowGeneratedId,
      direction: document.documentElement.dir || 'ltr',
    };
  }

  function sendConfig(userId) {
    if (configSent || !iframeReady || !iframe.contentWindow) {
      if (!iframeReady) {
        console.debug('Config not sent: the iframe is not ready.');
        report('waiting', {});
      }
      return;
    }
    if (!identified(userId)) {
      console.debug(`Config not sent: user_id is not valid (${userId}).`);
      return;
    }
    const payload = parameters(userId);
    iframe.contentWindow.postMessage({ type: 'chat-embed-config', payload }, widgetOrigin);
    configSent = true;
    console.debug('Sent chat-embed-config', payload);
    report('config', { payload, url: byUrl ? iframe.src : null });
  }

  // Somebody else signed in while the chat is open: told by message alone, the frame's URL stays.
  function update() {
    const userId = readUserId(window.currentCustomerId, integerOnly);
    if (!identified(userId)) {
      close();
      return;
    }
    lastValidUserId = userId;
    configSent = false;
    byUrl = false;
    sendConfig(userId);
  }

  function open() {
    const userId = readUserId(window.currentCustomerId, integerOnly);
    if (!identified(userId)) {
      console.error('Cannot open chat: valid user_id is required');
      report('refused', {});
      return;
    }
    lastValidUserId = userId;
    frame.removeAttribute('hidden');
    launcher.setAttribute('aria-expanded', 'true');
    launcher.textContent = `Close ${WORDS.title} Chat`;
    report('open', {});
    try {
      byUrl = true;
      iframe.src = buildUrlWithParams(baseUrl, { ...parameters(userId), v: Date.now() });
      console.debug('Applied the URL fallback', iframe.src);
      report('url', { url: iframe.src });
    } catch (error) {
      console.error(`Failed to apply the URL fallback: ${error.message}`);
    }
    sendConfig(userId);
  }

  function close() {
    frame.setAttribute('hidden', '');
    launcher.setAttribute('aria-expanded', 'false');
    launcher.textContent = `Open ${WORDS.title} Chat`;
    configSent = false;
    report('close', {});
  }

  launcher.setAttribute('aria-controls', 'chat-frame');
  launcher.addEventListener('click', () => (isOpen() ? close() : open()));

  window.addEventListener('message', (event) => {
    if (event.origin !== widgetOrigin) return;
    if (event.data?.type === 'chat-embed-ready') {
      console.debug('Widget is ready to receive configuration.');
      iframeReady = true;
      report('ready', { configSent, launch: event.data.launch });
      if (isOpen() && !configSent && identified(lastValidUserId)) {
        console.debug('Sending deferred config payload.');
        sendConfig(lastValidUserId);
      }
    }
    if (event.data?.type === 'chat-embed-ack') {
      console.debug('Widget acknowledged configuration payload');
      report('ack', { launch: event.data.launch });
    }
    if (event.data?.type === 'chat-embed-error') {
      console.error(`The configuration was refused: ${event.data.code}`);
      report('error', { code: event.data.code, title: event.data.title, launch: event.data.launch });
    }
  });

  return { isOpen, update };
}
