//! Open WebSockets, each with one message under way at a time.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use crate::args::{Args, Result};
use crate::client::{Target, Tickets, exchange, open_websocket, patiently};
use crate::report::{Tally, pause};

pub async fn run(args: &Args) -> Result<()> {
    let target = Target::from_args(args)?;
    let connector = target.connector(Tickets::Refused)?;
    let span = Duration::from_secs_f64(args.get("seconds")?);
    let mut streams = Vec::new();
    for number in 0..args.get::<u64>("connections")? {
        let mut stream =
            patiently("a WebSocket handshake", open_websocket(&target, &connector)).await?;
        patiently("a first echo", exchange(&mut stream, number)).await?;
        streams.push(stream);
    }
    pause("{\"event\":\"ready\"}")?;

    let tally = Rc::new(Tally::default());
    let started = Instant::now();
    let tasks = LocalSet::new();
    let mut handles = Vec::new();
    for (number, mut stream) in streams.into_iter().enumerate() {
        let tally = tally.clone();
        handles.push(tasks.spawn_local(async move {
            let mut sequence = (number as u64) << 40;
            while started.elapsed() < span {
                sequence += 1;
                match exchange(&mut stream, sequence).await {
                    Ok(()) => tally.add_ok(1),
                    Err(error) => {
                        tally.fail(error);
                        break;
                    }
                }
            }
            stream
        }));
    }
    // One timer for all: one for each message would cost the client more than the message.
    if tokio::time::timeout(span + crate::client::PATIENCE, tasks).await.is_err() {
        tally.fail("an echo never came");
    }
    let (ok, failed, seconds) =
        (tally.ok.get(), tally.failed.get(), started.elapsed().as_secs_f64());
    // The streams live in the handles until the caller has read the counters.
    pause(&format!(
        "{{\"event\":\"done\",\"ok\":{ok},\"failed\":{failed},\"seconds\":{seconds:.3}}}"
    ))?;
    drop(handles);
    tally.verdict()
}
