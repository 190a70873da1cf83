document.getElementById('open').addEventListener('submit', (event) => {
  event.preventDefault();
  const url = new URL(document.getElementById('value').value.trim());
  if (url.origin !== chat.origin) throw new Error(`that leads to ${url.origin}`);
  write('page:', { src: `${url.origin}${url.pathname}` });
  iframe.src = url.toString();
});
