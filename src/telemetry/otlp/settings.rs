//! Where telemetry goes and how: what the file says, else what `OTEL_*` variables say.
//!
//! The file goes before the environment, as whatever is configured in code does in OpenTelemetry's
//! SDKs; `OTEL_SDK_DISABLED` goes before both. Nothing is sent where neither names an endpoint, so
//! that no process calls anybody unasked. A wrong endpoint is an error. Any other variable that
//! cannot be understood is as good as unset, as the specification asks, and somebody is told.
//!
//! Pure: the environment is an argument. Nothing that is told repeats a value: keys are in them.

mod endpoint;
mod reading;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use rustls::ClientConfig;

use super::super::trace::sampler::Sampler;
use reading::Reading;

/// Asked for `OTEL_...`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What goes out, and where.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    pub traces: Option<Target>,
    pub metrics: Option<Target>,
    /// Names and values of what is the same for all that is sent.
    pub resource: Vec<(String, String)>,
    pub sampler: Sampler,
    /// Requests whose spans may wait.
    pub queue: usize,
    /// So many make a batch.
    pub batch: usize,
    /// A batch that is not full is sent after this time.
    pub delay: Duration,
    /// Between two looks at the metrics.
    pub interval: Duration,
}

impl OtlpSettings {
    /// Nothing goes out.
    pub fn off() -> Self {
        Self {
            traces: None,
            metrics: None,
            resource: Vec::new(),
            sampler: Sampler::never().based_on_parent(),
            queue: 2048,
            batch: 512,
            delay: Duration::from_secs(5),
            interval: Duration::from_secs(60),
        }
    }
}

/// Where one signal goes.
#[derive(Clone)]
pub struct Target {
    pub protocol: Protocol,
    /// Without its brackets where it is an IPv6 address.
    pub host: Box<str>,
    pub port: u16,
    pub authority: Box<str>,
    pub is_tls: bool,
    /// For HTTP; gRPC's are fixed.
    pub path: Box<str>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For one attempt.
    pub timeout: Duration,
    /// Who vouches for the collector, as a file; else the system's authorities.
    pub certificate: Option<Box<str>>,
    /// Present for https, once it is set up.
    pub tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} over {:?}", self.protocol)
    }
}

/// Without the path, which may hold a key.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.authority)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// What goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    /// As a variable has it.
    fn variable(self) -> &'static str {
        match self {
            Signal::Traces => "TRACES",
            Signal::Metrics => "METRICS",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
        }
    }
}

/// Something that is wrong, or has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The variable; none where it is the file's endpoint.
    pub variable: Option<String>,
    pub what: String,
    pub remedy: &'static str,
    pub is_error: bool,
}

/// What the file says.
#[derive(Debug, Default, Clone, Copy)]
pub struct Said<'a> {
    pub endpoint: Option<&'a str>,
    pub ratio: Option<f64>,
}

/// What becomes of both.
pub fn settings(said: Said<'_>, environment: Environment<'_>) -> (OtlpSettings, Vec<Complaint>) {
    let mut reading = Reading { environment, complaints: Vec::new() };
    let is_disabled =
        reading.get("OTEL_SDK_DISABLED").is_some_and(|said| said.eq_ignore_ascii_case("true"));
    let mut settings = OtlpSettings::off();
    if !is_disabled {
        settings.traces = reading.target(Signal::Traces, said.endpoint);
        settings.metrics = reading.target(Signal::Metrics, said.endpoint);
        settings.resource = reading.resource();
        let off = OtlpSettings::off();
        settings.queue = reading.count("OTEL_BSP_MAX_QUEUE_SIZE", off.queue);
        settings.batch =
            reading.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", off.batch).min(settings.queue);
        settings.delay = reading.millis("OTEL_BSP_SCHEDULE_DELAY", off.delay);
        settings.interval = reading.millis("OTEL_METRIC_EXPORT_INTERVAL", off.interval);
        settings.sampler = reading.sampler(said.ratio);
    }
    (settings, reading.complaints)
}
