// What NGINX does in njs for the cases `session`, `launch` and `signed`: the work that Vestibule does there by
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

// The secret is known to everybody: it signs for one run on loopback.
const SECRET = 'everybody knows this secret, it signs nothing else';
const MAX_AGE = 5 * 60 * 1000;
const AHEAD = 60 * 1000;
const CLAIMS = SINGLE.concat(['timestamp', 'signature']);
const ANCESTORS = "frame-ancestors 'self' https://www.known.example";

function decoded(text) {
    return decodeURIComponent(text.replace(/\+/g, ' '));
}

// As URLSearchParams prints a name or a value.
function encoded(text) {
    return encodeURIComponent(text).replace(/%20/g, '+').replace(/[!'()~]/g, function (it) {
        return '%' + it.charCodeAt(0).toString(16).toUpperCase();
    });
}

function isEqual(one, other) {
    let differs = one.length ^ other.length;
    for (let i = 0; i < one.length; i++) {
        differs |= one.charCodeAt(i) ^ other.charCodeAt(i);
    }
    return differs === 0;
}

// The page of a launch that the tenant's server has signed. Whoever holds the session that the
// signature began may repeat it: the first half of the signature is part of the session's id.
function signed(r) {
    const pairs = [];
    const claims = {};
    const pieces = (r.variables.args || '').split('&');
    try {
        for (let i = 0; i < pieces.length; i++) {
            if (pieces[i] === '') {
                continue;
            }
            const at = pieces[i].indexOf('=');
            const name = decoded(at < 0 ? pieces[i] : pieces[i].slice(0, at));
            const value = at < 0 ? '' : decoded(pieces[i].slice(at + 1));
            if (CLAIMS.indexOf(name) >= 0) {
                if (claims[name] !== undefined) {
                    return name === 'timestamp' || name === 'signature' ? '401' : '400';
                }
                claims[name] = value;
            }
            if (name !== 'signature') {
                pairs.push([name, value]);
            }
        }
    } catch (e) {
        return '400';
    }
    if (!/^[0-9a-fA-F]{64}$/.test(claims.signature || '') || !/^[0-9]{13}$/.test(claims.timestamp || '')) {
        return '401';
    }
    pairs.sort(function (one, other) {
        return one[0] < other[0] ? -1 : one[0] > other[0] ? 1 : 0;
    });
    const canonical = pairs.map(function (pair) {
        return encoded(pair[0]) + '=' + encoded(pair[1]);
    }).join('&');
    const expected = crypto.createHmac('sha256', SECRET).update(canonical).digest('hex');
    if (!isEqual(expected, claims.signature.toLowerCase())) {
        return '401';
    }
    const proof = expected.slice(0, 32);
    const found = session(r);
    const isHeld = found !== null && found[0].slice(-32) === proof;
    const age = Date.now() - Number(claims.timestamp);
    if (!isHeld && (age > MAX_AGE || age < -AHEAD)) {
        return '401';
    }
    const user = claims.user_id;
    if (user === undefined || !/^[1-9][0-9]{0,15}$/.test(user)) {
        return '400';
    }
    if (claims.mode !== undefined && claims.mode !== 'customer') {
        return '403';
    }
    if (claims.require_user_id === 'false' || claims.allow_generated_id === 'true'
        || !/^(|ltr|rtl|auto)$/.test(claims.direction || '')) {
        return '400';
    }
    r.variables.canonical = canonical;
    if (isHeld && found[1] === user) {
        tell(r, found[0], user);
        return '';
    }
    const id = r.variables.request_id + proof;
    const payload = id + '.' + user + '.' + (Math.floor(Date.now() / 1000) + LIFE);
    r.variables.new_cookie = COOKIE + payload + '.' + mac(payload)
        + '; Max-Age=' + LIFE + '; Path=/; Secure; HttpOnly; SameSite=None; Partitioned';
    tell(r, id, user);
    return '';
}

// The app's policy, with the pages that may embed it in the place of what it says of them.
function csp(r) {
    const theirs = r.variables.upstream_http_content_security_policy || '';
    const kept = theirs.split(';').filter(function (directive) {
        return directive.trim() !== '' && !/^\s*frame-ancestors(\s|$)/i.test(directive);
    });
    kept.push(' ' + ANCESTORS);
    return kept.join(';').trim();
}

export default { request, launch, signed, csp };
