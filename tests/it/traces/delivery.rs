//! How spans and metrics get to a collector, and what happens where they do not.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{app, configuration, get, started, traced};
use crate::harness::PATIENCE;
use crate::harness::collector::{Answer, Collector, Speaks};
use crate::harness::proxy::Proxy;
use vestibule::tls::dev::DevCa;

fn ask(proxy: &Proxy) {
    assert_eq!(proxy.client().send(get("root.test", "/", "")).read_response().unwrap().status, 200);
}

#[test]
fn spans_arrive_over_http_and_over_grpc() {
    for (speaks, path, media_type) in [
        (Speaks::Http, "/v1/traces", "application/x-protobuf"),
        (
            Speaks::Grpc,
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            "application/grpc",
        ),
    ] {
        let (upstream, collector) = (app(), Collector::start(speaks));
        let variables = &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2"),
            ("OTEL_SERVICE_NAME", "front"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ];
        let text = configuration(&collector, "1.0");
        let (proxy, _) = started(&text, speaks, &upstream, variables);
        ask(&proxy);
        assert_eq!(collector.wait(5).len(), 5, "{speaks:?}");
        let request = &collector.requests()[0];
        assert_eq!(
            (&*request.path, &request.headers["content-type"]),
            (path, &media_type.parse().unwrap())
        );
        assert_eq!(request.headers["x-key"], "hunter2");
        let resource = collector.resources()[0].resource.clone().unwrap();
        let expected = |key: &str, value: &str| {
            assert!(format!("{:?}", named(&resource, key)).contains(value), "{resource:?}");
        };
        expected("service.name", "front");
        expected("deployment.environment.name", "test");
        expected("service.instance.id", "-4");
    }
}

fn named<'r>(resource: &'r Resource, key: &str) -> &'r impl std::fmt::Debug {
    resource.attributes.iter().find(|one| one.key == key).unwrap()
}

#[test]
fn a_collector_is_reached_over_tls_where_its_certificate_is_vouched_for() {
    let (ca, stranger) = (DevCa::generate().unwrap(), DevCa::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();
    let file = &*file.to_str().unwrap().to_owned().leak();
    let variables = &*vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", file)].leak();
    for speaks in [Speaks::Http, Speaks::Grpc] {
        for (issuer, is_known) in [(&ca, true), (&stranger, false)] {
            let upstream = app();
            let collector = Collector::over_tls(speaks, &issuer.issue(&["localhost"]).unwrap());
            let address = format!("https://localhost:{}", collector.address.port());
            let text = configuration(&collector, "1.0")
                .replace(&format!("http://{}", collector.address), &address);
            let (proxy, said) = started(&text, speaks, &upstream, variables);
            ask(&proxy);
            if is_known {
                assert_eq!(collector.wait(5).len(), 5, "{speaks:?}");
            }
            drop(proxy);
            assert_eq!(collector.requests().is_empty(), !is_known);
            assert_eq!(said.lock().unwrap().len(), usize::from(!is_known), "{said:?}");
        }
    }
}

#[test]
fn a_collector_that_is_busy_is_asked_again() {
    for (speaks, answer) in [
        (Speaks::Http, Answer::Status(503)),
        (Speaks::Http, Answer::Status(429)),
        (Speaks::Grpc, Answer::Grpc(14)),
        (Speaks::Grpc, Answer::Status(502)),
    ] {
        let (upstream, collector) = (app(), Collector::answering(speaks, &[answer]));
        let (proxy, _) = traced(&collector, speaks, &upstream);
        ask(&proxy);
        assert_eq!(collector.wait(5).len(), 5, "{answer:?}");
        let requests = collector.requests();
        assert_eq!(requests[0].message, requests[1].message, "the same again");
    }
}

#[test]
fn a_collector_says_when_it_wants_to_be_asked_again() {
    let upstream = app();
    let collector = Collector::answering(Speaks::Http, &[Answer::After(503, 2)]);
    let (proxy, _) = traced(&collector, Speaks::Http, &upstream);
    ask(&proxy);
    let requests = collector.wait_for_requests(2);
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(2));
}

#[test]
fn what_a_collector_will_never_take_is_lost_and_told() {
    for (speaks, answer, what) in [
        (Speaks::Http, Answer::Status(400), "it answers 400; 5 of them are lost"),
        (Speaks::Grpc, Answer::Grpc(3), "it answers gRPC status 3; 5 of them are lost"),
        (Speaks::Http, Answer::InPart(2), "it took a part of them; 2 of them are lost"),
    ] {
        let (upstream, collector) = (app(), Collector::answering(speaks, &[answer]));
        let (proxy, said) = traced(&collector, speaks, &upstream);
        ask(&proxy);
        collector.wait_for_requests(1);
        ask(&proxy);
        collector.wait_for_requests(2);
        let said = said.lock().unwrap().clone();
        let expected = format!("traces do not get to http://{}: {what}", collector.address);
        assert_eq!(said, [expected], "{answer:?}");
    }
}

#[test]
fn nobody_waits_for_a_collector_and_one_warning_a_minute_tells_of_it() {
    let upstream = app();
    let collector = Collector::answering(Speaks::Http, &[Answer::Silence; 100]);
    let variables = &[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "50"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
    ];
    let text = configuration(&collector, "1.0");
    let (proxy, said) = started(&text, Speaks::Http, &upstream, variables);
    for _ in 0..20 {
        ask(&proxy);
    }
    collector.wait_for_requests(2);
    assert!(proxy.app.otlp().dropped() > 0);
    let said = said.lock().unwrap().clone();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("it does not answer in time"), "{said:?}");
}

#[test]
fn a_stop_sends_what_is_left_and_does_not_wait_long() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Http));
    let text = configuration(&collector, "1.0");
    let variables = &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let (proxy, _) = started(&text, Speaks::Http, &upstream, variables);
    ask(&proxy);
    assert!(collector.requests().is_empty());
    drop(proxy);
    assert_eq!(collector.spans().len(), 5);

    let silent = Collector::answering(Speaks::Http, &[Answer::Silence; 100]);
    let text = configuration(&silent, "1.0");
    for (variables, under_way) in [(variables, 0), (&[("OTEL_BSP_SCHEDULE_DELAY", "1")], 1)] {
        let (proxy, said) = started(&text, Speaks::Http, &upstream, variables);
        ask(&proxy);
        silent.wait_for_requests(under_way);
        let begun = Instant::now();
        drop(proxy);
        assert!(begun.elapsed() < Duration::from_secs(8));
        assert_eq!(said.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_batch_goes_out_when_it_is_full() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Grpc));
    let variables =
        &[("OTEL_BSP_SCHEDULE_DELAY", "3600000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
    let text = configuration(&collector, "1.0");
    let (proxy, _) = started(&text, Speaks::Grpc, &upstream, variables);
    (0..4).for_each(|_| ask(&proxy));
    assert!(collector.wait(8).len() >= 8);
}

#[test]
fn metrics_go_out_by_the_same_pipe() {
    let (upstream, collector) = (app(), Collector::start(Speaks::Grpc));
    let text = configuration(&collector, "0");
    let variables = &[("OTEL_METRIC_EXPORT_INTERVAL", "20"), ("OTEL_METRICS_EXPORTER", "otlp")];
    let (proxy, _) = started(&text, Speaks::Grpc, &upstream, variables);
    ask(&proxy);
    let requests = collector.wait_for_requests(1);
    let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    assert_eq!(requests[0].path, path);
    let until = Instant::now() + PATIENCE;
    while !collector.metrics().iter().any(counts_one_request) {
        assert!(Instant::now() < until, "the request is not counted");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Under OpenTelemetry's own name.
fn counts_one_request(message: &ExportMetricsServiceRequest) -> bool {
    let read = &message.resource_metrics[0];
    assert!(read.resource.is_some());
    let named = |metric: &&Metric| metric.name == "http.server.request.duration";
    let metric = read.scope_metrics[0].metrics.iter().find(named);
    metric.is_some_and(|metric| match &metric.data {
        Some(Data::Histogram(histogram)) => histogram.data_points[0].count == 1,
        other => panic!("{other:?}"),
    })
}
