//! Engine.IO, below Socket.IO and Rasa: a connection is many requests, all for one process.
//!
//! A connection begins with a polling request without `sid`; the answer's body names it, and every
//! request after that carries the name. What is read here only chooses a server: whoever sends a
//! name that is not theirs is sent to the process that will refuse it.

/// What a request is to its Engine.IO connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine<'q> {
    /// It begins one by polling: the answer will name it.
    Begins,
    Belongs(&'q [u8]),
}

/// Names are 20 characters; what is longer than this is none.
const MAX_SID: usize = 128;

/// How much of an answer's body holds the name.
pub const BEGINNING: usize = 256;

/// None for requests of other paths, and for a WebSocket that is a connection by itself.
pub fn engine<'q>(path: &str, query: Option<&'q str>) -> Option<Engine<'q>> {
    if !path.strip_suffix('/').unwrap_or(path).ends_with("/socket.io") {
        return None;
    }
    let query = query?;
    let value =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    match value("sid").filter(|sid| !sid.is_empty()) {
        Some(sid) if sid.len() <= MAX_SID => Some(Engine::Belongs(sid.as_bytes())),
        Some(_) => None,
        None => (value("transport") == Some("polling")).then_some(Engine::Begins),
    }
}

/// The name in the beginning of a handshake's answer: `0{"sid":"NAME",...`, with a length before
/// it in the older protocol.
pub fn sid(body: &[u8]) -> Option<&[u8]> {
    let length = body.iter().take_while(|&&byte| byte.is_ascii_digit() || byte == b':').count();
    let object = body[length..].strip_prefix(b"{")?;
    let after = memchr::memmem::find(object, b"\"sid\":\"").map(|at| &object[at + 7..])?;
    let name = &after[..memchr::memchr(b'"', after)?];
    let is_plain = name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    (is_plain && (1..=MAX_SID).contains(&name.len())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_begins_a_connection_or_belongs_to_one() {
        let check = |path: &str, query: &'static str, expected: Option<Engine<'static>>| {
            assert_eq!(engine(path, Some(query)), expected, "{path}?{query}");
        };
        check("/socket.io/", "EIO=4&transport=polling", Some(Engine::Begins));
        check("/bot/socket.io", "transport=polling&sid=", Some(Engine::Begins));
        check("/socket.io/", "EIO=4&transport=polling&sid=ab", Some(Engine::Belongs(b"ab")));
        check("/socket.io/", "sid=ab&transport=websocket", Some(Engine::Belongs(b"ab")));
        check("/socket.io/", "EIO=4&transport=websocket", None);
        check("/socket.io/x", "EIO=4&transport=polling", None);
        check("/", "sid=ab", None);
        assert_eq!(engine("/socket.io/", None), None);
    }

    #[test]
    fn the_answer_names_the_connection() {
        let check = |body: &str, expected: Option<&str>| {
            assert_eq!(sid(body.as_bytes()), expected.map(str::as_bytes), "{body}");
        };
        check(
            r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"]}"#,
            Some("lv_VI97HAXpY6yYWAAAC"),
        );
        check(r#"97:0{"sid":"abc","upgrades":[]}2:40"#, Some("abc"));
        check(r#"0{"upgrades":[],"sid":"abc"}"#, Some("abc"));
        for none in ["", "0", "0{}", "hello", r#"0{"sid":""}"#, r#"0{"sid":"a"#, r#"{"sid":"a b"}"#]
        {
            check(none, None);
        }
    }
}
