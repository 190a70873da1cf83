// A customer's server, as the two documents for integrators have it: reads
// {function, baseUrl, secret, params | overrides, prefill} as JSON, and prints a URL, or pairs for a form.
import crypto from 'node:crypto';
import { text } from 'node:stream/consumers';

const hmac = (secret, payload) => crypto.createHmac('sha256', secret).update(payload).digest('hex');

const functions = {
  // Of the embedding document: append what there is to say and the time, sort, sign, append the signature.
  generateSignedUrl({ baseUrl, secret, params: given }) {
    const params = new URLSearchParams();
    for (const [name, value] of given) params.append(name, value);
    params.append('timestamp', Date.now().toString());
    params.sort();
    const payload = params.toString();
    params.append('signature', hmac(secret, payload));
    return `${baseUrl}?${params.toString()}`;
  },

  // Of the injection document: set both texts as base64 of JSON, and the time; the rest is the same.
  buildSignedInjectionUrl({ baseUrl, secret, overrides, prefill }) {
    const params = new URLSearchParams();
    params.set('instructionOverrides', btoa(JSON.stringify(overrides)));
    params.set('prefillMessages', btoa(JSON.stringify(prefill)));
    params.set('timestamp', Date.now().toString());
    params.sort();
    const payload = params.toString();
    params.set('signature', hmac(secret, payload));
    return `${baseUrl}?${params.toString()}`;
  },

  // For a form, whose fields are not base64: the same steps, and the pairs instead of a URL.
  signForm({ secret, params: given }) {
    const params = new URLSearchParams(given);
    params.append('timestamp', Date.now().toString());
    params.sort();
    params.append('signature', hmac(secret, params.toString()));
    return [...params];
  },
};

const asked = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(functions[asked.function](asked)));
