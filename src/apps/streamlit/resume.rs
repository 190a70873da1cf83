//! The resume id in a Streamlit page's WebSocket handshake.

/// The subprotocols without the third, which names the session that the page wants back; nothing
/// where there is none.
pub fn without_resume_id(subprotocols: &[u8]) -> Option<Vec<u8>> {
    let mut parts = subprotocols.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let (first, second) = (parts.next()?, parts.next()?);
    parts.next()?;
    Some([first, second].join(&b", "[..]))
}
