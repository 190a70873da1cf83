//! The text that Prometheus reads: its own format 0.0.4, or OpenMetrics 1.0 where that is asked for.
//!
//! Bounds of buckets are written with a decimal point in both (`le="1.0"`), so that a rule that
//! names one does not depend on what was negotiated.

use std::fmt::Write;

use super::family::{Family, Kind, Labels, Value, label};
use super::histogram::Counted;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>
    Prometheus,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
}

impl Format {
    /// What an Accept field asks for: OpenMetrics where it is named and not refused. Prometheus
    /// always prefers it to its own.
    pub fn wanted(accept: &str) -> Self {
        let is_wanted = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts
                .next()
                .is_some_and(|it| it.eq_ignore_ascii_case("application/openmetrics-text"));
            named && parts.all(|part| part != "q=0" && !part.starts_with("version=0"))
        };
        match accept.split(',').any(is_wanted) {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Appends all families that have numbers.
pub fn render(families: &[Family], format: Format, out: &mut String) {
    for family in families.iter().filter(|family| !family.points.is_empty()) {
        self::family(family, format, out);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
}

fn family(family: &Family, format: Format, out: &mut String) {
    let name = family.prometheus();
    let sample = match family.kind {
        Kind::Counter => format!("{name}_total"),
        Kind::Gauge | Kind::Histogram => name.clone(),
    };
    // A counter is called by the name of its sample in one, and without its suffix in the other.
    let called = if format == Format::OpenMetrics { &name } else { &sample };
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    // Nothing fails that writes into a String.
    let _ = writeln!(out, "# HELP {called} {}", family.help);
    let _ = writeln!(out, "# TYPE {called} {kind}");
    for point in &family.points {
        match &point.value {
            Value::Count(count) => {
                write_sample(out, &sample, "", &point.labels, None);
                let _ = writeln!(out, "{count}");
            }
            Value::Level(level) => {
                write_sample(out, &sample, "", &point.labels, None);
                let _ = writeln!(out, "{level}");
            }
            Value::Times(times) => histogram(out, &sample, &point.labels, times),
        }
    }
}

fn histogram(out: &mut String, name: &str, labels: &Labels, times: &Counted) {
    let mut sum = 0;
    let bounds = times.bounds.iter().map(|micros| Some(*micros as f64 / 1e6));
    for (bound, count) in bounds.chain([None]).zip(&times.counts) {
        sum += count;
        let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
        write_sample(out, name, "_bucket", labels, Some(&bound));
        let _ = writeln!(out, "{sum}");
    }
    write_sample(out, name, "_sum", labels, None);
    let _ = writeln!(out, "{}", times.seconds);
    write_sample(out, name, "_count", labels, None);
    let _ = writeln!(out, "{sum}");
}

/// Name and labels, up to the space before the number.
fn write_sample(out: &mut String, name: &str, suffix: &str, labels: &Labels, bound: Option<&str>) {
    out.push_str(name);
    out.push_str(suffix);
    let labels = labels.iter().map(|(name, value)| (label(name), value.as_str()));
    let bound = bound.map(|bound| ("le".into(), bound));
    let mut before = '{';
    for (name, value) in labels.chain(bound) {
        out.push(before);
        out.push_str(&name);
        out.push_str("=\"");
        escape(value, out);
        out.push('"');
        before = ',';
    }
    out.push_str(if before == '{' { " " } else { "} " });
}

fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::family::{Label, Unit};
    use super::super::histogram::{HANDSHAKE, Histogram};
    use super::*;

    fn families() -> Vec<Family> {
        let mut rejections =
            Family::new(Kind::Counter, "vestibule.rejections", Unit::Of("{request}"), "Refused.");
        let name = Label::from(&Arc::<str>::from("a\"b\\c\nd"));
        rejections.count(vec![("tenant", name), ("code", "not_found".into())], 3);
        let mut used = Family::new(Kind::Gauge, "vestibule.limit.used", Unit::Ratio, "Used.");
        used.level(Vec::new(), 0.25);
        let empty = Family::new(Kind::Gauge, "vestibule.empty", Unit::Ratio, "Nothing.");
        vec![rejections, used, empty]
    }

    fn rendered(families: &[Family], format: Format) -> String {
        let mut out = String::new();
        render(families, format, &mut out);
        out
    }

    #[test]
    fn labels_are_escaped_and_families_without_numbers_left_out() {
        let expected = "\
# HELP vestibule_rejections_total Refused.
# TYPE vestibule_rejections_total counter
vestibule_rejections_total{tenant=\"a\\\"b\\\\c\\nd\",code=\"not_found\"} 3
# HELP vestibule_limit_used_ratio Used.
# TYPE vestibule_limit_used_ratio gauge
vestibule_limit_used_ratio 0.25
";
        assert_eq!(rendered(&families(), Format::Prometheus), expected);
    }

    #[test]
    fn openmetrics_names_a_counter_without_its_suffix_and_says_where_it_ends() {
        let text = rendered(&families(), Format::OpenMetrics);
        assert!(text.contains("# TYPE vestibule_rejections counter\nvestibule_rejections_total{"));
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn buckets_are_cumulative_and_their_bounds_the_same_in_both_formats() {
        let histogram = Histogram::new(HANDSHAKE);
        for millis in [20, 700, 1000, 60_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut family =
            Family::new(Kind::Histogram, "vestibule.handshake.duration", Unit::Seconds, "Waited.");
        family.times(vec![("tenant", "acme".into())], histogram.read());
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let text = rendered(std::slice::from_ref(&family), format);
            for line in [
                "vestibule_handshake_duration_seconds_bucket{tenant=\"acme\",le=\"0.05\"} 1",
                "vestibule_handshake_duration_seconds_bucket{tenant=\"acme\",le=\"1.0\"} 3",
                "vestibule_handshake_duration_seconds_bucket{tenant=\"acme\",le=\"+Inf\"} 4",
                "vestibule_handshake_duration_seconds_sum{tenant=\"acme\"} 61.72",
                "vestibule_handshake_duration_seconds_count{tenant=\"acme\"} 4",
            ] {
                assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
            }
        }
    }

    #[test]
    fn openmetrics_is_given_to_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.8,\
                          application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5";
        for (accept, format) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Format::Prometheus),
            ("application/openmetrics-text; q=0, text/plain", Format::Prometheus),
        ] {
            assert_eq!(Format::wanted(accept), format, "{accept}");
        }
    }
}
