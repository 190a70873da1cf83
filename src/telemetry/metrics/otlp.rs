//! Families as OTLP has them: the same names, units and numbers as in the text.
//!
//! Everything is cumulative since the process started.

use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::family::{Family, Kind, Labels, Point, Value};
use crate::telemetry::trace::tell::text;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Since when, and now, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Times {
    since: u64,
    now: u64,
}

/// Those that have numbers.
pub fn metrics(families: &[Family], since: SystemTime, now: SystemTime) -> Vec<Metric> {
    let times = Times { since: nanos(since), now: nanos(now) };
    let told = families.iter().filter(|family| !family.points.is_empty());
    told.map(|family| metric(family, times)).collect()
}

fn metric(family: &Family, times: Times) -> Metric {
    let points = family.points.iter();
    let data = match family.kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: points.map(|point| number(point, times)).collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Gauge => {
            Data::Gauge(Gauge { data_points: points.map(|point| number(point, times)).collect() })
        }
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: points.filter_map(|point| histogram(point, times)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    Metric {
        name: family.name.into(),
        description: family.help.into(),
        unit: family.unit.ucum().into(),
        data: Some(data),
        ..Metric::default()
    }
}

fn number(point: &Point, times: Times) -> NumberDataPoint {
    let value = match &point.value {
        Value::Count(count) => Number::AsInt(i64::try_from(*count).unwrap_or(i64::MAX)),
        Value::Level(level) => Number::AsDouble(*level),
        Value::Times(times) => Number::AsDouble(times.seconds),
    };
    NumberDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn histogram(point: &Point, times: Times) -> Option<HistogramDataPoint> {
    let Value::Times(counted) = &point.value else { return None };
    Some(HistogramDataPoint {
        attributes: attributes(&point.labels),
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        count: counted.count(),
        sum: Some(counted.seconds),
        bucket_counts: counted.counts.clone(),
        explicit_bounds: counted.bounds.iter().map(|micros| *micros as f64 / 1e6).collect(),
        ..HistogramDataPoint::default()
    })
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| text(name, value.as_str())).collect()
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::family::Unit;
    use super::super::histogram::{self, Histogram as Counting};
    use super::*;

    fn told(family: &Family) -> Metric {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut metrics = metrics(std::slice::from_ref(family), at(1), at(2));
        assert_eq!(metrics.len(), 1);
        metrics.remove(0)
    }

    #[test]
    fn a_histogram_has_one_bucket_more_than_bounds_and_its_attributes() {
        let counting = Counting::new(histogram::HANDSHAKE);
        counting.record(Duration::from_millis(300));
        counting.record(Duration::from_secs(60));
        let name = "vestibule.handshake.duration";
        let mut family = Family::new(Kind::Histogram, name, Unit::Seconds, "Waited.");
        family.times(vec![("tenant", "acme".into())], counting.read());
        let metric = told(&family);
        assert_eq!((metric.name.as_str(), metric.unit.as_str()), (name, "s"));
        let Some(Data::Histogram(histogram)) = metric.data else { panic!("{metric:?}") };
        let point = &histogram.data_points[0];
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!((point.count, point.sum), (2, Some(60.3)));
        assert_eq!(
            (point.start_time_unix_nano, point.time_unix_nano),
            (1_000_000_000, 2_000_000_000)
        );
        assert_eq!(point.attributes, [text("tenant", "acme")]);
        assert_eq!(histogram.aggregation_temporality, CUMULATIVE);
    }

    #[test]
    fn counters_only_grow_and_gauges_do_not() {
        let unit = Unit::Of("{request}");
        let mut counter = Family::new(Kind::Counter, "vestibule.rejections", unit, "Refused.");
        counter.count(Labels::new(), 3);
        let Some(Data::Sum(sum)) = told(&counter).data else { panic!("no sum") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].value, Some(Number::AsInt(3)));
        let mut gauge = Family::new(Kind::Gauge, "vestibule.limit.used", Unit::Ratio, "Used.");
        gauge.level(Labels::new(), 0.5);
        let Some(Data::Gauge(gauge)) = told(&gauge).data else { panic!("no gauge") };
        assert_eq!(gauge.data_points[0].value, Some(Number::AsDouble(0.5)));
    }

    #[test]
    fn families_without_numbers_are_not_sent() {
        let empty = Family::new(Kind::Gauge, "vestibule.limit.used", Unit::Ratio, "Used.");
        assert!(metrics(&[empty], SystemTime::UNIX_EPOCH, SystemTime::now()).is_empty());
    }
}
