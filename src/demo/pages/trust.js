// Notices a frame that cannot load because the browser does not trust the demo's authority, and
// says so: inside a frame nobody can click through a certificate warning, it is just blank.

const PATIENCE_MS = 4000;

export function watchTrust({ origin, report }) {
  const host = new URL(origin).host;
  const notice = document.getElementById('untrusted');
  const title = document.getElementById('untrusted-title');
  const text = document.getElementById('untrusted-text');
  const remedy = document.getElementById('untrusted-remedy');
  let timer = 0;

  // Fails when the connection does; what the answer says cannot be seen and does not matter.
  async function reachable() {
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      await fetch(`${origin}/healthz`, { mode: 'no-cors', cache: 'no-store', signal });
      return true;
    } catch {
      return false;
    }
  }

  function show(connected) {
    remedy.hidden = connected;
    if (connected) {
      title.textContent = 'The chat has not said that it is ready';
      text.textContent =
        `The connection to ${host} works, so its certificate is trusted. ` +
        'Open it in a tab to see what it answers.';
    } else {
      title.textContent = 'Your browser does not trust this chat’s certificate';
      text.textContent =
        `This page cannot reach ${host}. For a page of its own the browser would ask you what to ` +
        'do; for a frame it asks nobody, and the frame stays blank.';
    }
    document.body.toggleAttribute('data-untrusted', !connected);
    if (notice.hidden) report('untrusted', { connected });
    notice.hidden = false;
  }

  async function check() {
    const connected = await reachable();
    if (!connected) show(false);
    return connected;
  }

  document.getElementById('copy-command').addEventListener('click', async (event) => {
    const button = event.currentTarget;
    const command = document.getElementById('trust-command');
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = 'Copied';
    } catch {
      window.getSelection().selectAllChildren(command);
      button.textContent = 'Selected';
    }
  });
  document.getElementById('check-again').addEventListener('click', async () => {
    if (await check()) window.location.reload();
  });

  check();
  return {
    // The launcher was pressed: the frame has a few seconds to say that it is ready.
    expectReady() {
      clearTimeout(timer);
      timer = setTimeout(async () => show(await reachable()), PATIENCE_MS);
    },
    forget() {
      clearTimeout(timer);
    },
    ready() {
      clearTimeout(timer);
      notice.hidden = true;
      document.body.removeAttribute('data-untrusted');
    },
  };
}
