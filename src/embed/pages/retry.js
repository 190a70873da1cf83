(() => {
  'use strict';
  const WAITS = [2, 4, 8, 15, 30, 60, 60, 60, 60, 60];
  const LOADS = 5, SPAN = 600000, KEY = 'vestibule-retry';
  const shown = (id, is) => { document.getElementById(id).hidden = !is; };
  let tries = 0;
  const load = () => {
    try {
      const [count, since] = (sessionStorage.getItem(KEY) || '0 0').split(' ').map(Number);
      const fresh = Date.now() - since > SPAN;
      if (!fresh && count >= LOADS) return stop();
      sessionStorage.setItem(KEY, fresh ? '1 ' + Date.now() : count + 1 + ' ' + since);
    } catch (refused) {
      const [from] = performance.getEntriesByType('navigation');
      if (!from || from.type === 'reload') return stop();
    }
    location.reload();
  };
  const stop = () => { shown('wait', false); shown('again', true); };
  const look = () => {
    if (document.hidden) return document.addEventListener('visibilitychange', look, { once: true });
    fetch(location.href, { method: 'HEAD', cache: 'no-store', redirect: 'manual' }).then(
      (answer) => ([429, 502, 503, 504].includes(answer.status) ? wait() : load()),
      wait,
    );
  };
  const wait = () => {
    if (tries === WAITS.length) return stop();
    setTimeout(look, WAITS[tries++] * (500 + Math.random() * 1000));
  };
  shown('wait', true);
  shown('again', false);
  wait();
})();
