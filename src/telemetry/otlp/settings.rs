//! Where telemetry goes and how: what the file says, else what `OTEL_*` variables say.
//!
//! The file goes before the environment, as whatever is configured in code does in OpenTelemetry's
//! SDKs; `OTEL_SDK_DISABLED` goes before both. Nothing is sent where neither names an endpoint, so
//! that no process calls anybody unasked. A wrong endpoint is an error. Any other variable that
//! cannot be understood is as good as unset, as the specification asks, and somebody is told.
//!
//! Pure: the environment is an argument. Nothing that is told repeats a value: keys are in them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use rustls::ClientConfig;

use super::super::trace::sampler::Sampler;

/// Recorded where nobody says otherwise.
const RATIO: f64 = 0.01;
const GRPC_PORT: u16 = 4317;

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

struct Reading<'a> {
    environment: Environment<'a>,
    complaints: Vec<Complaint>,
}

impl Reading<'_> {
    /// An empty variable is as good as unset.
    fn get(&self, variable: &str) -> Option<String> {
        (self.environment)(variable).filter(|value| !value.trim().is_empty())
    }

    fn ignored(&mut self, variable: &str, what: &str, remedy: &'static str) {
        self.complain(Some(variable), what, remedy, false);
    }

    fn complain(
        &mut self,
        variable: Option<&str>,
        what: &str,
        remedy: &'static str,
        is_error: bool,
    ) {
        let (variable, what) = (variable.map(str::to_owned), what.to_owned());
        let complaint = Complaint { variable, what, remedy, is_error };
        // Both signals read the same variables.
        if !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }

    /// The signal's own variable, else the one of all, with its name.
    fn own_or_general(&self, signal: Signal, what: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.variable());
        let general = format!("OTEL_EXPORTER_OTLP_{what}");
        [own, general].into_iter().find_map(|name| self.get(&name).map(|value| (name, value)))
    }

    fn target(&mut self, signal: Signal, file: Option<&str>) -> Option<Target> {
        let exporter = format!("OTEL_{}_EXPORTER", signal.variable());
        let is_wanted = match self.get(&exporter).as_deref().map(str::trim) {
            Some("none") => return None,
            Some("otlp") => true,
            Some(_) => {
                self.ignored(&exporter, "it can be \"otlp\" or \"none\" here", "write one of them");
                false
            }
            None => false,
        };
        let said = self.own_or_general(signal, "PROTOCOL");
        let protocol = said.and_then(|(variable, value)| match value.trim() {
            "grpc" => Some(Protocol::Grpc),
            "http/protobuf" => Some(Protocol::HttpProtobuf),
            _ => {
                let remedy = "write \"grpc\" or \"http/protobuf\"";
                self.ignored(&variable, "this protocol is not known here", remedy);
                None
            }
        });
        let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.variable());
        let (variable, endpoint) = match (file, self.own_or_general(signal, "ENDPOINT")) {
            (Some(file), _) => (None, file.to_owned()),
            (None, Some((variable, value))) => (Some(variable), value.trim().to_owned()),
            (None, None) if is_wanted => {
                let port = if protocol == Some(Protocol::Grpc) { 4317 } else { 4318 };
                (None, format!("http://localhost:{port}"))
            }
            (None, None) => return None,
        };
        let is_own = variable.as_deref() == Some(&*own);
        let mut target = match endpoint_of(&endpoint, protocol, signal, is_own) {
            Ok(target) => target,
            Err((what, remedy)) => {
                self.complain(variable.as_deref(), what, remedy, true);
                return None;
            }
        };
        target.headers = self.headers(signal);
        if let Some((variable, value)) = self.own_or_general(signal, "TIMEOUT") {
            target.timeout = self.parsed_millis(&variable, &value, target.timeout);
        }
        target.certificate =
            self.own_or_general(signal, "CERTIFICATE").map(|(_, path)| path.trim().into());
        if let Some((variable, value)) = self.own_or_general(signal, "COMPRESSION")
            && value.trim() != "none"
        {
            self.ignored(&variable, "what is sent is not compressed", "write \"none\"");
        }
        Some(target)
    }

    fn headers(&mut self, signal: Signal) -> Vec<(HeaderName, HeaderValue)> {
        let Some((variable, list)) = self.own_or_general(signal, "HEADERS") else {
            return Vec::new();
        };
        let mut headers = Vec::new();
        for (name, value) in pairs(&list) {
            let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| {
                !["content-type", "content-length", "te", "host", "connection"]
                    .contains(&name.as_str())
            });
            let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
            match (name, value) {
                (Some(name), Some(mut value)) => {
                    value.set_sensitive(true);
                    headers.push((name, value));
                }
                _ => {
                    let remedy = "write NAME=VALUE, with commas between, as in W3C Baggage";
                    self.ignored(&variable, "one of them cannot be a header field", remedy);
                }
            }
        }
        headers
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let mut resource = vec![
            ("service.name".to_owned(), "vestibule".to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("telemetry.sdk.name".to_owned(), "vestibule".to_owned()),
            ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
            ("telemetry.sdk.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let mut set = |name: &str, value: String| match resource
            .iter_mut()
            .find(|(known, _)| known == name)
        {
            Some((_, known)) => *known = value,
            None => resource.push((name.to_owned(), value)),
        };
        let variable = "OTEL_RESOURCE_ATTRIBUTES";
        let pairs: Vec<_> = self.get(variable).as_deref().map(pairs).unwrap_or_default();
        for (name, value) in pairs {
            match value {
                Some(value) if !name.is_empty() => set(&name, value),
                _ => {
                    let remedy = "write NAME=VALUE, with commas between, as in W3C Baggage";
                    self.ignored(variable, "one of them is no name and value", remedy);
                }
            }
        }
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            set("service.name", name);
        }
        resource
    }

    fn sampler(&mut self, ratio: Option<f64>) -> Sampler {
        let default = Sampler::ratio(RATIO).based_on_parent();
        if let Some(ratio) = ratio {
            return Sampler::ratio(ratio).based_on_parent();
        }
        let variable = "OTEL_TRACES_SAMPLER";
        let Some(name) = self.get(variable) else { return default };
        let (parent_based, root) = match name.trim().strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name.trim()),
        };
        let sampler = match root {
            "always_on" => Sampler::ratio(1.0),
            "always_off" => Sampler::never(),
            "traceidratio" => Sampler::ratio(self.sampler_ratio()),
            _ => {
                let remedy = "write always_on, always_off or traceidratio, or parentbased_ and one \
                              of them";
                self.ignored(variable, "this sampler is not known here", remedy);
                return default;
            }
        };
        if parent_based { sampler.based_on_parent() } else { sampler }
    }

    fn sampler_ratio(&mut self) -> f64 {
        let variable = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.get(variable) else { return 1.0 };
        let ratio = text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.unwrap_or_else(|| {
            self.ignored(variable, "it is not a number from 0 to 1", "write one, such as 0.01");
            1.0
        })
    }

    fn count(&mut self, variable: &str, default: usize) -> usize {
        const MOST: usize = 1 << 20;
        let Some(text) = self.get(variable) else { return default };
        let count = text.trim().parse().ok().filter(|count| (1..=MOST).contains(count));
        count.unwrap_or_else(|| {
            self.ignored(variable, "it is not a number from 1 to 1048576", "write one");
            default
        })
    }

    fn millis(&mut self, variable: &str, default: Duration) -> Duration {
        match self.get(variable) {
            Some(text) => self.parsed_millis(variable, &text, default),
            None => default,
        }
    }

    fn parsed_millis(&mut self, variable: &str, text: &str, default: Duration) -> Duration {
        const MOST: u64 = 24 * 60 * 60 * 1000;
        let millis = text.trim().parse().ok().filter(|millis| (1..=MOST).contains(millis));
        millis.map(Duration::from_millis).unwrap_or_else(|| {
            self.ignored(
                variable,
                "it is not a number of milliseconds",
                "write one, from 1 to a day",
            );
            default
        })
    }
}

type Bad = (&'static str, &'static str);

/// `is_own`: the endpoint is this signal's alone, and has its whole path.
fn endpoint_of(
    text: &str,
    protocol: Option<Protocol>,
    signal: Signal,
    is_own: bool,
) -> Result<Target, Bad> {
    const REMEDY: &str = "write \"http://HOST:4317\" for gRPC, or \"http://HOST:4318\" for HTTP";
    let wrong = || ("the value is not a URL of http or https without a user name", REMEDY);
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong()),
    };
    let host =
        uri.host().filter(|host| !host.is_empty() && !text.contains('@')).ok_or_else(wrong)?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let has_port = authority.as_str().len() > host.len();
    let port = match uri.port_u16() {
        Some(0) => return Err(wrong()),
        Some(port) => port,
        None if has_port => return Err(wrong()),
        None => {
            if is_tls {
                443
            } else {
                80
            }
        }
    };
    if uri.query().is_some() || text.contains('#') {
        return Err(("the URL of a collector has no query", REMEDY));
    }
    let guess = if port == GRPC_PORT { Protocol::Grpc } else { Protocol::HttpProtobuf };
    let protocol = protocol.unwrap_or(guess);
    let path = uri.path().trim_end_matches('/');
    let path = match protocol {
        Protocol::Grpc if path.is_empty() => "/".to_owned(),
        Protocol::Grpc => {
            return Err(("gRPC, which is what port 4317 speaks, has no path", REMEDY));
        }
        Protocol::HttpProtobuf if is_own => uri.path().to_owned(),
        Protocol::HttpProtobuf => format!("{path}/v1/{}", signal.name()),
    };
    Ok(Target {
        protocol,
        host: host.trim_start_matches('[').trim_end_matches(']').into(),
        port,
        authority: authority.as_str().into(),
        is_tls,
        path: path.into(),
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        certificate: None,
        tls: None,
    })
}

/// Names and values of a list as W3C Baggage writes it; no value where there is none, or where it
/// cannot be decoded.
fn pairs(list: &str) -> Vec<(String, Option<String>)> {
    let members = list.split(',').map(str::trim).filter(|member| !member.is_empty());
    let pair = |member: &str| match member.split_once('=') {
        Some((name, value)) => (name.trim().to_owned(), decoded(value.trim())),
        None => (member.to_owned(), None),
    };
    members.map(pair).collect()
}

fn decoded(value: &str) -> Option<String> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests;
