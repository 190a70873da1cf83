// Signs launches of {{NAME}}. On your server only: the secret must never reach a page.
import { createHmac } from 'node:crypto';

// `params`: an object, a list of [name, value], or a query. Returns what goes behind the `?`.
export function sign(secret, params = {}) {
  const signed = new URLSearchParams(params);
  if (!signed.has('timestamp')) signed.append('timestamp', Date.now().toString());
  signed.sort();
  signed.append('signature', createHmac('sha256', secret).update(signed.toString()).digest('hex'));
  return signed.toString();
}

// const url = '{{URL}}?' + sign(process.env.SIGNING_SECRET, { {{EXAMPLE_JS}} });
// A form that is posted to {{URL}} has one hidden field
// for each pair of `new URLSearchParams(sign(...))`, and nothing else.
