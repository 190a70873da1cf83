//! One TLS connection, one request, again and again; every handshake of the kind that was asked for.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use crate::args::{Args, Result};
use crate::client::{FILL, Head, Target, Tickets, patiently};
use crate::report::{Tally, pause};

pub async fn run(args: &Args) -> Result<()> {
    let target = Target::from_args(args)?;
    let (wanted, tickets) = match args.get::<String>("mode")?.as_str() {
        "full" => (HandshakeKind::Full, Tickets::Refused),
        "resume" => (HandshakeKind::Resumed, Tickets::Kept),
        other => return Err(format!("`--mode {other}`: full or resume").into()),
    };
    let span = Duration::from_secs_f64(args.get("seconds")?);
    let mut connectors = Vec::new();
    for _ in 0..args.get::<usize>("connections")? {
        // A ticket store for each task: a ticket is spent once, and none may find the store empty.
        let connector = target.connector(tickets)?;
        if wanted == HandshakeKind::Resumed {
            once(&target, &connector, HandshakeKind::Full).await?;
        }
        connectors.push(connector);
    }
    pause("{\"event\":\"ready\"}")?;

    let tally = Rc::new(Tally::default());
    let started = Instant::now();
    let tasks = LocalSet::new();
    for connector in connectors {
        let (target, tally) = (target.clone(), tally.clone());
        tasks.spawn_local(async move {
            while started.elapsed() < span {
                let outcome = patiently("a handshake", once(&target, &connector, wanted)).await;
                match outcome {
                    Ok(()) => tally.add_ok(1),
                    Err(error) => return tally.fail(error),
                }
            }
        });
    }
    tasks.await;
    let (ok, failed, seconds) =
        (tally.ok.get(), tally.failed.get(), started.elapsed().as_secs_f64());
    pause(&format!(
        "{{\"event\":\"done\",\"ok\":{ok},\"failed\":{failed},\"seconds\":{seconds:.3}}}"
    ))?;
    tally.verdict()
}

async fn once(target: &Target, connector: &TlsConnector, wanted: HandshakeKind) -> Result<()> {
    let mut stream = target.connect(connector).await?;
    let request =
        format!("GET /1k HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.authority);
    stream.write_all(request.as_bytes()).await?;
    let head = Head::read(&mut stream).await?;
    head.expect(200)?;
    let mut body = head.rest;
    while body.len() < 1024 && stream.read_buf(&mut body).await? > 0 {}
    if body.len() != 1024 || body.iter().any(|byte| *byte != FILL) {
        return Err(format!("a body of {} bytes that is not the backend's", body.len()).into());
    }
    // The proxy's own close belongs to the work; whether it says close_notify is its affair.
    stream.read_buf(&mut body).await.ok();
    let kind = stream.get_ref().1.handshake_kind();
    if kind != Some(wanted) {
        return Err(format!("wanted the handshake to be {wanted:?}, it was {kind:?}").into());
    }
    Ok(())
}
