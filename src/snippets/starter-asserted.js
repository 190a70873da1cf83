document.getElementById('open').addEventListener('submit', (event) => {
  event.preventDefault();
  const user = document.getElementById('value').value.trim();
  payload = { mode: '{{MODE}}', require_user_id: {{REQUIRE}}, allow_generated_id: {{GENERATE}} };
  if (user) payload.user_id = user;
  const url = new URL(chat);
  for (const [name, value] of Object.entries(payload)) url.searchParams.set(name, String(value));
  write('page:', { src: url.toString() });
  iframe.src = url.toString();
});
