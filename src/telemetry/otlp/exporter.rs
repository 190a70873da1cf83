//! The sending thread: gathers batches, sends them one after the other, and gives up in time.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::{OtlpSettings, Signal};
use super::transport::{Sent, Way};
use super::{FLUSH, Shared};
use crate::telemetry::request_id::Generator;
use crate::telemetry::trace::{Sink, tell};
use crate::telemetry::warn::Warn;

/// Between two warnings.
const QUIET: Duration = Duration::from_secs(60);
/// Before the first new attempt; twice that before the next.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Of all attempts with one batch.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Exporter {
    settings: OtlpSettings,
    ids: Generator,
    resource: Resource,
    warner: Warner,
}

/// Speaks up once in a while.
struct Warner {
    warn: Warn,
    /// The last attempt was in vain; for whoever looks.
    failing: Arc<AtomicBool>,
    state: RefCell<Quiet>,
}

#[derive(Default)]
struct Quiet {
    spoke: Option<Instant>,
    /// Lost since it spoke.
    lost: u64,
}

type Stopped = watch::Receiver<bool>;

impl Exporter {
    pub fn new(
        settings: OtlpSettings,
        (warn, failing): (Warn, Arc<AtomicBool>),
        seed: [u8; 16],
    ) -> Self {
        let ids = Generator::seeded(seed);
        let resource = resource(&settings, &ids);
        let warner = Warner { warn, failing, state: RefCell::default() };
        Self { settings, ids, resource, warner }
    }

    /// Sends until it is stopped, and then what is left.
    pub(super) async fn run(&self, shared: &Shared, stopped: Stopped) {
        let traces = async {
            if let (Some(sink), Some(target)) = (&shared.traces, &self.settings.traces) {
                let way = Way::new(Signal::Traces, target.clone());
                self.send_traces(way, sink, stopped.clone()).await;
            }
        };
        let metrics = async {
            if let Some(target) = &self.settings.metrics {
                let way = Way::new(Signal::Metrics, target.clone());
                self.send_metrics(way, shared, stopped.clone()).await;
            }
        };
        let mut late = stopped.clone();
        // An attempt that was under way when the stop came is not waited for longer than the rest.
        let late = async {
            stop(&mut late).await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            biased;
            _ = futures_util::future::join(traces, metrics) => {}
            () = late => self.warner.warn.say("what telemetry was left is lost: the collector took too long"),
        }
    }

    async fn send_traces(&self, mut way: Way, sink: &Sink, mut stopped: Stopped) {
        loop {
            tokio::select! {
                () = sink.enough() => {}
                () = tokio::time::sleep(self.settings.delay) => {}
                () = stop(&mut stopped) => break,
            }
            while let Some(batch) = self.batch(sink) {
                self.deliver(&mut way, batch, &mut stopped).await;
                if *stopped.borrow() {
                    break;
                }
            }
        }
        while let Some((message, count)) = self.batch(sink) {
            let sent = way.send(&message).await;
            self.heard(&way, &sent, count);
        }
    }

    /// What waits, up to a batch, and how many spans it has.
    fn batch(&self, sink: &Sink) -> Option<(Bytes, u64)> {
        let mut spans: Vec<Span> = Vec::new();
        while spans.len() < self.settings.batch {
            let Some(report) = sink.pop() else { break };
            tell::tell(&report, &self.ids, &mut spans);
        }
        if spans.is_empty() {
            return None;
        }
        let count = spans.len() as u64;
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans, schema_url: schema() }];
        let resource = Some(self.resource.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: schema() }];
        let request = ExportTraceServiceRequest { resource_spans };
        Some((request.encode_to_vec().into(), count))
    }

    async fn send_metrics(&self, mut way: Way, shared: &Shared, mut stopped: Stopped) {
        let mut interval = tokio::time::interval(self.settings.interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = stop(&mut stopped) => break,
            }
            if let Some(read) = self.metrics(shared) {
                self.deliver(&mut way, read, &mut stopped).await;
            }
        }
        if let Some((message, count)) = self.metrics(shared) {
            let sent = way.send(&message).await;
            self.heard(&way, &sent, count);
        }
    }

    fn metrics(&self, shared: &Shared) -> Option<(Bytes, u64)> {
        let metrics = shared.metrics.get()?();
        let count = metrics.len() as u64;
        let scope_metrics =
            vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: schema() }];
        let resource = Some(self.resource.clone());
        let resource_metrics =
            vec![ResourceMetrics { resource, scope_metrics, schema_url: schema() }];
        let request = ExportMetricsServiceRequest { resource_metrics };
        (count > 0).then(|| (request.encode_to_vec().into(), count))
    }

    /// Sends one message, again and again where that may help.
    async fn deliver(&self, way: &mut Way, (message, count): (Bytes, u64), stopped: &mut Stopped) {
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let sent = way.send(&message).await;
            let Sent::Again(why, after) = &sent else { return self.heard(way, &sent, count) };
            let wait = after.unwrap_or_else(|| self.jittered(pause));
            if *stopped.borrow() || Instant::now() + wait > until {
                return self.warner.lost(way, why, count);
            }
            self.warner.trouble(way, why);
            // Who stops does not wait; one more attempt is made.
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop(stopped) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn heard(&self, way: &Way, sent: &Sent, count: u64) {
        match sent {
            Sent::Taken => self.warner.failing.store(false, Ordering::Relaxed),
            Sent::InPart(refused) => self.warner.lost(way, "it took a part of them", *refused),
            Sent::Again(why, _) | Sent::Lost(why) => self.warner.lost(way, why, count),
        }
    }

    /// Between half and the whole, so that many who were turned away do not come back at once.
    fn jittered(&self, pause: Duration) -> Duration {
        let share = f64::from(self.ids.next().bytes()[0]) / 255.0;
        pause.mul_f64(0.5 + share / 2.0)
    }
}

async fn stop(stopped: &mut Stopped) {
    // An error is a pipe that is gone, which is a stop too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

impl Warner {
    fn trouble(&self, way: &Way, why: &str) {
        self.lost(way, why, 0);
    }

    fn lost(&self, way: &Way, why: &str, count: u64) {
        self.failing.store(true, Ordering::Relaxed);
        let mut state = self.state.borrow_mut();
        state.lost += count;
        if state.spoke.is_some_and(|spoke| spoke.elapsed() < QUIET) {
            return;
        }
        let lost = match std::mem::take(&mut state.lost) {
            0 => String::new(),
            lost => format!("; {lost} of them are lost"),
        };
        state.spoke = Some(Instant::now());
        let target = way.target();
        self.warn.say(&format!("{} do not get to {target}: {why}{lost}", way.signal.name()));
    }
}

fn resource(settings: &OtlpSettings, ids: &Generator) -> Resource {
    let mut attributes: Vec<_> =
        settings.resource.iter().map(|(name, value)| tell::text(name, value)).collect();
    if !settings.resource.iter().any(|(name, _)| name == "service.instance.id") {
        attributes.push(tell::text("service.instance.id", &uuid(ids.next().bytes())));
    }
    Resource { attributes, ..Resource::default() }
}

/// Version 4 (RFC 9562, section 5.4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let value = u128::from_be_bytes(bytes);
    let part = |shift: u32, digits: usize| {
        format!("{:0digits$x}", (value >> shift) & ((1 << (digits * 4)) - 1))
    };
    [part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12)].join("-")
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "vestibule".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

/// Of the names that are used.
fn schema() -> String {
    "https://opentelemetry.io/schemas/1.37.0".into()
}
