//! What a process and its successor say to each other: every message has one spelling.

use vestibule::upgrade::wire::Message;

use super::shown;

/// A frame without its length.
pub fn upgrade_message(bytes: &[u8]) {
    let Ok(message) = Message::read(bytes) else { return };
    let mut frame = Vec::new();
    message.write(&mut frame);
    let (length, written) = frame.split_first_chunk().unwrap();
    assert_eq!(u32::from_be_bytes(*length) as usize, written.len(), "{}", shown(bytes));
    assert_eq!(shown(written), shown(bytes), "{}", message.name());
    // What is in it stays out of logs.
    assert!(message.name().bytes().all(|byte| byte.is_ascii_uppercase()));
}
