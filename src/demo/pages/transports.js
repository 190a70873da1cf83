// Three ways to carry the same message. Each takes { text, mode, user_id } and calls `onWord` as
// words arrive; each resolves with what the app saw of the request, or throws a Refused.

export class Refused extends Error {}

const problemOf = async (response) => {
  const problem = await response.json().catch(() => ({}));
  return new Refused(problem.code ?? `status ${response.status}`);
};

async function http(message, onWord) {
  const response = await fetch('/api/message', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(message),
  });
  if (!response.ok) throw await problemOf(response);
  const { reply, seen } = await response.json();
  onWord(reply);
  return seen;
}

function sse(message, onWord) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(message)) {
    if (value !== null && value !== undefined) query.set(name, value);
  }
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

function websocket(message, onWord) {
  const open = connect();
  return new Promise((resolve, reject) => {
    const listening = new AbortController();
    const { signal } = listening;
    const end = (settle, value) => {
      listening.abort();
      settle(value);
    };
    const say = () => open.send(JSON.stringify({ type: 'message', ...message }));
    open.addEventListener('message', (event) => {
      const told = JSON.parse(event.data);
      if (told.type === 'token') onWord(told.text);
      if (told.type === 'done') end(resolve, told.seen);
      if (told.type === 'error') end(reject, new Refused(told.code));
    }, { signal });
    open.addEventListener('close', () => end(reject, new Refused('the socket closed')), { signal });
    if (open.readyState === WebSocket.OPEN) say();
    else open.addEventListener('open', say, { signal });
  });
}

export const transports = { http, sse, websocket };
