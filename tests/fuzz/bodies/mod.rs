//! What must hold for any bytes. Each body is a `fn(&[u8])` that panics where it does not: the
//! same functions serve `cargo test` (nearly valid input, and the seeds) and `cargo fuzz`.
//!
//! hyper is the oracle for boundaries. It may accept more than we do; it must never place the
//! boundaries of what we accept elsewhere.

pub mod admit;
pub mod chunk;
pub mod codec;
pub mod csp;
pub mod embed;
pub mod frames;
pub mod gate;
pub mod identity;
pub mod injection;
pub mod response;
pub mod signature;
pub mod trace;
pub mod upgrade;

use std::future::Future;

/// Limit of a trailer section; below hyper's own, so that only ours is met.
pub const MAX_TRAILERS: usize = 8 * 1024;
/// Longer inputs say nothing new.
pub const MAX_INPUT: usize = 64 * 1024;

pub type Body = fn(&[u8]);

/// The name of a body, as its seeds' folder is called, and the body.
#[allow(dead_code, reason = "a fuzz target uses one body, not the list")]
pub const ALL: [(&str, Body); 16] = [
    ("codec_against_hyper", codec::codec_against_hyper),
    ("response_against_hyper", response::response_against_hyper),
    ("chunk_decoder", chunk::chunk_decoder),
    ("frame_boundaries", frames::frame_boundaries),
    ("path_and_host", gate::path_and_host),
    ("admit", admit::admit),
    ("launch_metadata", identity::launch_metadata),
    ("session_token", identity::session_token),
    ("splice_document", embed::splice_document),
    ("csp_merge", csp::csp_merge),
    ("embed_config", embed::embed_config),
    ("beacon", embed::beacon),
    ("injection", injection::injection),
    ("signed_launch", signature::signed_launch),
    ("trace_context", trace::trace_context),
    ("upgrade_message", upgrade::upgrade_message),
];

/// Input as it can be pasted into a test.
pub fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Runs `future` on this thread's runtime, which has neither sockets nor timers.
pub fn block_on<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}
