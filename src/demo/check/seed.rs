//! The persona seed's verification checklist, in its order, as far as it can be seen without a
//! browser.

use std::time::{Duration, Instant};

use super::client::{Alpn, Client};
use super::frame::Frame;
use super::told::is;
use super::{Outcome, Report, expect};
use crate::demo::persona::{APP_HOST, Persona};

/// What the seed allows between configuration and acknowledgement.
const SECOND: Duration = Duration::from_secs(1);

pub async fn check(client: &Client, report: &mut Report) {
    for persona in Persona::ALL {
        let host = persona.host();
        let outcome = client.connect(host, Alpn::Http1).await.map(drop).map_err(|e| e.to_string());
        report
            .line(format!("{host} shows a certificate that the demo's authority signed"), outcome);
    }
    for persona in Persona::ALL {
        report.line(
            format!("the host page's {} launcher is the seed's, its frame hidden", persona.name()),
            launcher(client, persona).await,
        );
    }
    for persona in Persona::ALL {
        report.line(
            format!("{} serves its chat page in mode {}", persona.host(), persona.name()),
            chat_page(client, persona).await,
        );
    }
    report.line(
        "the bridge's script, as text, posts chat-embed-ready, takes the config and posts its ack",
        script(client, Persona::Customer.host(), BRIDGE, FRAME_SIDE).await,
    );
    report.line(
        "the host page's script, as text, waits for ready, posts chat-embed-config and starts over",
        script(client, APP_HOST, "/assets/launcher.js", HOST_SIDE).await,
    );
    report.line(
        "the chat page, the bridge and the page's scripts load inside the handshake's second",
        load_time(client).await,
    );
    report.line(
        "the URL fallback's parameters reach the app byte for byte",
        url_fallback(client).await,
    );
    report.line(
        "what the host page tells of its handshake is taken, and what another page tells is not",
        beacon(client).await,
    );
    for persona in Persona::ALL {
        report.line(
            format!("a message to {} arrives as its persona and its launch's user", persona.host()),
            message(client, persona).await,
        );
    }
}

/// What a script must hold, and what a person would call it.
type Promises = &'static [(&'static str, &'static str)];

const FRAME_SIDE: Promises = &[
    ("'chat-embed-ready'", "ready"),
    ("'chat-embed-ack'", "ack"),
    ("'chat-embed-config'", "config"),
    ("event.source !== page", "the check of the sender"),
    ("!allows(origin)", "the check of the sender's origin"),
];

const BRIDGE: &str = "/.vestibule/bridge.js";

const HOST_SIDE: Promises = &[
    ("'chat-embed-ready'", "ready"),
    ("'chat-embed-config'", "config"),
    ("event.origin !== widgetOrigin", "the check of the sender's origin"),
    ("payload }, widgetOrigin)", "the exact target origin"),
    ("configSent = false", "the reset of configSent"),
    ("url.searchParams.set", "the URL fallback"),
];

async fn launcher(client: &Client, persona: Persona) -> Outcome {
    let answer = client.get(APP_HOST, &format!("/{}", persona.name()), "").await?;
    let page = answer.with_status(200)?.text();
    let origin = client.origin(persona.host());
    let button = format!(
        "<button id=\"chat-launcher\" class=\"chat-launcher\" type=\"button\" \
         aria-expanded=\"false\">\nOpen {} Chat\n</button>",
        persona.title()
    );
    for (part, called) in [
        (button.as_str(), "the launcher"),
        ("<div id=\"chat-frame\" class=\"chat-frame\" hidden>", "a hidden frame"),
        (&format!("\nsrc=\"{origin}\"\n"), "the frame's src"),
        (&format!("\ndata-origin=\"{origin}\"\n"), "the frame's data-origin"),
        ("\nloading=\"lazy\"\n></iframe>", "lazy loading"),
    ] {
        expect(page.contains(part), || format!("{called} is missing"))?;
    }
    Ok(())
}

async fn chat_page(client: &Client, persona: Persona) -> Outcome {
    let target = format!("/?mode={}&user_id=12345", persona.name());
    let mut frame = Frame::new(client, persona);
    let answer = frame.load(&target).await?.with_status(200)?;
    let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
    let page = answer.text();
    let name = persona.name();
    for attribute in [format!("<body data-persona=\"{name}\""), format!("data-mode=\"{name}\"")] {
        expect(page.contains(&attribute), || format!("{attribute} is missing"))?;
    }
    let app = client.origin(APP_HOST);
    let bridge = page.split("<script").find(|element| element.contains(BRIDGE));
    let bridge = bridge.ok_or("the bridge is missing")?;
    let names = bridge.contains(&format!("data-origins=\"{app}\""));
    expect(names, || format!("the bridge does not name {app} as its embedder"))?;
    let framed = policy.split(';').any(|directive| {
        let mut words = directive.split_whitespace();
        words.next() == Some("frame-ancestors") && words.any(|word| word == app)
    });
    expect(framed, || format!("{app} may not embed it (policy: {policy})"))
}

async fn script(client: &Client, host: &str, path: &str, promises: Promises) -> Outcome {
    let text = client.get(host, path, "").await?.with_status(200)?.text();
    for (part, called) in promises {
        expect(text.contains(part), || format!("{called} is missing from {path}"))?;
    }
    Ok(())
}

async fn load_time(client: &Client) -> Outcome {
    let started = Instant::now();
    let (frame, launched) = Frame::of(client, Persona::Customer, "12345").await;
    launched?;
    for path in [BRIDGE, "/assets/chat.js", "/assets/words.js", "/assets/transports.js"] {
        frame.get(path, "").await?.with_status(200)?;
    }
    let took = started.elapsed();
    expect(took < SECOND, || format!("{} ms", took.as_millis()))
}

async fn url_fallback(client: &Client) -> Outcome {
    // The seed's parameters, and spellings that a careless proxy would rewrite.
    let query = "mode=customer&user_id=12345&require_user_id=true&allow_generated_id=false\
                 &direction=rtl&v=1700000000000&name=a%20b+c%2Fd&empty=&flag&%6eame=~";
    let mut frame = Frame::new(client, Persona::Customer);
    let page = frame.load(&format!("/?{query}")).await?.with_status(200)?.text();
    let (_, rest) = page.split_once("<meta name=\"demo-query\" content=\"").ok_or("no echo")?;
    let echo = rest.split('"').next().unwrap_or_default().replace("&amp;", "&");
    expect(echo == query, || format!("the app received {echo}"))
}

async fn beacon(client: &Client) -> Outcome {
    let (host, query) = (Persona::Customer.host(), "/?mode=customer&user_id=12345");
    let page = Frame::new(client, Persona::Customer).load(query).await?.with_status(200)?.text();
    // Which document it was, where its bridge says so.
    let launch = page.split_once("data-launch=\"").and_then(|(_, rest)| rest.split('"').next());
    let body = serde_json::json!({
        "v": 1, "launch": launch, "shown": 0, "ready": 412, "config": 415, "ended": 603, "outcome": "ack",
    });
    let body = body.to_string();
    for (origin, status) in [(&*client.origin(APP_HOST), 204), ("https://evil.example", 403)] {
        let length = body.len();
        let lines =
            format!("Origin: {origin}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n");
        let head = client.head("POST", host, "/.vestibule/beacon", &lines);
        let answer = client.raw(host, format!("{head}\r\n{body}").as_bytes()).await?;
        answer.with_status(status).map_err(|seen| format!("{origin}: {seen}"))?;
    }
    Ok(())
}

async fn message(client: &Client, persona: Persona) -> Outcome {
    let (frame, launched) = Frame::of(client, persona, "12345").await;
    launched?;
    let answer = frame.post("/api/message", r#"{"text":"hello"}"#).await?;
    let told = answer.with_status(200)?.json()?;
    let seen = &told["seen"];
    is(&seen["caller"], "persona", persona.name())?;
    is(&seen["caller"], "mode", persona.name())?;
    is(&seen["caller"], "user_id", "12345")?;
    is(&seen["caller"], "assurance", "asserted")?;
    is(seen, "transport", "HTTP")?;
    is(seen, "host", &client.authority(persona.host()))?;
    expect(told["reply"].as_str().is_some_and(|reply| !reply.is_empty()), || "no reply".into())
}
