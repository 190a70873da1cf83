//! What each variable says, and what is to be said about it.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::endpoint::endpoint_of;
use super::{Complaint, Environment, Protocol, Signal, Target};
use crate::telemetry::trace::sampler::Sampler;

/// Recorded where nobody says otherwise.
const RATIO: f64 = 0.01;

pub(super) struct Reading<'a> {
    pub environment: Environment<'a>,
    pub complaints: Vec<Complaint>,
}

impl Reading<'_> {
    /// An empty variable is as good as unset.
    pub fn get(&self, variable: &str) -> Option<String> {
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

    pub fn target(&mut self, signal: Signal, file: Option<&str>) -> Option<Target> {
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

    pub fn resource(&mut self) -> Vec<(String, String)> {
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

    pub fn sampler(&mut self, ratio: Option<f64>) -> Sampler {
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

    pub fn count(&mut self, variable: &str, default: usize) -> usize {
        const MOST: usize = 1 << 20;
        let Some(text) = self.get(variable) else { return default };
        let count = text.trim().parse().ok().filter(|count| (1..=MOST).contains(count));
        count.unwrap_or_else(|| {
            self.ignored(variable, "it is not a number from 1 to 1048576", "write one");
            default
        })
    }

    pub fn millis(&mut self, variable: &str, default: Duration) -> Duration {
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
