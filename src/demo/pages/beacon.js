// Tells Vestibule how the handshake went, once for each opening: times on this page's clock, and
// nothing about who is asking. See docs/embedding.md.

const PATIENCE_MS = 15000;

// `report` hears what is told.
export function startBeacon({ origin, report }) {
  const url = new URL('/.vestibule/beacon', origin);
  let times = null;
  let timer = 0;

  function forget() {
    clearTimeout(timer);
    times = null;
  }

  function tell(outcome, error) {
    if (times === null) return;
    // An answer to what was posted in the opening before this one.
    if (outcome !== 'timeout' && times.config === undefined) return;
    // A frame that was ready before it was shown has made nobody wait.
    if (outcome === 'ack') times.ready ??= times.shown;
    const told = { v: 1, ...times, ended: performance.now(), outcome, error };
    forget();
    // A simple request of another origin: no preflight, no cookies, and no answer that could be read.
    // Under no-referrer the page's origin, by which it may tell, would be hidden.
    const how = { method: 'POST', mode: 'no-cors', credentials: 'omit', keepalive: true };
    const body = JSON.stringify(told);
    fetch(url, { ...how, referrerPolicy: 'strict-origin', body }).catch(() => {});
    report('told', told);
  }

  return {
    shown() {
      forget();
      times = { shown: performance.now() };
      timer = setTimeout(tell, PATIENCE_MS, 'timeout');
    },
    // `launch` says which document of the frame it was.
    ready(launch) {
      if (times === null) return;
      times.ready ??= performance.now();
      times.launch = launch ?? times.launch;
    },
    config() {
      if (times !== null) times.config = performance.now();
    },
    ended(outcome, { launch, code }) {
      if (times !== null) times.launch = launch ?? times.launch;
      tell(outcome, outcome === 'error' ? String(code) : undefined);
    },
    forget,
  };
}
