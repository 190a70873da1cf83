// The chat's frame stays empty until it is asked for. Its URL is signed by your server, anew for
// each opening: a signed URL in the page's HTML would be old by then.
(() => {
  // Answers with the signed URL as text: see `vestibule snippet sign-node {{NAME}}`.
  const SIGNED_URL = '/chat-url';
  const launcher = document.getElementById('chat-launcher');
  const frame = document.getElementById('chat-frame');
  const iframe = document.getElementById('chat-iframe');
  const chat = new URL(iframe.dataset.origin);

  launcher.addEventListener('click', async () => {
    frame.hidden = !frame.hidden;
    launcher.setAttribute('aria-expanded', String(!frame.hidden));
    launcher.textContent = frame.hidden ? 'Open Chat' : 'Close Chat';
    if (frame.hidden) return;
    const answer = await fetch(SIGNED_URL, { credentials: 'same-origin', cache: 'no-store' });
    if (!answer.ok) {
      console.error(`No signed URL for the chat: ${answer.status}`);
      return;
    }
    const url = new URL((await answer.text()).trim());
    if (url.origin === chat.origin) iframe.src = url.toString();
  });

  window.addEventListener('message', (event) => {
    if (event.origin !== chat.origin || event.source !== iframe.contentWindow) return;
    console.debug('The chat says', event.data);
  });
})();
