//! Who is asking: what a launch establishes is what the app is told, whatever the browser says.

use serde_json::{Value, json};

use super::client::Client;
use super::frame::Frame;
use super::told::{self, Expected};
use super::{Outcome, Report, expect, streams};
use crate::demo::persona::Persona;

const USER: &str = "12345";
const CUSTOMER: Expected<'static> =
    Expected { persona: Persona::Customer, user_id: USER, assurance: "asserted" };

/// Spellings that some server takes for one of Vestibule's own fields.
pub const FORGED: [(&str, &str); 9] = [
    ("X-Vestibule-User-Id", "1"),
    ("x-vestibule-user-id", "1"),
    ("X_Vestibule_User_Id", "1"),
    ("X-Vestibule_User-Id", "1"),
    ("X-VESTIBULE-MODE", "employee"),
    ("X-Vestibule-Assurance", "signed"),
    ("X-Vestibule-Session", "00000000000000000000000000000000"),
    ("X-Vestibule-Assertion", "e30.e30.e30"),
    ("X-Vestibule-Identity-State", "awaiting"),
];

pub async fn check(client: &Client, report: &mut Report) {
    let (frame, launched) = Frame::of(client, Persona::Customer, USER).await;
    report.line("a customer's launch is sent on, and ends at the chat", launched);
    report.line(
        "the session's cookie is for this host and this page around it alone",
        cookie(client).await,
    );
    report.line(
        "the app is told tenant, persona, mode, user id, assurance and session of the launch",
        whoami(&frame, "").await.map(drop),
    );
    report.line(
        "a visitor without a user id gets one, called generated, and keeps it",
        generated(client).await,
    );
    report.line(
        "what a message says about its sender is not believed",
        claimed_by_message(&frame).await,
    );
    report.line(
        "forged identity headers, in nine spellings, do not arrive by HTTP",
        forged_by_http(&frame).await,
    );
    report.line("nor do they by server-sent events", forged_by_events(&frame).await);
    report.line("nor do they by WebSocket", streams::forged(&frame).await);
    report.line(
        "HTTP, server-sent events and WebSocket tell the app the same session",
        same_session(&frame).await,
    );
}

/// The session that the app was told.
async fn whoami(frame: &Frame<'_>, lines: &str) -> Result<String, String> {
    let told = frame.get("/api/whoami", lines).await?.with_status(200)?.json()?;
    told::identity(&told["headers"], &CUSTOMER).map(str::to_owned)
}

async fn cookie(client: &Client) -> Outcome {
    let mut frame = Frame::new(client, Persona::Customer);
    let answer = frame.navigate(&format!("/?mode=customer&user_id={USER}")).await?;
    let cookie = answer.all("set-cookie").next().ok_or("no cookie was set")?;
    let expected = ["Path=/", "Secure", "HttpOnly", "SameSite=None", "Partitioned"];
    let attributes: Vec<&str> = cookie.split(';').skip(1).map(str::trim).collect();
    let has_all = expected.iter().all(|wanted| attributes.contains(wanted));
    let names_domain = attributes.iter().any(|one| one.to_lowercase().starts_with("domain"));
    expect(cookie.starts_with("__Host-") && has_all && !names_domain, || attributes.join("; "))
}

async fn generated(client: &Client) -> Outcome {
    let mut frame = Frame::new(client, Persona::Public);
    let target = "/?mode=public&require_user_id=false&allow_generated_id=true";
    let mut ids = Vec::new();
    for _ in 0..2 {
        frame.load(target).await?.with_status(200)?;
        let told = frame.get("/api/whoami", "").await?.with_status(200)?.json()?;
        let id = told["caller"]["user_id"].as_str().unwrap_or_default().to_owned();
        expect(id.len() >= 20, || format!("the user id is {id:?}"))?;
        let persona = Persona::Public;
        let expected = Expected { persona, user_id: &id, assurance: "generated" };
        told::identity(&told["headers"], &expected)?;
        ids.push(id);
    }
    expect(ids[0] == ids[1], || ids.join(", then "))
}

async fn claimed_by_message(frame: &Frame<'_>) -> Outcome {
    let body = json!({ "text": "hello", "mode": "employee", "user_id": 1 }).to_string();
    let told = frame.post("/api/message?user_id=1", &body).await?.with_status(200)?.json()?;
    told::identity(&told["seen"]["identity"], &CUSTOMER).map(drop)
}

/// The forged fields; one more is called hop-by-hop, so that a proxy would remove its own.
fn forged_lines() -> String {
    let lines = FORGED.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    lines.collect::<String>() + "Connection: X-Vestibule-User-Id\r\n"
}

async fn forged_by_http(frame: &Frame<'_>) -> Outcome {
    for (name, value) in FORGED {
        let told = whoami(frame, &format!("{name}: {value}\r\n")).await;
        told.map_err(|seen| format!("with {name}: {seen}"))?;
    }
    whoami(frame, &forged_lines()).await.map(drop)
}

async fn forged_by_events(frame: &Frame<'_>) -> Outcome {
    let seen = streamed(frame, &forged_lines()).await?;
    told::identity(&seen["identity"], &CUSTOMER).map(drop)
}

/// What the app saw of an event stream.
async fn streamed(frame: &Frame<'_>, lines: &str) -> Result<Value, String> {
    let lines = format!("Accept: text/event-stream\r\n{lines}");
    let answer = frame.get("/api/stream?text=thanks", &lines).await?.with_status(200)?;
    let text = answer.text();
    let (_, done) = text.split_once("event: done\ndata: ").ok_or("the stream broke off")?;
    let done: Value = serde_json::from_str(done.trim()).map_err(|error| error.to_string())?;
    Ok(done["seen"].clone())
}

async fn same_session(frame: &Frame<'_>) -> Outcome {
    let http = whoami(frame, "").await?;
    let seen = streamed(frame, "").await?;
    let events = told::identity(&seen["identity"], &CUSTOMER)?;
    let seen = streams::seen(frame, &[]).await?;
    let socket = told::identity(&seen["identity"], &CUSTOMER)?;
    expect(http == events && events == socket, || format!("{http}, {events} and {socket}"))
}
