//! The id by which a Streamlit page asks for the app session that it had before.
//!
//! Streamlit's pages put it among the WebSocket's subprotocols. Whoever presents it gets the
//! Python session behind it, with all that another identity has left there; so a session of ours
//! that succeeded another one must not pass it on.
//!
//! # What the versions do (read in their source)
//!
//! The page opens `new WebSocket(url, ["streamlit", TOKEN, ID])`. TOKEN is one that the host page
//! gave, else (1.67) the XSRF cookie's value, else `PLACEHOLDER_AUTH_TOKEN`; it is always there.
//! ID is the id of the app session that this document had before it lost its connection; without
//! one the list ends after TOKEN. The document keeps it in memory only: a document that was loaded
//! anew never sends one. What does is the old document that is still on the screen, in another
//! frame or tab: both versions connect again after any close, 1008 included, with the cookies that
//! are the browser's by then.
//!
//! Both servers cut the field at its commas and go by position: the first is the subprotocol that
//! is selected and sent back, the third the id (1.39: `browser_websocket_handler.py`; 1.67:
//! `starlette_websocket.py`, which takes an empty one for none, as 1.39 does in effect). What
//! follows the third is ignored; the second is read by 1.67 alone, to trust its own sign-in cookie.
//!
//! A session without a connection is kept for 120 seconds, and at most 128 of them
//! (`MemorySessionStorage`, both versions). 1.39 gives it to anybody with its id. 1.67 compares
//! `st.user`, which is the same for all strangers unless `server.trustedUserHeaders` is set, and
//! with an equal one takes over even a session that is connected. An unknown id is no error: a new
//! session begins.

/// The subprotocols without a resume id; none where there is nothing to drop. The value of all
/// Sec-WebSocket-Protocol lines, joined with commas.
///
/// Everything from the third place on goes: were only the third dropped, a fourth would be in its
/// place.
pub fn without_resume_id(subprotocols: &[u8]) -> Option<Vec<u8>> {
    let mut commas = memchr::memchr_iter(b',', subprotocols);
    let second = commas.nth(1)?;
    Some(subprotocols[..second].trim_ascii_end().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_third_place_or_later_is_dropped() {
        fn check(subprotocols: &str, expected: Option<&str>) {
            let seen = without_resume_id(subprotocols.as_bytes());
            assert_eq!(seen.as_deref(), expected.map(str::as_bytes), "{subprotocols:?}");
        }
        check("", None);
        check("streamlit", None);
        check("streamlit, PLACEHOLDER_AUTH_TOKEN", None);
        check(
            "streamlit, PLACEHOLDER_AUTH_TOKEN, 4c1b2a0e-7f0b-4a7e-9f5d-0d5a6a1d2b3c",
            Some("streamlit, PLACEHOLDER_AUTH_TOKEN"),
        );
        check("streamlit,2|ab|cd|1763683200 ,id", Some("streamlit,2|ab|cd|1763683200"));
        check("streamlit, t, id, id", Some("streamlit, t"));
        check("streamlit, t, , id", Some("streamlit, t"));
        check("streamlit,, id", Some("streamlit,"));
        check("streamlit, t,", Some("streamlit, t"));
    }
}
