//! W3C Trace Context: what is read is in the grammar, and what is written is read again.

use vestibule::telemetry::trace::context::{TraceParent, TraceState};

use super::shown;

/// The first line is a `traceparent`, each other one a `tracestate`.
pub fn trace_context(bytes: &[u8]) {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    if let Some(parent) = lines.next().and_then(|line| TraceParent::parse(line).map(|p| (line, p)))
    {
        check_parent(parent, bytes);
    }
    let Some(state) = TraceState::parse(lines) else { return };
    let mut written = Vec::new();
    state.write(&mut written);
    assert!(written.len() <= 512 && written.is_ascii(), "{}", shown(bytes));
    assert!(!written.iter().any(u8::is_ascii_control), "{}", shown(bytes));
    let again = TraceState::parse(std::iter::once(&written[..]));
    assert_eq!(again.unwrap().to_text(), state.to_text(), "{}", shown(bytes));
    let mut keys: Vec<_> = written
        .split(|&byte| byte == b',')
        .map(|member| member.split(|&byte| byte == b'=').next().unwrap_or_default())
        .collect();
    assert!(keys.len() <= 32, "{}", shown(bytes));
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{}", shown(bytes));
    if let Some(rest) = state.without_opentelemetry() {
        assert!(!rest.to_text().split(',').any(|member| member.starts_with("ot=")));
    }
}

fn check_parent((line, parent): (&[u8], TraceParent), bytes: &[u8]) {
    let written = parent.to_bytes();
    assert_eq!(TraceParent::parse(&written), Some(parent), "{}", shown(bytes));
    // The ids are what was written, digit by digit; the flags are no more than that.
    assert_eq!(written[2..53], line[2..53], "{}", shown(bytes));
    let given = u8::from_str_radix(std::str::from_utf8(&line[53..55]).unwrap(), 16).unwrap();
    assert_eq!(parent.flags.bits(), given & 3, "{}", shown(bytes));
    assert_ne!(parent.trace_id.bytes(), [0; 16], "{}", shown(bytes));
    assert_ne!(parent.parent_id.bytes(), [0; 8], "{}", shown(bytes));
    if line.starts_with(b"00") {
        assert_eq!(line.len(), 55, "{}", shown(bytes));
    }
}
