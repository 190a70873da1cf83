//! `vestibule run`: serve until a signal says stop.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Options};

pub fn run(file: &Path) -> ExitCode {
    let loaded = crate::config::load(file);
    for problem in &loaded.problems {
        eprintln!("{problem}");
    }
    let Some(snapshot) = loaded.snapshot else { return ExitCode::FAILURE };
    let app = match App::start(snapshot, Options::default()) {
        Ok(app) => app,
        Err(error) => {
            eprintln!("vestibule: {error}");
            return ExitCode::FAILURE;
        }
    };
    for address in app.https() {
        eprintln!("vestibule: listening on https://{address}");
    }
    for address in app.http() {
        eprintln!("vestibule: listening on http://{address}");
    }
    match wait_for_signal() {
        Ok(Stop::Drain) => {
            eprintln!("vestibule: draining");
            app.drain();
            ExitCode::SUCCESS
        }
        Ok(Stop::Now) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vestibule: cannot listen for signals: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Stop {
    Drain,
    Now,
}

fn wait_for_signal() -> std::io::Result<Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let received = async |signal: &mut Signal| signal.recv().await;
        Ok(tokio::select! {
            _ = received(&mut terminate) => Stop::Drain,
            _ = received(&mut interrupt) => Stop::Now,
        })
    })
}
