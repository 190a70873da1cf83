//! What the door refuses: launches that do not fit, sessions that are missing, over, or another's,
//! streams before anybody has said who is asking, foreign pages, and the launch too many.

use serde_json::json;

use super::client::{Answer, Client};
use super::frame::Frame;
use super::{Outcome, Report, expect};
use crate::demo::persona::{APP_HOST, Persona};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const EVENTS: &str = "Accept: text/event-stream\r\n";
const HELLO: &str = r#"{"text":"hello"}"#;

pub async fn check(client: &Client, report: &mut Report) {
    launches(client, report).await;
    awaiting(client, report).await;
    sessions(client, report).await;
    report.line(
        "a message and a WebSocket of another page are refused, though the session's cookie is there",
        foreign_pages(client).await,
    );
    // The last one: it leaves this address nothing for a while.
    report.line(
        "more than 60 launches a minute get 429, which names the bucket ip and when to come back",
        limit(client).await,
    );
}

/// This refusal, in a problem document or on a page.
fn refused(answer: &Answer, status: u16, code: &str) -> Outcome {
    let text = answer.text();
    expect(answer.status == status && text.contains(code), || {
        let start: String = text.chars().take(120).collect();
        format!("status {} {}", answer.status, start.replace(['\r', '\n'], " "))
    })
}

async fn launches(client: &Client, report: &mut Report) {
    for (what, query, status, code) in [
        ("in another persona's mode", "mode=employee&user_id=12345", 403, "mode_mismatch"),
        ("without a user id", "mode=customer", 400, "user_id_missing"),
        ("with a malformed user id", "mode=customer&user_id=007", 400, "user_id_invalid"),
        ("with two user ids", "user_id=1&user_id=2", 400, "parameter_duplicate"),
        (
            "that contradicts the persona",
            "mode=customer&user_id=1&require_user_id=false",
            400,
            "metadata_contradiction",
        ),
    ] {
        let mut frame = Frame::new(client, Persona::Customer);
        let answer = frame.load(&format!("/?{query}")).await;
        report.line(
            format!("a customer's launch {what} gets {status} {code}"),
            answer.and_then(|answer| refused(&answer, status, code)),
        );
    }
    report.line(
        "where no cookie comes back, a page says what to do about it",
        without_cookies(client).await,
    );
}

async fn without_cookies(client: &Client) -> Outcome {
    let target = "/?mode=customer&user_id=12345";
    let answer = Frame::new(client, Persona::Customer).navigate(target).await?.with_status(303)?;
    let location = answer.header("location").unwrap_or_default().to_owned();
    expect(location.starts_with("/.v/") && location.ends_with(target), || {
        // What stands between is a session.
        format!("sent on to {} bytes that are no /.v/ of this launch", location.len())
    })?;
    let page = Frame::new(client, Persona::Customer).navigate(&location).await?;
    refused(&page, 403, "keeps no cookies")
}

async fn awaiting(client: &Client, report: &mut Report) {
    let mut frame = Frame::new(client, Persona::Customer);
    report.line("a bare customer page loads, with the bridge in it", bare(&mut frame).await);
    for (what, asked) in [
        ("event stream", frame.get("/api/stream?text=hi", EVENTS).await),
        ("message", frame.post("/api/message", HELLO).await),
        ("WebSocket", handshake(&frame, &frame.origin()).await),
    ] {
        report.line(
            format!("until somebody says who is asking, its {what} gets 401 identity_incomplete"),
            asked.and_then(|answer| refused(&answer, 401, "identity_incomplete")),
        );
    }
    report.line(
        "a configuration in another mode is refused, and completes nothing",
        wrong_configuration(&mut frame).await,
    );
    report.line(
        "a configuration posted as the bridge posts it completes the identity",
        configuration(&mut frame).await,
    );
}

async fn bare(frame: &mut Frame<'_>) -> Outcome {
    let page = frame.load("/").await?.with_status(200)?.text();
    expect(page.contains("/.vestibule/bridge.js\""), || "no bridge".into())?;
    expect(page.contains("data-state=\"awaiting\""), || "the app is not told to wait".into())?;
    expect(page.contains("data-user-id=\"\""), || "the app is told a user id".into())
}

async fn wrong_configuration(frame: &mut Frame<'_>) -> Outcome {
    let payload = json!({ "mode": "employee", "user_id": 12345 }).to_string();
    refused(&frame.configure(&payload).await?, 403, "mode_mismatch")?;
    refused(&frame.post("/api/message", HELLO).await?, 401, "identity_incomplete")
}

async fn configuration(frame: &mut Frame<'_>) -> Outcome {
    let payload = json!({
        "mode": "customer", "user_id": 12345, "require_user_id": true,
        "allow_generated_id": false, "direction": "ltr",
    });
    let answer = frame.configure(&payload.to_string()).await?.with_status(200)?.json()?;
    expect(answer["state"] == "complete", || answer.to_string())?;
    let told = frame.post("/api/message", HELLO).await?.with_status(200)?.json()?;
    expect(told["seen"]["caller"]["user_id"] == "12345", || told["seen"].to_string())?;
    // Once more changes nothing: the session is that user's already.
    let before = frame.cookie();
    let again = frame.configure(&payload.to_string()).await?.with_status(200)?.json()?;
    expect(again["prefix"].is_null() && before == frame.cookie(), || "a second session".into())
}

async fn sessions(client: &Client, report: &mut Report) {
    let answer = Frame::new(client, Persona::Customer).get("/api/whoami", "").await;
    report.line(
        "a customer's request without a session gets 401 session_missing",
        answer.and_then(|answer| refused(&answer, 401, "session_missing")),
    );
    report.line(
        "another user's launch ends the session before it: 401 session_invalid",
        succession(client).await,
    );
    report.line(
        "a customer's session is worth nothing at the employees' chat",
        foreign_session(client).await,
    );
    report.line("a session with one letter changed is worth nothing", altered(client).await);
}

async fn succession(client: &Client) -> Outcome {
    let (mut frame, launched) = Frame::of(client, Persona::Customer, "12345").await;
    launched?;
    let (name, value) = frame.session()?;
    let mut before = Frame::new(client, Persona::Customer);
    before.take(name, value);
    before.get("/api/whoami", "").await?.with_status(200)?;
    frame.launch("67890").await?;
    refused(&before.get("/api/whoami", "").await?, 401, "session_invalid")?;
    let told = frame.post("/api/message", HELLO).await?.with_status(200)?.json()?;
    expect(told["seen"]["caller"]["user_id"] == "67890", || told["seen"].to_string())
}

async fn foreign_session(client: &Client) -> Outcome {
    let (customer, launched) = Frame::of(client, Persona::Customer, "12345").await;
    launched?;
    let (mut employee, launched) = Frame::of(client, Persona::Employee, "2041").await;
    launched?;
    let name = employee.session()?.0.to_owned();
    employee.take(&name, customer.session()?.1);
    refused(&employee.get("/api/whoami", "").await?, 401, "session_invalid")
}

async fn altered(client: &Client) -> Outcome {
    let (mut frame, launched) = Frame::of(client, Persona::Customer, "12345").await;
    launched?;
    let (name, value) = frame.session()?;
    let middle = value.len() / 2;
    let other = if value.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let value = [&value[..middle], other, &value[middle + 1..]].concat();
    let name = name.to_owned();
    frame.take(&name, &value);
    refused(&frame.get("/api/whoami", "").await?, 401, "session_invalid")
}

async fn handshake(frame: &Frame<'_>, origin: &str) -> Result<Answer, String> {
    frame.get("/ws", &format!("{HANDSHAKE}Origin: {origin}\r\n")).await
}

async fn foreign_pages(client: &Client) -> Outcome {
    let (frame, launched) = Frame::of(client, Persona::Customer, "12345").await;
    launched?;
    // The host page may embed the chat; only the chat itself may talk to its app.
    for origin in ["https://evil.example", "null", &client.origin(APP_HOST)] {
        let lines = format!("{}Origin: {origin}\r\n", frame.cookie());
        let said = client.post_json(frame.persona.host(), "/api/message", &lines, HELLO).await?;
        refused(&said, 403, "origin_not_allowed").map_err(|seen| format!("{origin}: {seen}"))?;
        let opened = handshake(&frame, origin).await?;
        refused(&opened, 403, "origin_not_allowed").map_err(|seen| format!("{origin}: {seen}"))?;
    }
    Ok(())
}

async fn limit(client: &Client) -> Outcome {
    const LIMIT: usize = 60;
    let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let mut left = None;
    // The checks before have used some of them.
    for _ in 0..=LIMIT {
        let answer = client.get(Persona::Public.host(), "/?mode=public", lines).await?;
        if answer.status != 429 {
            let answer = answer.with_status(200)?;
            left = answer.header("ratelimit").and_then(remaining);
            continue;
        }
        expect(left.is_none_or(|left| left == 0), || format!("refused with {left:?} left"))?;
        let waits = answer.header("retry-after").and_then(|it| it.parse::<u64>().ok());
        expect(waits.is_some_and(|it| (1..=60).contains(&it)), || "no Retry-After".into())?;
        let problem = client.get(Persona::Public.host(), "/?mode=public", "Accept: */*\r\n");
        let problem = problem.await?.with_status(429)?.json()?;
        return expect(problem["bucket"] == "ip", || problem.to_string());
    }
    Err(format!("{} launches passed", LIMIT + 1))
}

/// `"ip";r=12;t=12`
fn remaining(field: &str) -> Option<u64> {
    let parameter = field.split(';').find_map(|part| part.trim().strip_prefix("r="))?;
    parameter.parse().ok()
}
