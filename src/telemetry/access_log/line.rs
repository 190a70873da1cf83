//! A record as one line of JSON, written straight into the buffer that goes to the file.
//!
//! A line is printable ASCII whatever a client sent: every other character is escaped, so that nobody
//! can forge a line, turn text around or speak to the terminal that shows it. What is free in length
//! is cut, visibly and never inside a character or an escape.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{LONGEST_PATH, Record};
use crate::config::snapshot::UserIds;
use crate::net::address::write_address;
use crate::policy::pseudonym::{Pseudonym, TenantPseudonyms};

/// Bytes of any other text.
const LONGEST: usize = 256;
/// No line is longer, its line feed included.
pub const LONGEST_LINE: usize = 4096;
/// What stands where a text was cut.
const CUT: &[u8] = b"\\u2026";
/// Users whose pseudonyms are kept.
const MOST_KNOWN: usize = 4096;

/// Writes lines; of one worker.
#[derive(Debug, Default)]
pub struct Lines {
    users: Users,
    second: Second,
}

impl Lines {
    pub fn calling_users(user_ids: UserIds) -> Self {
        Self { users: Users { user_ids, ..Users::default() }, ..Self::default() }
    }

    /// Adds the line with its line feed.
    pub fn write(&mut self, record: &Record, out: &mut Vec<u8>) {
        out.reserve(LONGEST_LINE);
        out.extend_from_slice(b"{\"time\":\"");
        self.second.write(record.time, out);
        out.extend_from_slice(b"\",\"client\":\"");
        write_address(out, record.client);
        out.push(b'"');
        text(out, "method", record.method.as_str(), LONGEST);
        text(out, "scheme", record.scheme, LONGEST);
        maybe(out, "protocol", record.protocol);
        maybe(out, "host", record.host.as_deref());
        if let Some(path) = &record.path {
            text(out, "path", path, LONGEST_PATH);
        }
        if let Some(status) = record.status {
            number(out, "status", u64::from(status.as_u16()));
        }
        maybe(out, "tenant", record.tenant.as_deref());
        maybe(out, "persona", record.persona.as_deref());
        maybe(out, "device", record.device.as_deref());
        if let (Some(tenant), Some(user_id)) = (&record.tenant, &record.user_id) {
            self.users.write(tenant, user_id, out);
        }
        number(out, "request_bytes", record.request_bytes);
        number(out, "response_bytes", record.response_bytes);
        milliseconds(out, "duration_ms", record.duration);
        if let Some(first_byte) = record.first_byte {
            milliseconds(out, "first_byte_ms", first_byte);
        }
        maybe(out, "code", record.code);
        maybe(out, "reason", record.reason);
        if record.aborted {
            out.extend_from_slice(b",\"aborted\":true");
        }
        text(out, "request_id", record.request_id.as_str(), LONGEST);
        if let Some(trace_id) = &record.trace_id {
            key(out, "trace_id");
            out.push(b'"');
            trace_id.bytes().iter().for_each(|byte| hexadecimal(out, *byte));
            out.push(b'"');
        }
        out.extend_from_slice(b"}\n");
    }
}

fn maybe(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, key, value, LONGEST);
    }
}

fn key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// To the microsecond.
fn milliseconds(out: &mut Vec<u8>, name: &str, duration: Duration) {
    let micros = (duration.as_nanos() + 500) / 1000;
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    number(out, name, micros / 1000);
    out.push(b'.');
    digits(out, micros % 1000);
}

/// Three of them.
fn digits(out: &mut Vec<u8>, below_1000: u64) {
    let digit = |value: u64| b'0' + (value % 10) as u8;
    out.extend_from_slice(&[digit(below_1000 / 100), digit(below_1000 / 10), digit(below_1000)]);
}

fn hexadecimal(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[byte >> 4, byte & 0xf].map(|nibble| DIGITS[usize::from(nibble)]));
}

/// A text, escaped, of at most `longest` bytes.
fn text(out: &mut Vec<u8>, name: &str, value: &str, longest: usize) {
    key(out, name);
    out.push(b'"');
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if value.len() <= longest && value.bytes().all(is_plain) {
        out.extend_from_slice(value.as_bytes());
    } else {
        escape(out, value, longest);
    }
    out.push(b'"');
}

#[cold]
fn escape(out: &mut Vec<u8>, value: &str, longest: usize) {
    let start = out.len();
    let end = start + longest;
    // Where it would be cut.
    let mut cut = out.len();
    for character in value.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            ' '..='~' => out.push(character as u8),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a Vec cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
        if out.len() > end {
            out.truncate(cut);
            out.truncate(start + unbroken(&out[start..]));
            out.extend_from_slice(CUT);
            return;
        }
        if out.len() + CUT.len() <= end {
            cut = out.len();
        }
    }
}

/// How much of a text that was cut ends with a whole percent escape, and with all that spell its last
/// character.
fn unbroken(text: &[u8]) -> usize {
    let last = text.len().saturating_sub(2);
    let open = text[last..].iter().position(|byte| *byte == b'%');
    let end = open.map_or(text.len(), |at| last + at);
    let mut at = end;
    for count in 1..=4 {
        let Some(byte) = at.checked_sub(3).and_then(|from| escaped(&text[from..at])) else { break };
        at -= 3;
        match byte.leading_ones() {
            // It goes on what others began.
            1 => {}
            needed @ 2..=4 if needed > count => return at,
            _ => break,
        }
    }
    end
}

/// The byte of `%C3`.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low] = *text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The second that lines are written in: formatted once.
#[derive(Debug, Default)]
struct Second {
    since_1970: u64,
    /// `2026-11-21T13:34:58.`, empty before the first line.
    text: String,
}

impl Second {
    fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since_1970.as_secs() != self.since_1970 || self.text.is_empty() {
            self.since_1970 = since_1970.as_secs();
            let second = UNIX_EPOCH + Duration::from_secs(self.since_1970);
            self.text = humantime::format_rfc3339_seconds(second).to_string().replace('Z', ".");
        }
        out.extend_from_slice(self.text.as_bytes());
        digits(out, u64::from(since_1970.subsec_millis()));
        out.push(b'Z');
    }
}

/// What users are called.
#[derive(Debug, Default)]
struct Users {
    user_ids: UserIds,
    tenants: HashMap<Arc<str>, Known>,
    /// Of all tenants.
    known: usize,
}

#[derive(Debug)]
struct Known {
    with: TenantPseudonyms,
    users: HashMap<Box<str>, Pseudonym>,
}

impl Users {
    fn write(&mut self, tenant: &Arc<str>, user_id: &str, out: &mut Vec<u8>) {
        match &self.user_ids {
            UserIds::Off => {}
            UserIds::Plain => text(out, "user_id", user_id, LONGEST),
            UserIds::Hashed(_) => {
                if let Some(pseudonym) = self.pseudonym(tenant, user_id) {
                    text(out, "user_id", pseudonym.as_str(), LONGEST);
                }
            }
        }
    }

    /// Whoever comes once comes again: a pseudonym is computed when it is first asked for.
    fn pseudonym(&mut self, tenant: &Arc<str>, user_id: &str) -> Option<Pseudonym> {
        let UserIds::Hashed(pseudonyms) = &self.user_ids else { return None };
        if self.known >= MOST_KNOWN {
            self.known = 0;
            self.tenants.clear();
        }
        if !self.tenants.contains_key(tenant) {
            let known = Known { with: pseudonyms.of(tenant), users: HashMap::new() };
            self.tenants.insert(Arc::clone(tenant), known);
            self.known += 1;
        }
        let known = self.tenants.get_mut(tenant)?;
        if let Some(pseudonym) = known.users.get(user_id) {
            return Some(*pseudonym);
        }
        let pseudonym = known.with.call(user_id);
        known.users.insert(user_id.into(), pseudonym);
        self.known += 1;
        Some(pseudonym)
    }
}

#[cfg(test)]
mod tests;
