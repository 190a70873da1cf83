//! The backend and the load generators of `benches/peers`.
//!
//! What `h2load` cannot do: counted full and resumed handshakes, WebSocket echo, server-sent
//! events, idle connections. Every generator checks what it receives and prints JSON lines; a
//! generator that saw one wrong answer exits 1.
//!
//! The generators prepare (connect, shake hands), print `{"event":"ready"}`, wait for a line on
//! standard input, work, print `{"event":"done",...}`, and wait for another line before they
//! close. So the caller can read the proxy's counters around the work alone.

mod args;
mod backend;
mod client;
mod handshake;
mod idle;
mod report;
mod sse;
mod ws;

use std::process::ExitCode;

const USAGE: &str = "usage: vestibule-load backend   --listen ADDR
       vestibule-load handshake TARGET --mode full|resume --connections N --seconds S
       vestibule-load ws        TARGET --connections N --seconds S
       vestibule-load sse       TARGET --connections N --events N --interval-us N
       vestibule-load idle      TARGET --connections N
TARGET: --addr ADDR --host NAME --ca FILE";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let outcome = args::Args::parse(words).and_then(|args| {
        runtime.block_on(async {
            match command.as_str() {
                "backend" => backend::run(&args).await,
                "handshake" => handshake::run(&args).await,
                "ws" => ws::run(&args).await,
                "sse" => sse::run(&args).await,
                "idle" => idle::run(&args).await,
                _ => Err(USAGE.into()),
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vestibule-load {command}: {error}");
            ExitCode::FAILURE
        }
    }
}
