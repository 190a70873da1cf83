// What NGINX does in njs for the cases `session` and `launch`: the work that Vestibule does there by
// itself. Written for njs 0.7.9, Debian's: no destructuring, no preloaded objects.
//
// A session is ID.USER.EXPIRES.MAC in a cookie. Each function is called once a request, by js_set,
// leaves what the headers need in variables of nginx.conf, and returns the status of a refusal or
// nothing.

import crypto from 'crypto';

const KEY = 'everybody knows this key: it signs for one run on loopback';
const COOKIE = '__Host-vestibule-bench=';
const LIFE = 12 * 3600;
const SINGLE = ['mode', 'user_id', 'require_user_id', 'allow_generated_id', 'direction'];

function mac(payload) {
    return crypto.createHmac('sha256', KEY).update(payload).digest('base64url');
}

// The session as [id, user, expires], or null. The app gets the other cookies.
function session(r) {
    const pieces = (r.headersIn.Cookie || '').split('; ');
    const others = [];
    let value = '';
    for (let i = 0; i < pieces.length; i++) {
        if (pieces[i].startsWith(COOKIE)) {
            value = pieces[i].slice(COOKIE.length);
        } else {
            others.push(pieces[i]);
        }
    }
    r.variables.app_cookie = others.join('; ');
    const end = value.lastIndexOf('.');
    if (end < 0 || mac(value.slice(0, end)) !== value.slice(end + 1)) {
        return null;
    }
    const parts = value.split('.');
    return Number(parts[2]) > Date.now() / 1000 ? parts : null;
}

function tell(r, id, user) {
    r.variables.user_id = user;
    // The app may know which session it is, and must not be able to act with it.
    r.variables.session = crypto.createHash('sha256').update(id).digest('hex').slice(0, 32);
}

// A request within a page: the session says who is asking.
function request(r) {
    const found = session(r);
    if (found === null) {
        return '401';
    }
    tell(r, found[0], found[1]);
    return '';
}

// The page itself: the query says who is asking, and the session goes on if it is the same user's.
function launch(r) {
    const args = r.args;
    for (let i = 0; i < SINGLE.length; i++) {
        if (Array.isArray(args[SINGLE[i]])) {
            return '400';
        }
    }
    const user = args.user_id;
    if (user === undefined || !/^[1-9][0-9]{0,15}$/.test(user)) {
        return '400';
    }
    if (args.mode !== undefined && args.mode !== 'customer') {
        return '403';
    }
    const contradicts = args.require_user_id === 'false' || args.allow_generated_id === 'true';
    if (contradicts || !/^(|ltr|rtl|auto)$/.test(args.direction || '')) {
        return '400';
    }
    const found = session(r);
    if (found !== null && found[1] === user) {
        tell(r, found[0], user);
        return '';
    }
    const id = r.variables.request_id;
    const payload = id + '.' + user + '.' + (Math.floor(Date.now() / 1000) + LIFE);
    r.variables.new_cookie = COOKIE + payload + '.' + mac(payload)
        + '; Max-Age=' + LIFE + '; Path=/; Secure; HttpOnly; SameSite=None; Partitioned';
    tell(r, id, user);
    return '';
}

export default { request, launch };
