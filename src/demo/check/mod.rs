//! `vestibule demo --check`: the persona seed's verification checklist, and the front door's own
//! promises, against a demo of its own over real TLS sockets.
//!
//! It runs anywhere: free ports, a temporary directory, 127.0.0.1 dialled by number with the host
//! in SNI. It trusts the demo's authority alone. It has no browser, and its lines must not claim
//! what only one can see: of scripts it says what their text holds.
//!
//! The limits are the demo's own, 60 launches a minute for an address. Each run counts from nothing,
//! because its demo is its own; what launches here costs one, and the last line uses up the rest.

mod client;
mod door;
mod firewall;
mod frame;
mod identity;
mod seed;
mod streams;
mod told;
mod watch;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Demo, DemoError};
use client::Client;

/// What a check found: nothing to say, or what was seen instead.
type Outcome = Result<(), String>;

pub fn run() -> Result<ExitCode, DemoError> {
    let directory = TemporaryDirectory::new()?;
    let demo = start_on_a_free_port(&directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DemoError::Signals)?;
    let address = (Ipv4Addr::LOCALHOST, demo.port).into();
    let client = Client::new(address, demo.store.ca().pem()).map_err(DemoError::Start)?;
    let mut report = Report::new(|line| println!("{line}"));
    runtime.block_on(async {
        everything(&client, &mut report).await;
        // Last: it shows what the others have left behind.
        watch::check(demo.app.admin(), &mut report).await;
    });
    demo.stop();
    Ok(report.finish())
}

async fn everything(client: &Client, report: &mut Report) {
    seed::check(client, report).await;
    door::check(client, report).await;
    streams::check(client, report).await;
    identity::check(client, report).await;
    firewall::check(client, report).await;
}

/// The lines, and how many of each kind.
struct Report {
    print: Box<dyn FnMut(&str)>,
    passed: usize,
    failed: usize,
}

impl Report {
    fn new(print: impl FnMut(&str) + 'static) -> Self {
        Self { print: Box::new(print), passed: 0, failed: 0 }
    }

    fn line(&mut self, text: impl AsRef<str>, outcome: Outcome) {
        let text = text.as_ref();
        match outcome {
            Ok(()) => {
                self.passed += 1;
                (self.print)(&format!("ok   {text}"));
            }
            Err(seen) => {
                self.failed += 1;
                (self.print)(&format!("FAIL {text}: {seen}"));
            }
        }
    }

    fn finish(mut self) -> ExitCode {
        (self.print)(&format!("{} passed, {} failed", self.passed, self.failed));
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// `Ok` when `holds`, else what was seen.
fn expect(holds: bool, seen: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(seen()) }
}

/// The configuration names its own port (in `embed_origins`), so a free one is found first; another
/// program may take it in between, hence the tries.
fn start_on_a_free_port(directory: &TemporaryDirectory) -> Result<Demo, DemoError> {
    const TRIES: usize = 5;
    let mut tries = 0;
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(DemoError::Backend)?;
        let port = listener.local_addr().map_err(DemoError::Backend)?.port();
        drop(listener);
        tries += 1;
        // Any port for the operators' page too: 9180 may be somebody else's.
        match Demo::start(&directory.0, port, 0) {
            Err(DemoError::PortTaken(_)) if tries < TRIES => {}
            started => return started,
        }
    }
}

/// Removed when dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn new() -> Result<Self, DemoError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| DemoError::Start(error.to_string()))?;
        let name = format!("vestibule-demo-check-{:016x}", u64::from_ne_bytes(random));
        Ok(Self(std::env::temp_dir().join(name)))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // Keys of an authority that nobody trusts: left behind they would harm nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
