//! What a reload of 100,000 personas does to requests that are under way.
//!
//! `cargo bench --bench reload_under_load` starts a server with one worker, keeps one client
//! asking, and reloads the whole file ten times. It prints how long reloads took, that no request
//! failed, and the slowest answers with and without a reload under way.

#![allow(clippy::disallowed_methods, reason = "the bench's own threads, no worker")]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vestibule::app::{App, Options};
use vestibule::config::History;
use vestibule::reload::{ReloadOutcome, Reloader};

const PERSONAS: usize = 100_000;
const RELOADS: usize = 10;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: p7.example\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn main() {
    let upstream = upstream();
    let path = std::env::temp_dir().join(format!("vestibule-reload-{}.toml", std::process::id()));
    write(&path, &upstream, 0);
    let loaded = vestibule::config::follow(&path, &History::default());
    let snapshot = loaded.snapshot.expect("the generated configuration is sound");
    let app = App::start(snapshot, Options::default()).expect("loopback can be bound");
    let install = Box::new(app.installer());
    let mut reloader =
        Reloader::new(path.clone(), &app.snapshot(), (loaded.sources, loaded.history), install);

    let reloading = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicBool::new(false));
    let client = {
        let (reloading, done, address) = (reloading.clone(), done.clone(), app.http()[0]);
        std::thread::spawn(move || ask(TcpStream::connect(address), &reloading, &done))
    };
    std::thread::sleep(Duration::from_secs(2));
    let mut took = Vec::new();
    for round in 1..=RELOADS {
        write(&path, &upstream, round);
        reloading.store(true, Ordering::SeqCst);
        let start = Instant::now();
        let outcome = reloader.reload();
        took.push(start.elapsed().as_millis());
        reloading.store(false, Ordering::SeqCst);
        assert!(matches!(outcome, ReloadOutcome::Applied { .. }), "{outcome}");
        std::thread::sleep(Duration::from_millis(200));
    }
    done.store(true, Ordering::SeqCst);
    let (mut quiet, mut busy) = client.join().expect("every request was answered");
    took.sort_unstable();
    println!("{RELOADS} reloads of {PERSONAS} personas: {} to {} ms", took[0], took[RELOADS - 1]);
    report("no reload under way", &mut quiet);
    report("a reload under way", &mut busy);
    println!("failed requests: 0");
    let _ = std::fs::remove_file(path);
}

fn report(title: &str, answers: &mut [Duration]) {
    answers.sort_unstable();
    let at = |part: f64| answers[((answers.len() - 1) as f64 * part) as usize];
    println!(
        "{title}: {} answers, median {:?}, 99 % {:?}, 99.9 % {:?}, slowest {:?}",
        answers.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// Asks until `done`; how long each answer took, apart by whether a reload was under way.
fn ask(
    stream: std::io::Result<TcpStream>,
    reloading: &AtomicBool,
    done: &AtomicBool,
) -> (Vec<Duration>, Vec<Duration>) {
    let mut stream = stream.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP option");
    let (mut quiet, mut busy, mut buffer) = (Vec::new(), Vec::new(), [0; 4096]);
    while !done.load(Ordering::SeqCst) {
        let was_reloading = reloading.load(Ordering::SeqCst);
        let start = Instant::now();
        stream.write_all(REQUEST).expect("the connection stays open");
        let mut read = 0;
        while !buffer[..read].ends_with(b"ok") {
            read += stream.read(&mut buffer[read..]).expect("the connection stays open");
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "a request failed");
        }
        let took = start.elapsed();
        if was_reloading { busy.push(took) } else { quiet.push(took) }
    }
    (quiet, busy)
}

fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                    if stream.write_all(ANSWER).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn write(path: &Path, upstream: &str, round: usize) {
    let mut text = format!(
        "[server]\nhttp = [\"127.0.0.1:0\"]\nhttp_mode = \"serve\"\nworkers = 1\n\
         [telemetry]\naccess_log = \"off\"\n\
         [upstreams.app]\nservers = [\"http://{upstream}\"]\n[tenants.t]\nname = \"Round {round}\"\n"
    );
    for persona in 0..PERSONAS {
        let _ = writeln!(
            text,
            "[tenants.t.personas.p{persona}]\nhosts = [\"p{persona}.example\"]\nupstream = \"app\""
        );
    }
    std::fs::write(path, text).expect("the temporary folder can be written");
}
