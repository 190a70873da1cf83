use super::*;

fn read(file: Option<&str>, variables: &[(&str, &str)]) -> (OtlpSettings, Vec<Complaint>) {
    let environment = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    settings(Said { endpoint: file, ratio: None }, &environment)
}

fn good(file: Option<&str>, variables: &[(&str, &str)]) -> OtlpSettings {
    let (settings, complaints) = read(file, variables);
    assert_eq!(complaints, [], "{variables:?}");
    settings
}

/// Where traces go: protocol, authority, path.
fn check(file: Option<&str>, variables: &[(&str, &str)], expected: (Protocol, &str, &str)) {
    let target = good(file, variables).traces.unwrap();
    assert_eq!((target.protocol, &*target.authority, &*target.path), expected, "{variables:?}");
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

#[test]
fn an_endpoint_says_how_it_is_spoken_to() {
    let (grpc, http) = (Protocol::Grpc, Protocol::HttpProtobuf);
    check(Some("http://a:4317"), &[], (grpc, "a:4317", "/"));
    check(Some("http://a:4318/"), &[], (http, "a:4318", "/v1/traces"));
    check(Some("https://a/otlp"), &[], (http, "a", "/otlp/v1/traces"));
    check(None, &[(ENDPOINT, "http://[::1]:4318")], (http, "[::1]:4318", "/v1/traces"));
    check(
        Some("http://a:4317"),
        &[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
        (http, "a:4317", "/v1/traces"),
    );
    check(
        Some("http://a:9"),
        &[("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")],
        (grpc, "a:9", "/"),
    );
    check(
        None,
        &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:1/x"), (ENDPOINT, "http://a:2")],
        (http, "b:1", "/x"),
    );
    check(None, &[("OTEL_TRACES_EXPORTER", "otlp")], (http, "localhost:4318", "/v1/traces"));
}

#[test]
fn the_file_goes_before_the_environment() {
    let (grpc, variable) = (Protocol::Grpc, (ENDPOINT, "http://b:4317"));
    check(Some("http://a:4317"), &[variable], (grpc, "a:4317", "/"));
}

#[test]
fn nothing_is_sent_unasked() {
    let off = |variables: &[(&str, &str)]| {
        let settings = good(None, variables);
        assert!(settings.traces.is_none() && settings.metrics.is_none(), "{variables:?}");
    };
    off(&[]);
    off(&[(ENDPOINT, "")]);
    off(&[(ENDPOINT, "http://a:4317"), ("OTEL_SDK_DISABLED", "true")]);
    let settings =
        good(Some("http://a:4317"), &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "")]);
    assert!(settings.traces.is_none() && settings.metrics.is_some());
}

#[test]
fn a_wrong_endpoint_is_an_error_that_repeats_nothing() {
    for wrong in [
        "a:4317",
        "ftp://hunter2",
        "http://",
        "http://hunter2@a:1",
        "http://a:0",
        "http://a:x",
        "http://a?hunter2",
        "http://a:4317/hunter2",
    ] {
        for (file, variables) in [(Some(wrong), vec![]), (None, vec![(ENDPOINT, wrong)])] {
            let (settings, complaints) = read(file, &variables);
            assert!(settings.traces.is_none(), "{wrong}");
            assert!(complaints.iter().any(|complaint| complaint.is_error), "{wrong}");
            assert!(!format!("{complaints:?}").contains("hunter2"), "{wrong}");
        }
    }
}

#[test]
fn a_variable_that_cannot_be_understood_is_ignored_and_told() {
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "content-type=a"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
    ] {
        let (settings, complaints) = read(Some("http://a:4317"), &[(variable, value)]);
        assert_eq!(complaints.len(), 1, "{variable}: {complaints:?}");
        assert_eq!(complaints[0].variable.as_deref(), Some(variable));
        assert!(!complaints[0].is_error && !complaints[0].what.contains("hunter2"));
        assert!(settings.traces.is_some());
    }
}

#[test]
fn headers_timeout_and_resource_are_read_as_the_specification_says() {
    let settings = good(
        Some("http://a:4317"),
        &[
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20hunter2, x-a = 1"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-b=2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment.environment.name=a%2Cb"),
            ("OTEL_SERVICE_NAME", "front"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
    );
    let (traces, metrics) = (settings.traces.unwrap(), settings.metrics.unwrap());
    let headers: Vec<_> = traces
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    assert_eq!(headers, [("authorization", "Basic hunter2"), ("x-a", "1")]);
    assert_eq!(metrics.headers.len(), 1);
    assert_eq!(traces.timeout, Duration::from_millis(2500));
    assert_eq!(settings.delay, Duration::from_millis(50));
    let resource = |name: &str| {
        settings.resource.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    assert_eq!(resource("service.name"), Some("front"));
    assert_eq!(resource("deployment.environment.name"), Some("a,b"));
    assert!(!format!("{traces:?}").contains("hunter2"));
}

#[test]
fn the_sampler_is_the_files_or_the_environments() {
    let check = |ratio, variables: &[(&str, &str)], expected: Sampler| {
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let said = Said { endpoint: Some("http://a:4317"), ratio };
        assert_eq!(settings(said, &environment).0.sampler, expected, "{variables:?}");
    };
    let named = |name| [("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    check(None, &[], Sampler::ratio(0.01).based_on_parent());
    check(Some(0.2), &named("always_on"), Sampler::ratio(0.2).based_on_parent());
    check(None, &named("always_on"), Sampler::ratio(1.0));
    check(None, &named("always_off"), Sampler::never());
    check(None, &named("traceidratio"), Sampler::ratio(0.5));
    check(None, &named("parentbased_traceidratio"), Sampler::ratio(0.5).based_on_parent());
    check(None, &named("parentbased_always_on"), Sampler::ratio(1.0).based_on_parent());
    check(None, &[("OTEL_TRACES_SAMPLER", "traceidratio")], Sampler::ratio(1.0));
    check(None, &named("nonsense"), Sampler::ratio(0.01).based_on_parent());
}
