//! What is told: families of numbers with labels, as data. Each form of telling is made from these.
//!
//! Names and units are OpenTelemetry's (`http.server.request.duration`, `s`). Prometheus's names
//! follow from them by OpenTelemetry's own mapping: dots become underscores, the unit a suffix, and a
//! counter ends in `_total`.

use std::borrow::Cow;
use std::sync::Arc;

use super::histogram::Counted;

/// All numbers of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// OpenTelemetry's.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    pub unit: Unit,
    pub kind: Kind,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    Gauge,
    Histogram,
}

/// Of a number. OpenTelemetry writes them in UCUM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Bytes,
    /// A part of one.
    Ratio,
    /// A count of these: an annotation such as `{request}`, which is in no name.
    Of(&'static str),
}

impl Unit {
    pub const fn ucum(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Bytes => "By",
            Unit::Ratio => "1",
            Unit::Of(what) => what,
        }
    }

    const fn suffix(self) -> Option<&'static str> {
        match self {
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
            Unit::Ratio => Some("ratio"),
            Unit::Of(_) => None,
        }
    }
}

/// One number with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub labels: Labels,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Count(u64),
    Level(f64),
    Times(Counted),
}

/// OpenTelemetry's names; those without a value are left out.
pub type Labels = Vec<(&'static str, Label)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    Fixed(&'static str),
    Name(Arc<str>),
}

impl Label {
    pub fn as_str(&self) -> &str {
        match self {
            Label::Fixed(text) => text,
            Label::Name(text) => text,
        }
    }
}

impl From<&'static str> for Label {
    fn from(text: &'static str) -> Self {
        Label::Fixed(text)
    }
}

impl From<&Arc<str>> for Label {
    fn from(name: &Arc<str>) -> Self {
        Label::Name(Arc::clone(name))
    }
}

impl Family {
    pub fn new(kind: Kind, name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, help, unit, kind, points: Vec::new() }
    }

    pub fn count(&mut self, labels: Labels, count: u64) {
        self.points.push(Point { labels, value: Value::Count(count) });
    }

    pub fn level(&mut self, labels: Labels, level: f64) {
        self.points.push(Point { labels, value: Value::Level(level) });
    }

    pub fn times(&mut self, labels: Labels, times: Counted) {
        self.points.push(Point { labels, value: Value::Times(times) });
    }

    /// The name for Prometheus, without the `_total` of a counter.
    pub fn prometheus(&self) -> String {
        let mut name = label(self.name).into_owned();
        if let Some(suffix) = self.unit.suffix()
            && !name.split('_').any(|part| part == suffix)
        {
            name.push('_');
            name.push_str(suffix);
        }
        name
    }
}

/// The name of a label for Prometheus.
pub fn label(name: &'static str) -> Cow<'static, str> {
    match name.contains('.') {
        true => name.replace('.', "_").into(),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_opentelemetrys() {
        let cases = [
            ("http.server.request.duration", Unit::Seconds, "http_server_request_duration_seconds"),
            ("http.server.active_requests", Unit::Of("{request}"), "http_server_active_requests"),
            ("vestibule.limit.used", Unit::Ratio, "vestibule_limit_used_ratio"),
            ("process.memory.usage", Unit::Bytes, "process_memory_usage_bytes"),
        ];
        for (name, unit, expected) in cases {
            assert_eq!(Family::new(Kind::Gauge, name, unit, "").prometheus(), expected);
        }
    }
}
