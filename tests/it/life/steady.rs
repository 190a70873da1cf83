//! Under a steady load nobody notices reloads that concern others. `benches/streams_under_reload`
//! has the full size.

use std::time::Duration;

#[path = "../../steady/mod.rs"]
mod load;

use load::{Outcome, Size, run};

#[test]
fn reloads_that_concern_others_fail_no_request_and_lose_no_websocket() {
    let pause = Duration::from_millis(25);
    let size = Size { websockets: 30, clients: 4, reloads: 20, pause };
    let Outcome { requests, messages, failures, slowest } = run(size);
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(requests >= 20 && messages >= 30 * 10, "{requests} {messages} {slowest:?}");
}
