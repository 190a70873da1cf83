use super::*;
use crate::pipeline::Scheme;
use crate::telemetry::request_id::Generator;
use http::Method;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn connection(trusted: bool) -> ConnectionFacts {
    ConnectionFacts {
        client: "192.0.2.7".parse().unwrap(),
        trusted,
        scheme: Scheme::Https,
        server_name: None,
    }
}

fn head(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    for (name, value) in fields {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    head
}

fn sink() -> Sink {
    Arc::new(Outbox::new(16, 16))
}

struct Asked {
    traceparent: String,
    tracestate: Option<String>,
    recorded: bool,
}

fn ask(tracer: &Tracer, trusted: bool, fields: &[(&str, &str)]) -> Asked {
    let generator = Generator::seeded([5; 16]);
    let head = head(fields);
    let (context, spans) =
        tracer.begin(&connection(trusted), &head, RequestId::default(), || generator.next());
    Asked {
        traceparent: String::from_utf8(context.traceparent().to_vec()).unwrap(),
        tracestate: context.tracestate(&head.fields).map(|state| state.to_text().into()),
        recorded: spans.is_some(),
    }
}

#[test]
fn a_strangers_trace_id_is_kept_and_its_flag_is_not() {
    let sampled = format!("00-{ID}-00f067aa0ba902b7-01");
    let never = Tracer::new(Sampler::never().based_on_parent(), Some(sink()));
    let asked = ask(&never, false, &[("traceparent", &sampled)]);
    assert!(asked.traceparent.starts_with(&format!("00-{ID}-")));
    assert!(asked.traceparent.ends_with("-00") && !asked.traceparent.contains("00f067aa0ba902b7"));
    assert!(!asked.recorded);
    let always = Tracer::new(Sampler::ratio(1.0).based_on_parent(), Some(sink()));
    let asked = ask(&always, false, &[("traceparent", &sampled.replace("-01", "-00"))]);
    assert!(asked.traceparent.ends_with("-01") && asked.recorded);
}

#[test]
fn a_strangers_trace_id_does_not_decide() {
    // Its randomness is the largest there is.
    let lucky = "00-4bf92f3577b34da6a3ffffffffffffff-00f067aa0ba902b7-01";
    let generator = Generator::seeded([1; 16]);
    let tracer = Tracer::new(Sampler::ratio(0.1).based_on_parent(), Some(sink()));
    let head = head(&[("traceparent", lucky)]);
    let recorded = (0..1000).filter(|_| {
        let facts = connection(false);
        tracer.begin(&facts, &head, RequestId::default(), || generator.next()).1.is_some()
    });
    assert!((60..140).contains(&recorded.count()));
}

#[test]
fn a_trusted_proxys_flag_is_believed() {
    let never = Tracer::new(Sampler::never().based_on_parent(), Some(sink()));
    let always = Tracer::new(Sampler::ratio(1.0).based_on_parent(), Some(sink()));
    for (tracer, flags, recorded) in [(&never, "01", true), (&always, "00", false)] {
        let parent = format!("00-{ID}-00f067aa0ba902b7-{flags}");
        let asked = ask(tracer, true, &[("traceparent", &parent)]);
        assert_eq!(asked.recorded, recorded);
        assert!(asked.traceparent.ends_with(flags), "{}", asked.traceparent);
    }
}

#[test]
fn nobody_is_made_the_child_of_a_span_that_nobody_sends() {
    let off = Tracer::new(Sampler::never().based_on_parent(), None);
    let parent = format!("00-{ID}-00f067aa0ba902b7-01");
    assert_eq!(ask(&off, true, &[("traceparent", &parent)]).traceparent, parent);
    let unsure = Tracer::new(Sampler::ratio(1.0).based_on_parent(), None);
    assert!(ask(&unsure, false, &[]).traceparent.ends_with("-02"), "sampled by nobody");
}

#[test]
fn a_request_without_a_trace_begins_one() {
    let off = Tracer::new(Sampler::never(), None);
    for wrong in [&[][..], &[("traceparent", "nonsense")]] {
        let asked = ask(&off, false, wrong);
        let parent = TraceParent::parse(asked.traceparent.as_bytes()).unwrap();
        assert_eq!(parent.flags, Flags { sampled: false, random: true });
    }
    let twice = format!("00-{ID}-00f067aa0ba902b7-01");
    let asked = ask(&off, false, &[("traceparent", &twice), ("traceparent", &twice)]);
    assert!(!asked.traceparent.contains(ID), "two are none");
}

#[test]
fn a_tracestate_goes_with_its_trace_alone() {
    let off = Tracer::new(Sampler::never(), None);
    let parent = format!("00-{ID}-00f067aa0ba902b7-01");
    let state = ("tracestate", "ot=th:0,a=1");
    let check = |trusted, fields: &[(&str, &str)], expected: Option<&str>| {
        assert_eq!(ask(&off, trusted, fields).tracestate.as_deref(), expected);
    };
    check(true, &[("traceparent", &parent), state], Some("ot=th:0,a=1"));
    check(false, &[("traceparent", &parent), state, ("tracestate", "b=2")], Some("a=1,b=2"));
    check(false, &[("traceparent", "nonsense"), state], None);
    check(false, &[state], None);
    check(false, &[("traceparent", &parent), ("tracestate", "not one")], None);
}

#[test]
fn a_reload_changes_the_ratio() {
    let tracer = Tracer::new(Sampler::never(), Some(sink()));
    assert!(!ask(&tracer, false, &[]).recorded);
    tracer.follow(Sampler::ratio(1.0));
    assert!(ask(&tracer, false, &[]).recorded);
}

#[test]
fn notes_that_are_dropped_tell_of_the_request() {
    let sink = sink();
    let tracer = Tracer::new(Sampler::ratio(1.0), Some(Arc::clone(&sink)));
    let generator = Generator::seeded([5; 16]);
    let begin = || {
        let head = RequestHead { method: Method::POST, ..head(&[]) };
        let facts = connection(false);
        tracer.begin(&facts, &head, RequestId::default(), || generator.next()).1.unwrap()
    };
    drop(begin());
    let mut spans = Vec::new();
    tell::tell(&sink.pop().unwrap(), &generator, &mut spans);
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, "POST");

    let streaming = begin().switched(None).unwrap();
    assert!(matches!(sink.pop(), Some(Report::Request(_))), "sent when it begins");
    assert!(sink.is_empty());
    drop(streaming);
    assert!(matches!(sink.pop(), Some(Report::Stream(_))), "and when it ends");
}
