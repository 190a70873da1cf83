// Three ways to carry the same text, and nothing about who says it: that is Vestibule's to add. Each
// calls `onWord` as words arrive, and resolves with what the app saw of the request, or throws a
// Refused.

export class Refused extends Error {}

const problemOf = async (response) => {
  const problem = await response.json().catch(() => ({}));
  return new Refused(problem.code ?? `status ${response.status}`);
};

async function http(text, onWord) {
  const response = await fetch('/api/message', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text }),
  });
  if (!response.ok) throw await problemOf(response);
  const { reply, seen } = await response.json();
  onWord(reply);
  return seen;
}

function sse(text, onWord) {
  const query = new URLSearchParams({ text });
  return new Promise((resolve, reject) => {
    const source = new EventSource(`/api/stream?${query}`);
    source.addEventListener('token', (event) => onWord(JSON.parse(event.data).text));
    source.addEventListener('done', (event) => {
      source.close();
      resolve(JSON.parse(event.data).seen);
    });
    // EventSource would connect again and repeat the answer.
    source.addEventListener('error', () => {
      source.close();
      reject(new Refused('the stream broke'));
    });
  });
}

let socket = null;

function connect() {
  if (socket && socket.readyState <= WebSocket.OPEN) return socket;
  const url = new URL('/ws', window.location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  socket = new WebSocket(url, 'vestibule-demo.v1');
  return socket;
}

function websocket(text, onWord) {
  const open = connect();
  return new Promise((resolve, reject) => {
    const listening = new AbortController();
    const { signal } = listening;
    const end = (settle, value) => {
      listening.abort();
      settle(value);
    };
    const say = () => open.send(JSON.stringify({ type: 'message', text }));
    open.addEventListener('message', (event) => {
      const told = JSON.parse(event.data);
      if (told.type === 'token') onWord(told.text);
      if (told.type === 'done') end(resolve, told.seen);
      if (told.type === 'error') end(reject, new Refused(told.code));
    }, { signal });
    // 1008 is Vestibule's: the session has ended, or another has taken its place.
    const why = (code) => (code === 1008 ? 'the session has ended (1008)' : 'the socket closed');
    open.addEventListener('close', (event) => end(reject, new Refused(why(event.code))), { signal });
    if (open.readyState === WebSocket.OPEN) say();
    else open.addEventListener('open', say, { signal });
  });
}

export const transports = { http, sse, websocket };
