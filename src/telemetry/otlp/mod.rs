//! Telemetry on its way out: OTLP over gRPC or HTTP, from a thread of its own.
//!
//! Whoever has something to tell puts it into an [`outbox::Outbox`] and goes on; a full one drops
//! and counts. The thread sends batches by size and time, tries again as the specification says, and
//! at the end sends what is left within [`FLUSH`]. A collector that is away costs a warning a minute
//! and what found no room, nothing else.
//!
//! The types are the official ones (opentelemetry-proto); the sender is ours. opentelemetry-otlp
//! would bring tonic or reqwest, and the SDK builds a span where we note a moment and must not decide
//! twice what is recorded; metrics here are atomics that are read when they are sent, for which the
//! SDK has no histogram. What is needed of OTLP beyond its types is two requests.

pub mod exporter;
pub mod outbox;
pub mod settings;
mod status;
mod transport;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::Metric;
use tokio::sync::watch;

use super::trace::Sink;
use super::warn::Warn;
use exporter::Exporter;
use outbox::Outbox;
use settings::OtlpSettings;

/// Stopping waits so long for what is left to be sent.
pub const FLUSH: Duration = Duration::from_secs(5);

/// Reads all metrics as they are now. Asked on the sending thread, every `OTEL_METRIC_EXPORT_INTERVAL` and once at the end.
pub type Metrics = Box<dyn Fn() -> Vec<Metric> + Send + Sync>;

/// The pipe; dropping it sends what is left.
pub struct Otlp {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What the sending thread looks at.
struct Shared {
    traces: Option<Sink>,
    metrics: OnceLock<Metrics>,
    is_on: bool,
    failing: Arc<AtomicBool>,
}

/// How sending goes, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Nothing is sent.
    Off,
    Ok,
    /// The last attempt was in vain, or in part.
    Failing,
}

impl Otlp {
    /// Starts the sending thread, where there is anything to send and somebody to send it to.
    pub fn start(settings: OtlpSettings, warn: Warn) -> io::Result<Self> {
        let outbox = || Arc::new(Outbox::new(settings.queue, settings.batch));
        let traces = settings.traces.as_ref().map(|_| outbox());
        let is_on = settings.traces.is_some() || settings.metrics.is_some();
        let (metrics, failing) = (OnceLock::new(), Arc::default());
        let shared = Arc::new(Shared { traces, metrics, is_on, failing });
        let (stop, stopped) = watch::channel(false);
        let thread = match is_on {
            true => Some(spawn(Arc::clone(&shared), settings, warn, stopped)?),
            false => None,
        };
        Ok(Self { shared, stop, thread })
    }

    /// Where spans go, where they go anywhere.
    pub fn traces(&self) -> Option<Sink> {
        self.shared.traces.clone()
    }

    /// Sends what `metrics` reads from now on; the first to say so is heard.
    pub fn observe(&self, metrics: Metrics) {
        // A second one would send everything twice.
        let _ = self.shared.metrics.set(metrics);
    }

    /// Requests whose spans found no room.
    pub fn dropped(&self) -> u64 {
        self.view().dropped()
    }

    /// For whoever wants to know how it goes.
    pub fn view(&self) -> View {
        View(Arc::clone(&self.shared))
    }
}

/// How the pipe is, long after it was handed out.
#[derive(Clone)]
pub struct View(Arc<Shared>);

impl View {
    /// Requests whose spans found no room.
    pub fn dropped(&self) -> u64 {
        self.0.traces.as_ref().map_or(0, |traces| traces.dropped())
    }

    pub fn sending(&self) -> Sending {
        match (self.0.is_on, self.0.failing.load(Ordering::Relaxed)) {
            (false, _) => Sending::Off,
            (true, false) => Sending::Ok,
            (true, true) => Sending::Failing,
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("sending", &self.sending()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").field("is_on", &self.thread.is_some()).finish_non_exhaustive()
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        // Nobody listens where there is no thread.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the runtime already.
            let _ = thread.join();
        }
    }
}

fn spawn(
    shared: Arc<Shared>,
    settings: OtlpSettings,
    warn: Warn,
    stopped: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exporter = Exporter::new(settings, (warn, Arc::clone(&shared.failing)), seed);
    std::thread::Builder::new().name("otlp".into()).spawn(move || {
        runtime.block_on(exporter.run(&shared, stopped));
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
    })
}
