//! The listener for operators: is it well, what is open, reload, drain.
//!
//! It decides who may ask ([`guard`]) and puts into JSON what others know ([`answer`]). It must not
//! have an effect that a signal or the configuration does not have too. It is HTTP/1 on a thread of
//! its own: an operator cannot slow a worker, and it goes on answering while the server drains.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /healthz` | 200 as long as the process lives; no token |
//! | `GET /readyz` | 200, and 503 from the moment on which it drains; no token |
//! | `GET /status` | what this is, since when, how much of what is open, how the upstreams' servers are |
//! | `GET /metrics` | numbers for Prometheus ([`crate::telemetry::metrics`]) |
//! | `GET /connections` | what is open, by persona; of one tenant, persona or site; each stream with `each=true` |
//! | `GET /`, and the files that [`page`] lists | the page, which holds no data; no token |
//! | `GET /overview` | everything that the page shows, at one moment ([`overview`]) |
//! | `GET /events` | the same every second, as an event stream ([`live`]) |
//! | `GET /personas`, `/upstreams`, `/certificates` | all of them, with what the overview says of some ([`lists`]) |
//! | `GET /config` | the configuration that serves, as TOML, without secrets ([`crate::config::shown`]) |
//! | `POST /explain` | what would become of a request, as `vestibule explain` has it ([`explained`]) |
//! | `POST /reload` | waits for the reload and tells what came of it: 200, or 422 where it was refused |
//! | `POST /drain` | ends the streams of `{"tenant", "persona" or "site", "within"}`, spread over that time |

mod answer;
mod content;
mod explained;
mod guard;
mod lists;
mod live;
mod operate;
mod overview;
mod page;
mod report;
mod sight;
mod turns;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::edge::worker::Shared;
use crate::net::intake::Door;
use crate::net::service::{self, Service};
use crate::reload::ReloadOutcome;
use crate::telemetry::otlp;
use crate::telemetry::request_id::Generator;
use overview::Scene;
use sight::{Reading, Sight};
use turns::Turns;

/// From accept to the last byte of the answer: a reload may wait for others, and read many files.
const PATIENCE: Duration = Duration::from_secs(300);

/// Reloads, and waits for what comes of it; nothing where the server has stopped following its
/// files.
pub type Reload = Box<dyn Fn() -> Option<ReloadOutcome> + Send + Sync>;

/// What operators may do.
pub struct Operations {
    shared: Arc<Shared>,
    otlp: otlp::View,
    started: Instant,
    names: Generator,
    reload: OnceLock<Reload>,
    hub: live::Hub,
    /// Held for as long as a look takes, by threads that may wait.
    watched: Mutex<Watched>,
    /// What the last look told, and when; held for no longer than it takes to be read, by any thread.
    told: Mutex<Option<(Instant, Arc<Value>)>>,
    /// For what takes a while.
    turns: Turns,
}

/// What whoever looked last has seen.
#[derive(Debug, Default)]
struct Watched {
    sight: Sight,
    reading: Reading,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}

impl Operations {
    /// `otlp` is what sends telemetry.
    pub fn new(shared: Arc<Shared>, otlp: otlp::View) -> io::Result<Arc<Self>> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let (started, names) = (Instant::now(), Generator::seeded(seed));
        Ok(Arc::new(Self {
            shared,
            otlp,
            started,
            names,
            reload: OnceLock::new(),
            hub: live::Hub::default(),
            watched: Mutex::default(),
            told: Mutex::default(),
            turns: Turns::default(),
        }))
    }

    /// Looks at everything, and tells of it. It takes a while where there are many personas.
    fn look(&self) -> Arc<Value> {
        let snapshot = self.shared.snapshot.load_full();
        // Who looks at the same time waits: its interval would be nothing.
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, reading) = (Instant::now(), Reading::of(&self.shared.metrics));
        watched.sight.observe(&reading, now);
        let told = Arc::new(overview::overview(&Scene {
            shared: &self.shared,
            snapshot: &snapshot,
            sight: &watched.sight,
            reading: &reading,
            uptime: self.started.elapsed(),
            time: SystemTime::now(),
            telemetry: &self.telemetry(),
        }));
        watched.reading = reading;
        let newest = Some((now, Arc::clone(&told)));
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = newest;
        told
    }

    /// Tells something else of what was seen last.
    fn tell<T>(&self, tell: impl FnOnce(&Scene<'_>) -> T) -> T {
        let snapshot = self.shared.snapshot.load_full();
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        tell(&Scene {
            shared: &self.shared,
            snapshot: &snapshot,
            sight: &watched.sight,
            reading: &watched.reading,
            uptime: self.started.elapsed(),
            time: SystemTime::now(),
            telemetry: &Value::Null,
        })
    }

    /// What was told last, where that is not older. It waits for nobody who looks.
    fn seen(&self, age: Duration) -> Option<Arc<Value>> {
        let newest = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, told) = newest.as_ref()?;
        (at.elapsed() <= age).then(|| Arc::clone(told))
    }

    /// What goes out of what is known, and how well.
    fn telemetry(&self) -> Value {
        json!({
            "access_log": if self.shared.access_log.is_on() { "on" } else { "off" },
            "access_log_dropped": self.shared.access_log.dropped(),
            "spans_dropped": self.otlp.dropped(),
            "otlp": match self.otlp.sending() {
                otlp::Sending::Off => "off",
                otlp::Sending::Ok => "ok",
                otlp::Sending::Failing => "failing",
            },
            "recent_rejections_missed": self.shared.recent.missed(),
            "watchers": self.hub.watchers(),
        })
    }

    /// How to reload; until this is said a reload is refused.
    pub fn reload_with(&self, reload: Reload) {
        // The first one stays: a server follows one file.
        let _ = self.reload.set(reload);
    }
}

/// Serves whoever comes to `door` until what is returned is dropped.
pub fn serve(door: Door, operations: Arc<Operations>) -> io::Result<Service> {
    service::serve("admin", door, PATIENCE, move |request| {
        answer::answer(Arc::clone(&operations), request)
    })
}
