//! What a server says on standard error.
//!
//! Whoever says something is at work: it watches upstreams, reloads, hands over. It must neither
//! wait for a terminal that nobody reads nor end because a pipe has ended. Once the server is about
//! to serve ([`start`]), lines go through a bounded queue to a thread of their own; what finds no
//! room there is lost, and counted. Before and after that they are written at once. Nobody is told
//! of what cannot be written: there is nowhere to say it.
//!
//! A process has one standard error, and so has this module one voice.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// That may wait.
const LINES: usize = 1024;
/// For what is left when the server has ended.
const PATIENCE: Duration = Duration::from_secs(2);

static VOICE: OnceLock<Voice> = OnceLock::new();

#[derive(Debug)]
struct Voice {
    said: SyncSender<Said>,
    /// Lines that found no room since one was written.
    lost: AtomicU64,
    /// Hears when the last line is out.
    done: Mutex<Receiver<()>>,
}

#[derive(Debug)]
enum Said {
    Line(String),
    /// Nothing follows.
    End,
}

/// Says a line, or several.
pub fn say(what: Arguments<'_>) {
    match VOICE.get() {
        Some(voice) => voice.say(what.to_string()),
        None => write(&mut io::stderr(), &what.to_string()),
    }
}

/// From now on nobody waits who says something.
pub fn start() -> io::Result<()> {
    if VOICE.get().is_none() {
        // Whoever comes second ends with its sender.
        let _ = VOICE.set(Voice::speaking(io::stderr())?);
    }
    Ok(())
}

/// Waits for what was said, as long as somebody takes it.
pub fn finish() {
    if let Some(voice) = VOICE.get() {
        voice.finish(PATIENCE);
    }
}

impl Voice {
    fn speaking(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (said, hears) = mpsc::sync_channel(LINES);
        let (tell, done) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("voice".into()).spawn(move || speak(hears, out, tell))?;
        Ok(Self { said, lost: AtomicU64::new(0), done: Mutex::new(done) })
    }

    fn say(&self, line: String) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let line = match lost {
            0 => line,
            _ => format!("vestibule: {lost} lines are lost, nobody took them\n{line}"),
        };
        if self.said.try_send(Said::Line(line)).is_err() {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the last thing that a process does")]
    fn finish(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while self.said.try_send(Said::End).is_err() {
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn speak(hears: Receiver<Said>, mut out: impl Write, done: SyncSender<()>) {
    while let Ok(Said::Line(line)) = hears.recv() {
        write(&mut out, &line);
    }
    // Nobody may be there to hear it.
    let _ = done.try_send(());
}

/// In one piece, so that lines of two threads stay lines.
fn write(out: &mut impl Write, line: &str) {
    let _ = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Takes nothing before it is let, and fails where it is told to.
    struct Slow {
        wrote: Arc<Mutex<Vec<u8>>>,
        let_go: Receiver<()>,
        fails: bool,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.let_go.recv();
            if self.fails {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.wrote.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn voice(fails: bool) -> (Voice, Arc<Mutex<Vec<u8>>>, SyncSender<()>) {
        let (wrote, (let_go, held)) = (Arc::default(), mpsc::sync_channel(1));
        let out = Slow { wrote: Arc::clone(&wrote), let_go: held, fails };
        (Voice::speaking(out).unwrap(), wrote, let_go)
    }

    #[test]
    fn nobody_waits_for_a_reader_that_takes_nothing() {
        let (voice, wrote, let_go) = voice(false);
        for line in 0..3 * LINES {
            voice.say(format!("line {line}"));
        }
        voice.finish(Duration::ZERO);
        assert!(wrote.lock().unwrap().is_empty());
        // From here on it takes all.
        drop(let_go);
        voice.finish(PATIENCE);
        let wrote = String::from_utf8(wrote.lock().unwrap().clone()).unwrap();
        assert!(wrote.starts_with("line 0\nline 1\n"), "{wrote}");
        let heard = wrote.lines().filter(|line| line.starts_with("line ")).count();
        // The one that it was writing, and the queue.
        assert!((LINES..=LINES + 1).contains(&heard), "{heard}");
    }

    #[test]
    fn what_is_lost_is_counted_for_the_next_who_is_heard() {
        let (voice, wrote, let_go) = voice(false);
        for line in 0..2 * LINES {
            voice.say(format!("line {line}"));
        }
        drop(let_go);
        let until = Instant::now() + Duration::from_secs(10);
        while wrote.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() < LINES {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
        voice.say("at last".to_owned());
        voice.finish(PATIENCE);
        let wrote = String::from_utf8(wrote.lock().unwrap().clone()).unwrap();
        let heard = wrote.lines().filter(|line| line.starts_with("line ")).count();
        // Whoever finds room first tells of those before, so there may be more than one count.
        let counts = wrote.lines().filter_map(|line| line.strip_prefix("vestibule: "));
        let lost = counts.filter_map(|count| count.split(' ').next()?.parse::<usize>().ok());
        assert_eq!(heard + lost.sum::<usize>(), 2 * LINES, "{wrote}");
        assert!(wrote.ends_with("lines are lost, nobody took them\nat last\n"), "{wrote}");
    }

    #[test]
    fn a_pipe_that_has_ended_ends_nobody() {
        let (voice, wrote, let_go) = voice(true);
        drop(let_go);
        for _ in 0..10 {
            voice.say("nobody hears".to_owned());
        }
        voice.finish(PATIENCE);
        assert!(wrote.lock().unwrap().is_empty());
    }
}
